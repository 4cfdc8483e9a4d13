//! The same traffic with other settings: one arm, two queues, busy polling, generic mode; and a gateway that crashes.

use selvedge::lab::traffic::{ping, udp_sweep};

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts};

/// Ping and a few datagrams from everybody to everybody.
fn basic(net: &Net) {
    let all = hosts(&net.t);
    for from in all {
        for to in all.into_iter().filter(|to| to.address != from.address) {
            let what = format!("{} to {}", from.ns.name(), to.ns.name());
            let echo = ping(&from.ns, to.address, 3, 56).unwrap();
            assert!(echo.complete(), "{what}: {echo:?}");
            let sweep = udp_sweep(&from.ns, &to.ns, to.address, (0..=1422).step_by(79)).unwrap();
            assert!(sweep.complete(), "{what}: {sweep:?}");
        }
    }
}

#[test]
fn busy_polling_carries_the_same_traffic() {
    let Some(mut net) = Net::new("busy") else { return };
    net.edit("poll = \"adaptive\"", "poll = \"busy\"");
    net.start();
    basic(&net);
    net.finish();
}

#[test]
fn generic_mode_carries_the_same_traffic() {
    let Some(mut net) = Net::new("generic") else { return };
    net.edit("[metrics]", "[xdp]\nmode = \"generic\"\n\n[metrics]");
    net.start();
    basic(&net);
    net.finish();
}

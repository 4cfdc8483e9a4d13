//! Who reaches whom, in a network whose map is learnt.
#![allow(dead_code)] // each test crate uses its own part

use std::time::{Duration, Instant};

use selvedge::lab::Host;
use selvedge::lab::traffic::{UdpLoad, ping};

use super::netns::{Net, until};
use super::steady::SOON;

/// How long the map may take to be everywhere after the start of the gateway.
pub(crate) const LEARNT: Duration = Duration::from_secs(8);

pub(crate) fn reach(from: &Host, to: &Host) -> bool {
    ping(&from.ns, to.address, 1, 56).unwrap().complete()
}

/// All pods reach each other and the native host, soon after the start.
pub(crate) fn all_reach_each_other(net: &Net) {
    let t = &net.t;
    let hosts = [&t.blue.nodes[0].pod, &t.blue.nodes[1].pod, &t.green.nodes[0].pod, &t.green.nodes[1].pod];
    assert!(until(LEARNT, || reach(hosts[0], hosts[3]) && reach(hosts[3], hosts[1])), "{}", net.log());
    for (from, to) in hosts.iter().flat_map(|from| hosts.iter().map(move |to| (from, to))) {
        assert!(reach(from, to), "{} to {}", from.address, to.address);
    }
    assert!(reach(&t.native, hosts[0]) && reach(hosts[1], &t.native));
}

/// Packets of a flow that does not arrive do so within a second of a change. `what` says what the node does.
pub(crate) fn arrive_after(net: &Net, flow: &UdpLoad, what: &str, change: &dyn Fn()) {
    let before = flow.counts().received;
    change();
    let began = Instant::now();
    assert!(until(SOON, || flow.counts().received > before + 5), "{what}: not within a second\n{}", net.log());
    println!("a node that {what}: packets arrive after {:?}", began.elapsed());
}

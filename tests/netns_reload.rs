//! Another config file is put in force while packets flow: nothing is lost, and what is wrong changes nothing.

#[path = "support/netns.rs"]
mod netns;
#[path = "support/steady.rs"]
mod steady;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use netns::{Net, until};
use rustix::process::Signal;
use selvedge::lab::Topology;
use selvedge::lab::traffic::ping;
use steady::{SOON, Steady, adopted, last_reload_success, load, put, reload, reloads};

/// Routes beside those in use, of which every one is another in the next generation: it moves to another node, mostly
/// of the other overlay, appears or vanishes.
fn extra(t: &Topology, generation: usize) -> String {
    const ROUTES: usize = 1250;
    let mut text = String::new();
    let nodes = t.clusters().into_iter().flat_map(|c| c.nodes.iter().map(move |n| (c, n)));
    for (place, (cluster, node)) in nodes.enumerate() {
        let mine = (0..ROUTES).filter(|i| (i + generation) % 5 == place);
        let prefixes: Vec<_> = mine.map(|i| format!("\"10.{}.{}.0/24\"", 100 + i / 250, i % 250)).collect();
        write!(text, "\n[[peer]]\noverlay = \"{}\"\nvtep = \"{}\"\n", cluster.name, node.vtep).unwrap();
        writeln!(text, "mac = \"{}\"\nprefixes = [{}]", node.vtep_mac, prefixes.join(", ")).unwrap();
    }
    text
}

/// 1,250 routes change while 20,000 packets a second of other routes flow.
#[test]
fn reloads_lose_nothing_of_what_does_not_change() {
    let Some(mut net) = Net::new("reload") else { return };
    let base = net.config.clone();
    net.config = base.clone() + &extra(&net.t, 0);
    net.start();
    let load = Steady::start(&net, 20_000);
    let mut times = Vec::new();
    for generation in 1..=8 {
        let text = base.clone() + &extra(&net.t, generation);
        times.push(reload(&mut net, &text));
        assert_eq!(net.scrape().sum("selvedge_routes", &[]), 1005.0);
        std::thread::sleep(Duration::from_millis(400));
    }
    assert_eq!((reloads(&net, "applied"), reloads(&net, "refused")), (8.0, 0.0), "each signal is one reload");
    let (sent, _) = load.finish(&net);
    println!("reloads of 1,250 changed routes took {times:?}; {sent} packets sent, 0 lost");
    net.finish();
}

//! The gateway against the kernel's own VXLAN and forwarding: the same flood through both, in turn. A measurement, not
//! a test: `perf/compare` runs it. Only the ratio says anything, and that to one digit.

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, run_in};
use selvedge::lab::traffic::ping;
use selvedge::lab::{ACCESS_PORT, Topology, UNDERLAY_PORT};
use selvedge::port::host::kernel_release;

const ROUNDS: usize = 5;

/// Received packets a second of one flood, and whether the receiver kept up.
fn flood(t: &Topology, words: &str) -> (u64, bool) {
    let line =
        format!("{} pktgen --json --seconds 2 --rate max --flows 1000 --copy {words}", env!("CARGO_BIN_EXE_selvedge"));
    let told = run_in(&t.gateway, &line.split_whitespace().collect::<Vec<_>>());
    let field = |name: &str| {
        let (_, after) = told.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {told}"));
        after.split(',').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name} in {told}"))
    };
    (field("received_pps"), field("receiver_overrun") == 0)
}

fn encap(t: &Topology) -> String {
    let node = &t.blue.nodes[0];
    let (native, far, mac) = (t.native.ns.name(), node.ns.name(), t.gateway.mac(ACCESS_PORT).unwrap());
    let (from, to, vtep, port) = (t.native_prefix, node.prefix, node.vtep, t.blue.udp_port);
    format!(
        "--tx-netns {native} --tx eth0 --dst-mac {mac} --src {from} --dst {to} --rx-netns {far} --rx eth0 \
         --rx-vtep {vtep}:{port}"
    )
}

fn decap(t: &Topology) -> String {
    let node = &t.blue.nodes[0];
    let (native, near, mac) = (t.native.ns.name(), node.ns.name(), t.gateway.mac(UNDERLAY_PORT).unwrap());
    let (here, there, port, vni) = (node.vtep, t.gateway_vtep, t.blue.udp_port, t.blue.vni);
    let (from, to, pods, host) = (node.vtep_mac, t.blue.gateway_mac, node.prefix, t.native.address);
    format!(
        "--profile vxlan --tx-netns {near} --tx eth0 --dst-mac {mac} --outer-src {here} --outer-dst {there} \
         --udp-port {port} --vni {vni} --inner-src-mac {from} --inner-dst-mac {to} --src {pods} --dst {host}/32 \
         --rx-netns {native} --rx eth0 --rx-prefix {host}/32"
    )
}

fn median(mut rates: Vec<u64>) -> u64 {
    rates.sort_unstable();
    rates[rates.len() / 2]
}

#[test]
#[ignore = "a measurement: perf/compare runs it"]
fn gateway_and_kernel_in_turn() {
    let (Some(ours), Some(kernel)) = (Net::running("cmpgw"), Net::new("cmpkern")) else { return };
    kernel.t.kernel_gateway().unwrap();
    for net in [&ours, &kernel] {
        let pod = net.t.blue.nodes[0].pod.address;
        assert!(ping(&net.t.native.ns, pod, 3, 1000).unwrap().complete());
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("Linux {}, {cores} cores, veth, copy mode, 64 bytes, 1,000 flows, one worker", kernel_release());
    if cfg!(debug_assertions) {
        println!("! a debug build: these figures mean nothing");
    }
    for (name, words) in [("encap", encap as fn(&Topology) -> String), ("decap", decap)] {
        let (mut rates, mut kept_up) = ([vec![], vec![]], true);
        for _ in 0..ROUNDS {
            for (net, rates) in [&ours, &kernel].into_iter().zip(&mut rates) {
                let (rate, whole) = flood(&net.t, &words(&net.t));
                rates.push(rate);
                kept_up &= whole;
            }
        }
        println!("{name}: gateway {:?}, kernel {:?} packets/s received", rates[0], rates[1]);
        let [gateway, kernel] = rates.map(median);
        println!(
            "{name}: medians {gateway} and {kernel}: {:.1} times the kernel",
            gateway as f64 / kernel.max(1) as f64
        );
        if !kept_up {
            println!("{name}: ! the receiver lost packets itself: the rates are lower bounds");
        }
    }
    ours.finish();
}

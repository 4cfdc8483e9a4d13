//! `selvedge pktgen` through the running gateway: every packet of a modest load arrives, whole, on the other side.

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, output_in, run_in};
use selvedge::lab::traffic::ping;
use selvedge::lab::{ACCESS_PORT, Topology, UNDERLAY_PORT};

/// Runs the generator for two seconds at 10,000 packets a second and holds it to perfection.
fn perfect(t: &Topology, words: &str) {
    let line = format!("{} pktgen --json --seconds 2 --rate 10000 --hops 1 {words}", env!("CARGO_BIN_EXE_selvedge"));
    let told = run_in(&t.gateway, &line.split_whitespace().collect::<Vec<_>>());
    println!("{told}");
    for field in ["offered\":20000,", "sent\":20000,", "received\":20000,", "lost\":0,", "duplicates\":0,"] {
        assert!(told.contains(&format!("\"{field}")), "{field} in {told}");
    }
    for field in ["reordered\":0,", "corrupt\":0,", "balanced\":true,", "sound\":true}"] {
        assert!(told.contains(&format!("\"{field}")), "{field} in {told}");
    }
}

/// The gateway with its neighbours resolved.
fn warm(tag: &str) -> Option<Net> {
    let net = Net::running(tag)?;
    let pod = net.t.blue.nodes[0].pod.address;
    assert!(ping(&net.t.native.ns, pod, 3, 1000).unwrap().complete());
    Some(net)
}

#[test]
fn what_goes_in_plain_comes_out_wrapped() {
    let Some(net) = warm("pgencap") else { return };
    let (t, node) = (&net.t, &net.t.blue.nodes[0]);
    let (native, far, port) = (t.native.ns.name(), node.ns.name(), t.blue.udp_port);
    let mac = t.gateway.mac(ACCESS_PORT).unwrap();
    let (from, to, vtep, vni) = (t.native_prefix, node.prefix, node.vtep, t.blue.vni);
    let (node_mac, gateway_mac) = (node.vtep_mac, t.blue.gateway_mac);
    perfect(
        t,
        &format!(
            "--tx-netns {native} --tx eth0 --dst-mac {mac} --src {from} --dst {to} --flows 1000 --size imix \
             --rx-netns {far} --rx eth0 --rx-vtep {vtep}:{port} --rx-vni {vni} \
             --rx-inner-dst-mac {node_mac} --rx-inner-src-mac {gateway_mac}"
        ),
    );
    net.finish();
}

#[test]
fn what_goes_in_wrapped_comes_out_plain() {
    let Some(net) = warm("pgdecap") else { return };
    let (t, node) = (&net.t, &net.t.blue.nodes[0]);
    let (native, near, port, vni) = (t.native.ns.name(), node.ns.name(), t.blue.udp_port, t.blue.vni);
    let mac = t.gateway.mac(UNDERLAY_PORT).unwrap();
    let (here, there) = (node.vtep, t.gateway_vtep);
    let (from, to) = (node.vtep_mac, t.blue.gateway_mac);
    let (pods, host) = (node.prefix, t.native.address);
    perfect(
        t,
        &format!(
            "--profile vxlan --tx-netns {near} --tx eth0 --dst-mac {mac} --outer-src {here} --outer-dst {there} \
             --udp-port {port} --vni {vni} --inner-src-mac {from} --inner-dst-mac {to} --src {pods} --dst {host}/32 \
             --flows 1000 --spread zipf --rx-netns {native} --rx eth0 --rx-prefix {host}/32"
        ),
    );
    net.finish();
}

#[test]
fn what_does_not_arrive_is_lost_and_no_failure() {
    let Some(net) = Net::new("pglost") else { return };
    let (native, far) = (net.t.native.ns.name(), net.t.blue.nodes[0].ns.name());
    let pktgen = |words: &str| {
        let line = format!("{} pktgen --json --seconds 1 --rate 1000 {words}", env!("CARGO_BIN_EXE_selvedge"));
        output_in(&net.t.gateway, &line.split_whitespace().collect::<Vec<_>>())
    };
    // Nobody forwards here.
    let output = pktgen(&format!("--tx-netns {native} --tx eth0 --rx-netns {far} --rx eth0"));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("\"received\":0,\"lost\":1000,"), "{told}");
    for (words, code, complaint) in [
        (format!("--tx-netns {native} --tx eth7 --rx-netns {far} --rx eth0"), 3, "interface eth7"),
        ("--tx eth0 --rx-netns selv-nowhere --rx eth0".to_string(), 3, "interface eth0"),
        (format!("--tx-netns {native} --tx eth0 --rx-netns {far} --rx eth0 --size 1501"), 2, "MTU of 1500"),
        (format!("--tx-netns {native} --tx eth0 --rx-netns {far} --rx eth0 --profile vxlan"), 2, "--outer-dst"),
        (format!("--tx-netns {native} --tx eth0 --rx-netns {far} --rx eth0 --rx-core 1023"), 3, "core 1023"),
    ] {
        let output = pktgen(&words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && told.contains(complaint), "{words}: {} {told}", output.status);
    }
}

//! Ports that are VLANs of the kernel's: the underlay a tagged one, the access network a VLAN within a service VLAN.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use selvedge::lab::traffic::{ping, tcp_transfer, udp_sweep};
use selvedge::lab::{ACCESS_PORT, Host, Lab, Namespace, Shape, UNDERLAY_PORT};
use selvedge::wire::eth;
use selvedge::wire::vlan::Tag;

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts, output_in, root, run_in};

const TRANSFER: u64 = 3 << 20;

/// The network with its ports on VLANs, and the tags of what comes to the gateway within the frames: a veth pair would
/// leave them beside them. `None`, said aloud, where the kernel has no VLAN devices.
fn net_of_vlans(tag: &str, shape: Shape) -> Option<Net> {
    if !root() {
        return None;
    }
    if !Lab::new(tag).unwrap().has_vlans().unwrap() {
        // past the harness, which keeps to itself what a test that passes has printed
        std::io::stdout().write_all(b"\nNOT IN THIS KERNEL: VLAN devices (CONFIG_VLAN_8021Q)\n").unwrap();
        return None;
    }
    let net = Net::shaped(tag, Shape { vlans: true, ..shape })?;
    for (ns, link) in [(&net.t.fabric, "gw"), (&net.t.native.ns, "eth0")] {
        run_in(ns, &["ethtool", "-K", link, "txvlan", "off", "tx-vlan-stag-hw-insert", "off"]);
    }
    Some(net)
}

fn carries_everything(from: &Host, to: &Host, to_address: IpAddr) {
    let what = format!("{} to {}", from.ns.name(), to.ns.name());
    let echo = ping(&from.ns, to_address, 3, 56).unwrap();
    assert!(echo.complete(), "{what}: {echo:?}");
    let largest = if to_address.is_ipv4() { 1422 } else { 1402 };
    let sweep = udp_sweep(&from.ns, &to.ns, to_address, 0..=largest).unwrap();
    assert!(sweep.complete(), "{what}: {sweep:?}");
    let transfer = tcp_transfer(&from.ns, &to.ns, to_address, TRANSFER).unwrap();
    assert!(transfer.hash_ok && transfer.bytes == TRANSFER, "{what}: {transfer:?}");
}

fn everybody_to_everybody(net: &Net) {
    let all = hosts(&net.t);
    for from in all {
        for to in all.into_iter().filter(|to| to.address != from.address) {
            carries_everything(from, to, to.address.into());
            if let Some(address6) = to.address6 {
                carries_everything(from, to, address6.into());
            }
        }
    }
}

/// A neighbour on another VLAN of a cable of the gateway's.
fn bystander(ns: &Namespace, link: &str, tag: Tag, host: u8) -> IpAddr {
    let name = format!("{link}.{}", tag.vid());
    ns.vlan(&name, link, tag).unwrap();
    let address = Ipv4Addr::new(172, 20, (tag.vid() % 256) as u8, host);
    ns.address(&name, address, 24).unwrap();
    address.into()
}

#[test]
fn ports_on_vlans_carry_everything_and_leave_other_vlans_alone() {
    let Some(mut net) = net_of_vlans("vlan", Shape::default()) else { return };
    let [other, service] = [(eth::VLAN, 200), (eth::QINQ, 301)].map(|(tpid, vid)| Tag::new(tpid, vid).unwrap());
    let gateway = net.t.gateway.clone();
    let others = [
        (bystander(&gateway, UNDERLAY_PORT, other, 1), bystander(&net.t.blue.nodes[0].ns, "eth0", other, 2)),
        (bystander(&gateway, ACCESS_PORT, service, 1), bystander(&net.t.native.ns, "eth0", service, 2)),
    ];
    let bystanders = || {
        for (_, far) in others {
            let echo = ping(&gateway, far, 5, 1000).unwrap();
            assert!(echo.complete(), "{far}: {echo:?}");
        }
    };
    bystanders();
    net.start();
    everybody_to_everybody(&net);
    bystanders();
    let samples = net.ledger();
    let drops = samples.by("selvedge_dropped_packets_total", "reason");
    assert!(drops.values().all(|n| *n == 0.0), "{drops:?}");
    for port in net.t.shape.ports() {
        let verdict = |v: &str| samples.sum("selvedge_xdp_packets_total", &[("port", &port), ("verdict", v)]);
        assert!(verdict("pass_other_vlan") >= 5.0, "{port}: the other VLAN's packets are the kernel's");
        assert!(verdict("redirected_underlay") + verdict("redirected_access") > 1000.0, "{port}");
    }
    net.stop();
    bystanders();
}

#[test]
fn vlans_carry_both_families() {
    let shape = Shape { dual_stack: true, ..Shape::default() };
    let Some(mut net) = net_of_vlans("vlansix", shape) else { return };
    net.start();
    everybody_to_everybody(&net);
    net.finish();
}

#[test]
fn check_says_where_the_program_goes() {
    let Some(net) = net_of_vlans("vlancheck", Shape::default()) else { return };
    let path = net.room().join("check.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let words = [env!("CARGO_BIN_EXE_selvedge"), "check", "--config", path.to_str().unwrap()];
        let output = output_in(&net.t.gateway, &words);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told) = check(&net.config);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("✓ ul0.100: VLAN 100 on ul0; XDP goes on ul0\n"), "{told}");
    assert!(told.contains("✓ ac0.300.7: VLAN 7 within service VLAN 300 on ac0; XDP goes on ac0\n"), "{told}");
    let tag = Tag::new(eth::VLAN, 200).unwrap();
    bystander(&net.t.gateway, UNDERLAY_PORT, tag, 1);
    let (code, told) = check(&net.config.replace("ac0.300.7", "ul0.200"));
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("error: ul0.100 and ul0.200 are both on ul0"), "{told}");
}

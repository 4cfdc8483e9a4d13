//! Linux's own generator: a bash script.

use super::{Scenario, Text, fill, limits};
use crate::cli::pktgen::choice::Size;
use crate::cli::pktgen::flows::{Family, Hosts};
use crate::cli::pktgen::frame::Tunnel;
use crate::cli::pktgen::sender::Rate;
use crate::wire::eth;

/// VXLAN devices are one a segment: no more of them than this.
const MOST_SEGMENTS: usize = 64;
/// pktgen's own limit (MAX_CFLOWS).
const MOST_FLOWS: u32 = 65_536;
const FIRST_SOURCE_PORT: u32 = 1_024;
const FIRST_DESTINATION_PORT: u32 = 20_000;
const PORTS: u32 = 60_000;

pub(super) fn script(scenario: &Scenario<'_>) -> Text {
    let (flows, tunnel) = (&scenario.traffic.flows, &scenario.traffic.tunnel);
    let many = flows.vnis().len() > MOST_SEGMENTS;
    let segments = format!("of {} segments only the first {MOST_SEGMENTS} are used", flows.vnis().len());
    let inside = "tunnels: it cannot write them itself; the kernel's VXLAN devices do, so the rate is the kernel's";
    let vteps = "VTEPs: a kernel has one VXLAN device a segment, so only the first VTEP sends";
    let six = "IPv6 sources: there is one";
    let values = [
        ("SUMMARY", scenario.summary()),
        (
            "LIMITS",
            limits(
                "#   ",
                &[
                    (tunnel.is_some(), inside),
                    (flows.vteps() > 1, vteps),
                    (many, &segments),
                    (flows.family() == Family::V6, six),
                ],
            ),
        ),
        ("DEVICES", tunnel.as_ref().map_or("devices=(\"$iface\")".into(), |t| devices(scenario, t))),
        ("COMMANDS", commands(scenario).iter().map(|c| format!("\t\t{c}")).collect::<Vec<_>>().join("\n")),
        ("RATE", rate(scenario)),
        ("SECONDS", scenario.options.seconds.to_string()),
        (
            "CLEANUP",
            match tunnel {
                Some(_) => "for device in \"${devices[@]}\"; do\n\trun ip link delete \"$device\"\ndone".into(),
                None => String::new(),
            },
        ),
    ];
    Text { name: "kernel-pktgen.sh", bytes: fill(include_str!("kernel.sh"), &values), program: true }
}

/// VXLAN devices on the interface, which sends by way of `tunnel`.
fn devices(scenario: &Scenario<'_>, tunnel: &Tunnel) -> String {
    let vnis = scenario.traffic.flows.vnis();
    let vnis: Vec<_> = vnis.iter().take(MOST_SEGMENTS).map(ToString::to_string).collect();
    let (to, from) = tunnel.vtep;
    let (bits, six) = if to.is_ipv4() { (32, "") } else { (128, " -6") };
    format!(
        "run ip{six} address replace {from}/{bits} dev \"$iface\"\n\
         run ip{six} route replace {to}/{bits} dev \"$iface\" src {from}\n\
         run ip{six} neighbour replace {to} lladdr {} dev \"$iface\" nud permanent\n\
         devices=()\n\
         for vni in {}; do\n\
         \trun ip link add \"selv$vni\" address {} type vxlan id \"$vni\" local {from} remote {to} \\\n\
         \t\tdstport {} dev \"$iface\" nolearning\n\
         \trun ip link set \"selv$vni\" up\n\
         \tdevices+=(\"selv$vni\")\n\
         done",
        scenario.shape.link.0,
        vnis.join(" "),
        tunnel.inner.1,
        tunnel.udp_port,
    )
}

/// What each device is told.
fn commands(scenario: &Scenario<'_>) -> Vec<String> {
    let (o, flows) = (scenario.options, &scenario.traffic.flows);
    let (to, from) = scenario.traffic.tunnel.map_or(scenario.shape.link, |t| t.inner);
    let mut all = vec!["clone_skb 0".to_string(), format!("dst_mac {to}"), format!("src_mac {from}")];
    // pktgen counts the Ethernet header in, and not the check sequence
    let frame = |length: u16| usize::from(length) + eth::LEN;
    match scenario.traffic.size {
        Size::Fixed(n) => all.push(format!("pkt_size {}", frame(n))),
        Size::Range(a, b) => {
            all.extend([format!("min_pkt_size {}", frame(a)), format!("max_pkt_size {}", frame(b))]);
            all.push("flag TXSIZE_RND".into());
        }
        Size::Mix => {
            let parts = scenario.sizes();
            let parts: Vec<_> = parts.iter().map(|(n, share)| format!("{},{share}", frame(*n))).collect();
            all.push(format!("imix_weights {}", parts.join(" ")));
        }
    }
    let (sources, destinations) = flows.hosts();
    let address = |hosts: Hosts, last: bool| {
        let above = if last { u128::from(hosts.count - 1) } else { 0 };
        flows.family().address(hosts.first + above)
    };
    match flows.family() {
        Family::V4 => {
            for (name, hosts) in [("src", sources), ("dst", destinations)] {
                all.push(format!("{name}_min {}", address(hosts, false)));
                all.push(format!("{name}_max {}", address(hosts, true)));
            }
            all.extend(["flag IPSRC_RND".to_string(), "flag IPDST_RND".into()]);
        }
        Family::V6 => {
            all.push(format!("src6 {}", address(sources, false)));
            all.push(format!("dst6_min {}", address(destinations, false)));
            all.push(format!("dst6_max {}", address(destinations, true)));
        }
    }
    all.push(format!("udp_src_min {FIRST_SOURCE_PORT}"));
    all.push(format!("udp_src_max {}", FIRST_SOURCE_PORT + o.flows.min(PORTS) - 1));
    all.push(format!("udp_dst_min {FIRST_DESTINATION_PORT}"));
    all.push(format!("udp_dst_max {}", FIRST_DESTINATION_PORT + (o.flows - 1) / PORTS));
    all.extend(["flag UDPSRC_RND".to_string(), "flag UDPDST_RND".into(), "flag UDPCSUM".into()]);
    if o.flows > 1 {
        all.extend([format!("flows {}", o.flows.min(MOST_FLOWS)), "flowlen 1".into()]);
    }
    all
}

/// How fast and how many: shared by all devices.
fn rate(scenario: &Scenario<'_>) -> String {
    let o = scenario.options;
    match o.rate {
        Rate::Max => "\tpg \"$device\" \"delay 0\"\n\tpg \"$device\" \"count 0\"".into(),
        Rate::Fixed(pps) => format!(
            "\trate=$((({pps} + count - 1) / count))\n\tpg \"$device\" \"ratep $rate\"\n\
             \tpg \"$device\" \"count $((rate * {}))\"",
            o.seconds
        ),
    }
}

//! TRex, stateless: a Python profile.

use super::{Scenario, Text, fill, limits};
use crate::cli::pktgen::choice::Size;
use crate::cli::pktgen::flows::{Family, number};
use crate::cli::pktgen::payload::Stamp;
use crate::cli::pktgen::sender::Rate;

/// Streams are one a VTEP: no more of them than this.
const MOST_VTEPS: u32 = 256;

pub(super) fn profile(scenario: &Scenario<'_>) -> Text {
    let (o, flows) = (scenario.options, &scenario.traffic.flows);
    let (family, first) = (flows.family(), flows.ends(0));
    let (sources, destinations) = flows.hosts();
    let [a, b, c, d] = first.ports;
    let stamp = Stamp { stream: 0, flow: 0, sequence: 0, intended: 0 }.bytes();
    let vteps = flows.vteps().min(MOST_VTEPS);
    let sizes: Vec<_> = scenario.sizes().iter().map(|(n, share)| format!("({n}, {share})")).collect();
    let limited = format!("of {} VTEPs only the first {MOST_VTEPS} send", flows.vteps());
    let checksums = "frames in a tunnel have no outer and, with IPv4, no inner UDP checksum once anything varies";
    let values = [
        ("SUMMARY", scenario.summary()),
        (
            "LIMITS",
            limits(
                "  ",
                &[
                    (scenario.is_zipf(), "the Zipf distribution that was asked for is left out"),
                    (flows.vteps() > MOST_VTEPS, &limited),
                    (scenario.traffic.tunnel.is_some(), checksums),
                ],
            ),
        ),
        ("FAMILY", digit(family).to_string()),
        ("LINK", format!("(\"{}\", \"{}\")", scenario.shape.link.0, scenario.shape.link.1)),
        ("TUNNEL", tunnel(scenario, vteps)),
        ("SIZES", format!("[{}]", sizes.join(", "))),
        (
            "RANGE",
            match scenario.traffic.size {
                Size::Range(a, b) => format!("({a}, {b})"),
                _ => "None".into(),
            },
        ),
        ("SRC", family.address(first.source).to_string()),
        ("DST", family.address(first.destination).to_string()),
        ("PORTS", format!("({}, {})", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        ("SOURCES", format!("({}, {}, {})", sources.first, sources.count, flows.block())),
        ("DESTINATIONS", format!("({}, {})", destinations.first, destinations.count)),
        ("FLOWS", o.flows.to_string()),
        (
            "PPS",
            match o.rate {
                Rate::Fixed(n) => n.to_string(),
                Rate::Max => "None".into(),
            },
        ),
        ("SECONDS", o.seconds.to_string()),
        ("STAMP", stamp.iter().map(|b| format!("{b:02x}")).collect()),
    ];
    Text { name: "trex.py", bytes: fill(include_str!("trex.py"), &values), program: false }
}

fn tunnel(scenario: &Scenario<'_>, vteps: u32) -> String {
    let Some(t) = &scenario.traffic.tunnel else { return "None".into() };
    let (family, first) = (Family::of(t.vtep.0), number(t.vtep.1));
    let sources: Vec<_> = (0..vteps).map(|n| format!("\"{}\"", family.address(first + u128::from(n)))).collect();
    let vnis: Vec<_> = scenario.traffic.flows.vnis().iter().map(ToString::to_string).collect();
    format!(
        "{{\n    \"family\": {},\n    \"srcs\": [{}],\n    \"dst\": \"{}\",\n    \"sport\": 0xC000,\n    \"dport\": {},\n    \
         \"vnis\": [{}],\n    \"inner\": (\"{}\", \"{}\"),\n}}",
        digit(family),
        sources.join(", "),
        t.vtep.0,
        t.udp_port,
        vnis.join(", "),
        t.inner.0,
        t.inner.1,
    )
}

fn digit(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

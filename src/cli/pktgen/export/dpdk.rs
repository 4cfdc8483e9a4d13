//! Pktgen-DPDK: a capture file, and a Lua script that sends it.

use super::{Scenario, Text, fill, limits, pcap};
use crate::cli::pktgen::sender::Rate;

pub(super) fn files(scenario: &Scenario<'_>) -> Vec<Text> {
    let (capture, bytes) = pcap::capture(scenario);
    let o = scenario.options;
    let few = o.flows > scenario.frames;
    let limited =
        format!("of {} flows only those of the first {} packets are in the file (--frames)", o.flows, scenario.frames);
    let values = [
        ("SUMMARY", scenario.summary()),
        ("FRAMES", scenario.frames.to_string()),
        ("LIMITS", limits("--   ", &[(few, &limited)])),
        (
            "PPS",
            match o.rate {
                Rate::Fixed(n) => n.to_string(),
                Rate::Max => "nil".into(),
            },
        ),
        ("BYTES", bytes.to_string()),
        ("SECONDS", o.seconds.to_string()),
    ];
    vec![
        Text { name: "pktgen-dpdk.lua", bytes: fill(include_str!("dpdk.lua"), &values), program: false },
        Text { name: "frames.pcap", bytes: capture, program: false },
    ]
}

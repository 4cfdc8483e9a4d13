//! The gateways under test: one for each setting and IP version of the underlay, started when a row first needs it.

use std::collections::BTreeMap;

use selvedge::lab::{Family, Shape};

use crate::capture::{self, Frame};
use crate::netns::Net;
use crate::rows::{Pair, Row, Setting};
use crate::script::Script;

/// The gateway's port towards the underlay.
const UNDERLAY_MAC: &str = "02:00:00:00:00:01";

/// What one case of a row came to.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) pair: Pair,
    pub(crate) name: String,
    /// What was wrong, if anything.
    pub(crate) wrong: Option<String>,
}

/// A gateway, and who makes the packets for it.
struct Stage {
    // before the network: a process goes before its namespace does
    script: Option<Script>,
    net: Net,
}

/// All gateways that have been needed so far.
#[derive(Default)]
pub(crate) struct Stages {
    running: BTreeMap<(Setting, char), Stage>,
}

impl Stages {
    /// Plays all cases of a row for these pairs, with gateways in all its settings.
    pub(crate) fn play(&mut self, row: &Row, pairs: &[Pair]) -> Vec<Case> {
        let mut cases = Vec::new();
        for setting in row.settings {
            for outer in ['4', '6'] {
                let here: Vec<Pair> = pairs.iter().copied().filter(|pair| pair.outer() == outer).collect();
                if !here.is_empty() {
                    let start = || Stage { script: None, net: start(*setting, outer) };
                    let stage = self.running.entry((*setting, outer)).or_insert_with(start);
                    cases.extend(stage.play(row, *setting, &here));
                }
            }
        }
        cases
    }

    /// Ends them all; the books of each must balance.
    pub(crate) fn finish(&mut self) {
        for (_, Stage { script, net }) in std::mem::take(&mut self.running) {
            drop(script);
            net.finish();
        }
    }
}

impl Stage {
    /// Plays the cases of a row that scapy makes, and has tshark read what the gateway sent.
    fn play(&mut self, row: &Row, setting: Setting, pairs: &[Pair]) -> Vec<Case> {
        let recording = self.net.room().join(format!("row-{}.pcap", row.number));
        let mut script = self.script.take().unwrap_or_else(|| Script::start(&self.net, setting));
        let lines = script.play(row, pairs, &recording).expect("the script ended before the row did: see above");
        self.script = Some(script);
        let cases = lines.iter().map(|line| case(line, setting)).collect();
        let unsound: Vec<_> = capture::read(&recording).iter().filter_map(|frame| unsound(frame, row)).collect();
        assert!(unsound.is_empty(), "tshark finds in what the gateway sent:\n{}", unsound.join("\n"));
        cases
    }
}

fn start(setting: Setting, outer: char) -> Net {
    let underlay = if outer == '4' { Family::V4 } else { Family::V6 };
    // what is allowed over IPv6 is allowed at both ends
    let zero_checksum = setting == Setting::Altered;
    let shape = Shape { underlay, dual_stack: true, zero_checksum, ..Shape::default() };
    let tag = format!("row{}{outer}", setting.name());
    let mut net = Net::shaped(&tag, shape).expect("the test has looked for root before");
    if setting == Setting::Altered {
        net.edit(
            "vni = 1\nudp_port = 8472",
            "vni = 0\nudp_port = 14789\ndscp = \"uniform\"\ngbp = true\ninner_vlan = 5\nfragment = true",
        );
        // 4789 is what is not said
        net.edit("vni = 7\nudp_port = 4789", "vni = 16777215\ndscp = 46\ngbp = true\nfragment = true\nmtu = 1300");
    }
    for family in ["ipv4", "ipv6"] {
        // seconds for which a path MTU counts: no test waits ten minutes
        net.t.gateway.sysctl(&format!("net.{family}.route.mtu_expires"), "3").unwrap();
    }
    net.finish_checksums();
    net.start();
    net
}

/// Reads `ok   4in4: name` or `FAIL 4in4: name: what is wrong`.
fn case(line: &str, setting: Setting) -> Case {
    let (verdict, rest) = line.split_at_checked(5).unwrap_or_else(|| panic!("no verdict: {line}"));
    let (pair, name) = rest.split_once(": ").unwrap_or_else(|| panic!("no pair: {line}"));
    let pair = Pair::ALL.into_iter().find(|p| p.0 == pair).unwrap_or_else(|| panic!("no such pair: {line}"));
    let wrong = match verdict {
        "ok   " => None,
        "FAIL " => Some(rest.to_owned()),
        _ => panic!("no verdict: {line}"),
    };
    Case { pair, name: format!("{}: {name}", setting.name()), wrong }
}

/// What tshark, which verifies every checksum, has to say against a packet, and what is wrong with any VXLAN packet.
fn unsound(frame: &Frame, row: &Row) -> Option<String> {
    let mut wrong: Vec<String> = frame.faults().into_iter().map(str::to_owned).collect();
    let six = frame.number("eth.type", 0) == 0x86dd;
    let protocol = frame.at(if six { "ipv6.nxt" } else { "ip.proto" }, 0);
    // the gateway's kernel says by ICMP that nobody listens at a port
    let kernels = ["1", "58"].contains(&protocol);
    if frame.at("eth.src", 0) == UNDERLAY_MAC && !kernels {
        let fragment = !six && (frame.flag("ip.flags.mf", 0) || frame.at("ip.frag_offset", 0) != "0");
        if fragment || protocol != "17" {
            wrong.push("an outer fragment (row 7), or no UDP".into());
        }
        let policies = row.number == 21;
        if frame.number("vxlan.flags", 0) != 0x0800 && !policies {
            wrong.push("VXLAN flags (row 2)".into());
        }
        if frame.number("udp.srcport", 0) < 49_152 {
            wrong.push("the source port (row 4)".into());
        }
    }
    (!wrong.is_empty()).then(|| format!("{}: {frame:?}", wrong.join(", ")))
}

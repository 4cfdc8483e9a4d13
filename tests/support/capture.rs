//! What crossed an interface: recorded by tcpdump, read by tshark with every checksum verified.
//!
//! Only what the gateway sent is judged: packets of local stacks legitimately carry unfinished checksums on a veth.
#![allow(dead_code)] // each test crate uses its own part

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use selvedge::lab::{Namespace, Process};

use super::netns::{missing, until};

/// A running tcpdump.
pub(crate) struct Capture {
    process: Process,
    file: PathBuf,
    what: String,
}

impl Capture {
    /// Records what crosses `link` in `ns` and passes `filter`, to a file in `room`. It records when this returns.
    pub(crate) fn start(ns: &Namespace, link: &str, filter: &str, room: &Path) -> Self {
        let what = format!("{}-{link}", ns.name());
        let (file, log) = (room.join(format!("{what}.pcap")), room.join(format!("{what}.tcpdump")));
        let mut command = Command::new("tcpdump");
        // as root: the room is nobody else's
        command.args(["-i", link, "-n", "-U", "-Z", "root", "-B", "16384", "-w"]).arg(&file).arg(filter);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let process = ns.spawn(command).unwrap_or_else(|e| missing("tcpdump", e.io()));
        let told = || fs::read_to_string(&log).unwrap_or_default();
        assert!(until(Duration::from_secs(5), || told().contains("listening on")), "tcpdump on {what}: {}", told());
        Self { process, file, what }
    }

    /// Ends the recording and reads it.
    pub(crate) fn stop(mut self) -> Vec<Frame> {
        self.process.signal(Signal::INT).unwrap();
        let ended = until(Duration::from_secs(5), || self.process.exited().unwrap().is_some());
        assert!(ended, "tcpdump on {} does not end", self.what);
        read(&self.file)
    }
}

/// What tshark says beside "wrong" of a TCP checksum of all ones where none is left. Zero has two forms in ones' complement
/// (RFC 1071 §1), and Linux, where it finishes a checksum in software, writes this one whatever the protocol
/// (CSUM_MANGLED_0 in net/checksum.h): one packet in 65,536 is like that, and right.
const ALL_ONES: &str = "tcp.checksum.ffff";

/// The fields asked of tshark, in order. Those of an outer and an inner header come as a list.
const FIELDS: [&str; 34] = [
    "frame.number",
    "frame.len",
    "eth.src",
    "eth.dst",
    "eth.type",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "ipv6.nxt",
    "ipv6.tclass.ecn",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ip.dsfield.ecn",
    "ip.flags.df",
    "ip.flags.mf",
    "ip.frag_offset",
    "ip.proto",
    "ip.len",
    "ip.checksum.status",
    "udp.srcport",
    "udp.dstport",
    "udp.checksum",
    "udp.checksum.status",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.checksum.status",
    ALL_ONES,
    "icmp.checksum.status",
    "icmpv6.checksum.status",
    "vxlan.vni",
    "vxlan.flags",
    "vxlan.gbp",
    "_ws.malformed",
];

/// One packet as tshark reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame(Vec<Vec<String>>);

impl Frame {
    /// All values of a field, the outermost first.
    pub(crate) fn all(&self, field: &str) -> &[String] {
        let at = FIELDS.iter().position(|f| *f == field).unwrap_or_else(|| panic!("{field} was not asked for"));
        &self.0[at]
    }

    /// The value of a field in the n-th header, 0 being the outermost; empty if there is none.
    pub(crate) fn at(&self, field: &str, n: usize) -> &str {
        self.all(field).get(n).map_or("", String::as_str)
    }

    /// The value of a field in the innermost header.
    pub(crate) fn last(&self, field: &str) -> &str {
        self.all(field).last().map_or("", String::as_str)
    }

    /// The value of a field as a number.
    pub(crate) fn number(&self, field: &str, n: usize) -> u32 {
        let text = self.at(field, n);
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u32::from_str_radix(hex, 16));
        parsed.unwrap_or_else(|_| panic!("{field} is `{text}` in {self:?}"))
    }

    /// A flag in the n-th header; `1` or `True`, by the version of tshark.
    pub(crate) fn flag(&self, field: &str, n: usize) -> bool {
        ["1", "True"].contains(&self.at(field, n))
    }

    /// The fields that hold a checksum tshark found wrong (status 0), and `_ws.malformed`.
    pub(crate) fn faults(&self) -> Vec<&'static str> {
        let bad = |f: &&&str| f.ends_with("checksum.status") && self.all(f).iter().any(|status| status == "0");
        let mut faults: Vec<&str> = FIELDS.iter().filter(bad).copied().collect();
        if !self.all("_ws.malformed").is_empty() {
            faults.push("_ws.malformed");
        }
        faults
    }

    /// Innermost addresses, protocol and ports: the flow.
    pub(crate) fn flow(&self) -> String {
        let inner = |f: &str| self.last(f);
        let ports = match inner("ip.proto") {
            "6" => [inner("tcp.srcport"), inner("tcp.dstport")],
            "17" => [inner("udp.srcport"), inner("udp.dstport")],
            _ => ["", ""],
        };
        format!("{}>{}/{}:{}", inner("ip.src"), inner("ip.dst"), inner("ip.proto"), ports.join(">"))
    }
}

/// The ephemeral ports of hosts whose packets are recorded: apart from the outer source ports of every VTEP.
pub(crate) const EPHEMERAL: &str = "20000 32767";

/// Where VXLAN packets of the tests are sent to.
const VXLAN_PORTS: [u16; 3] = [4789, 8472, 14_789];

/// Reads a recording. What is sent between ephemeral ports, or to the port of the tests' own datagrams, is random bytes,
/// which would be malformed anything: it is not dissected.
pub(crate) fn read(file: &Path) -> Vec<Frame> {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file);
    for port in VXLAN_PORTS {
        command.arg("-d").arg(format!("udp.port=={port},vxlan"));
    }
    for bytes in ["udp.port==20000-32767,data", "tcp.port==20000-32767,data", "udp.port==5555,data"] {
        command.args(["-d", bytes]);
    }
    for protocol in ["ip", "udp", "tcp"] {
        command.arg("-o").arg(format!("{protocol}.check_checksum:TRUE"));
    }
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE", "-o", "tcp.analyze_sequence_numbers:FALSE"]);
    command.args(["-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=;"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| missing("tshark", &e));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark on {}: {complaint}", file.display());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(frame).collect()
}

fn frame(line: &str) -> Frame {
    let values = |column: &str| column.split(';').filter(|v| !v.is_empty()).map(str::to_string).collect();
    let columns: Vec<Vec<String>> = line.split('|').map(values).collect();
    assert_eq!(columns.len(), FIELDS.len(), "{line}");
    let mut frame = Frame(columns);
    if !frame.all(ALL_ONES).is_empty() {
        let status = FIELDS.iter().position(|f| *f == "tcp.checksum.status").expect("it is asked for");
        frame.0[status] = vec!["1".into()];
    }
    frame
}

//! What is sent: journeys, frame sizes, and the flows as the header file of the generator.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use selvedge::wire::addr::Mac;
use serde::Serialize;

use crate::Result;
use crate::bed::{
    BLUE, Bed, Cluster, GREEN, MAC_FAR, MAC_NEAR, MAC_SUT_ACCESS, MAC_SUT_UNDERLAY, MOST_PODS_A_NODE, OVERHEAD,
    SUT_UNDERLAY,
};

/// A record of the header file.
const RECORD: usize = 128;
/// Ethernet, IPv4 and UDP headers.
const PLAIN: usize = 14 + 20 + 8;
/// Words of 8 bytes that hold the headers of a plain frame; the rest of the last is payload.
const PLAIN_WORDS: usize = 6;
const VXLAN_WORDS: usize = 12;
/// The shortest Ethernet frame without its check sequence: what "64 bytes" means.
const SHORTEST: u16 = 60;

/// The three ways of a packet through a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Journey {
    Encap,
    Decap,
    Transit,
}

impl Journey {
    pub(crate) fn name(self) -> &'static str {
        ["encap", "decap", "transit"][self as usize]
    }

    /// True when frames reach the gateway in VXLAN.
    pub(crate) fn encapsulated(self) -> bool {
        self != Self::Encap
    }
}

impl fmt::Display for Journey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sizes of the inner Ethernet frames, with the frame check sequence as the field counts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub(crate) enum Size {
    Fixed(u16),
    /// 64, 594 and 1518 bytes as 7 : 4 : 1, the usual mix: 361.8 bytes on average.
    Imix,
}

impl Size {
    /// One cycle of frame lengths, without the check sequence.
    fn cycle(&self) -> Vec<u16> {
        match self {
            Self::Fixed(size) => vec![size - 4],
            // spread, so that no burst is all of one size
            Self::Imix => [64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64].map(|s| s - 4).to_vec(),
        }
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.parse() {
            _ if text == "imix" => Ok(Self::Imix),
            Ok(size @ 64..=1518) => Ok(Self::Fixed(size)),
            _ => Err(format!("`{text}`: a frame size is 64 to 1518, or `imix`")),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size} B"),
            Self::Imix => f.write_str("IMIX"),
        }
    }
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Workload {
    pub(crate) journey: Journey,
    pub(crate) size: Size,
    pub(crate) flows: u32,
    pub(crate) pods: u32,
    pub(crate) nodes: u32,
    pub(crate) seed: u64,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.flows == 1 { "" } else { "s" };
        write!(f, "{}, {}, {} flow{plural}", self.journey, self.size, self.flows)
    }
}

impl Workload {
    /// Pods for a number of flows, unless told otherwise: one each up to a thousand, then many flows a pod.
    pub(crate) fn usual_pods(flows: u32, nodes: u32) -> u32 {
        let usual = if flows <= 1000 { flows } else { (flows / 6).max(1000) };
        usual.min(nodes * MOST_PODS_A_NODE)
    }

    /// Writes the header file of the generator.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let mut random = Random(self.seed | 1);
        let mut flows: Vec<u32> = (0..self.flows).collect();
        for i in (1..flows.len()).rev() {
            flows.swap(i, random.below(i as u64 + 1) as usize);
        }
        let mut bytes = Vec::with_capacity(flows.len() * RECORD);
        for flow in flows {
            let mut record = self.headers(flow);
            record.resize(RECORD, 0);
            bytes.extend(record);
        }
        Ok(fs::write(file, bytes)?)
    }

    /// The headers of one flow, before the gateway.
    fn headers(&self, flow: u32) -> Vec<u8> {
        let pod = flow % self.pods;
        // A connection of its own: what a NIC or a kernel hashes must differ from flow to flow.
        let ports = [1024 + (mix(u64::from(flow) ^ self.seed) % 60_000) as u16, 7];
        let host = Ipv4Addr::from(u32::from_be_bytes([10, 10, 0, 2]) + (pod % 65_000));
        let node = pod % self.nodes;
        let inner = SHORTEST;
        match self.journey {
            Journey::Encap => {
                let to = BLUE.pod(pod, self.nodes);
                plain([MAC_SUT_ACCESS, MAC_NEAR], [host, to], ports, inner)
            }
            Journey::Decap => {
                let from = BLUE.pod(pod, self.nodes);
                let macs = [BLUE.gateway_mac(), BLUE.vtep_mac(node)];
                tunnel(&BLUE, node, ports[0], &plain(macs, [from, host], ports, inner), inner)
            }
            Journey::Transit => {
                // another node of green than of blue, whatever the number of nodes
                let to = GREEN.pod((pod + 1) % self.pods.max(2).min(self.pods), self.nodes);
                let macs = [BLUE.gateway_mac(), BLUE.vtep_mac(node)];
                tunnel(&BLUE, node, ports[0], &plain(macs, [BLUE.pod(pod, self.nodes), to], ports, inner), inner)
            }
        }
    }

    /// The generator's words for the shape of the frames.
    pub(crate) fn shape(&self) -> Vec<String> {
        let (words, more) = if self.journey.encapsulated() { (VXLAN_WORDS, OVERHEAD) } else { (PLAIN_WORDS, 0) };
        let sizes: Vec<String> = self.size.cycle().iter().map(|s| (s + more).to_string()).collect();
        let mut line = vec!["--words".into(), words.to_string(), "--base".into(), (SHORTEST + more).to_string()];
        line.extend(["--sizes".into(), sizes.join(",")]);
        if self.journey.encapsulated() {
            line.push("--encapsulated".into());
        }
        line
    }

    /// Where the generator sends from, and where the counter counts.
    pub(crate) fn ends<'a>(&self, bed: &'a Bed) -> [&'a selvedge::lab::Namespace; 2] {
        match self.journey {
            Journey::Encap => [&bed.near, &bed.far],
            Journey::Decap => [&bed.far, &bed.near],
            Journey::Transit => [&bed.far, &bed.far],
        }
    }
}

/// The counter's words: where the stamp is after the gateway, and what else proves that the gateway did its work.
/// `raw`: of a system that only moves frames.
pub(crate) fn expectation(journey: Journey, raw: bool) -> Vec<String> {
    // (stamp, word, mask, value): the VNI of the overlay reached, or an IPv4 packet right behind the Ethernet header
    let (stamp, at, mask, value) = match journey {
        Journey::Encap if raw => (PLAIN_WORDS * 8, 12, 0xffff_ff00_u32, 0x0800_4500),
        Journey::Encap => (PLAIN_WORDS * 8 + 50, 46, 0xffff_ff00, BLUE.vni << 8),
        Journey::Decap => (VXLAN_WORDS * 8 - 50, 12, 0xffff_ff00, 0x0800_4500),
        Journey::Transit => (VXLAN_WORDS * 8, 46, 0xffff_ff00, GREEN.vni << 8),
    };
    ["--stamp-at".into(), format!("{stamp}"), "--expect-at".into(), format!("{at}")]
        .into_iter()
        .chain(["--expect-mask".into(), format!("{mask:x}"), "--expect-value".into(), format!("{value:x}")])
        .collect()
}

/// An Ethernet frame of `length` bytes up to its UDP payload. The UDP checksum is 0: none.
fn plain([to, from]: [Mac; 2], [src, dst]: [Ipv4Addr; 2], ports: [u16; 2], length: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(RECORD);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend([0x08, 0x00]);
    let ip_length = length - 14;
    let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[2..4].copy_from_slice(&ip_length.to_be_bytes());
    ip[12..16].copy_from_slice(&src.octets());
    ip[16..20].copy_from_slice(&dst.octets());
    let sum: u32 = ip.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    frame.extend(ip);
    for word in [ports[0], ports[1], ip_length - 20, 0] {
        frame.extend(word.to_be_bytes());
    }
    debug_assert_eq!(frame.len(), PLAIN);
    frame
}

/// Outer headers from node `node` to the gateway around an inner frame of `length` bytes.
fn tunnel(cluster: &Cluster, node: u32, entropy: u16, inner: &[u8], length: u16) -> Vec<u8> {
    let addresses = [cluster.vtep(node), SUT_UNDERLAY];
    let mut frame = plain([MAC_SUT_UNDERLAY, MAC_FAR], addresses, [entropy, cluster.udp_port], length + OVERHEAD);
    frame.extend([0x08, 0, 0, 0]);
    frame.extend((cluster.vni << 8).to_be_bytes());
    frame.extend(inner);
    frame
}

/// xorshift64* (Vigna 2014): the same flows for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A 64-bit finaliser (splitmix64, Steele et al. 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

//! What can be wrong with a test packet that arrived: every defect has a name.

use serde::Serialize;

/// A defect. Of several, a packet is counted under the first in this order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Damage {
    /// The frame ends before its headers, or its lengths contradict each other.
    Length,
    /// VXLAN where plain packets should arrive, or the other way round.
    Framing,
    /// The outer destination is none of the VTEPs that should receive.
    OuterDestination,
    /// VXLAN flags without the I bit.
    VxlanFlags,
    /// Another segment than this flow's.
    Vni,
    /// Other MACs in the inner frame than asked for.
    InnerMac,
    /// The stamp's own check is wrong.
    Stamp,
    /// The stamp names a flow that there is not.
    Flow,
    /// Another source address than this flow's.
    Source,
    /// Another destination address than this flow's.
    Destination,
    /// Other UDP ports than this flow's.
    Ports,
    /// A TTL above the one sent, or not less by `--hops`.
    Ttl,
    /// Another field of the IP header is not as sent.
    IpHeader,
    /// A byte behind the stamp is not as sent.
    Payload,
    /// The IPv4 header's checksum is wrong.
    IpChecksum,
    /// The UDP checksum is wrong, missing, or unfinished.
    UdpChecksum,
    /// The outer IPv4 or UDP checksum is wrong. An unfinished one (Linux: `CHECKSUM_PARTIAL`) is not.
    OuterChecksum,
}

/// Packets by defect. Each is counted once, and its number is among those lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DamageCounts {
    /// See [`Damage::Length`].
    pub length: u64,
    /// See [`Damage::Framing`].
    pub framing: u64,
    /// See [`Damage::OuterDestination`].
    pub outer_destination: u64,
    /// See [`Damage::VxlanFlags`].
    pub vxlan_flags: u64,
    /// See [`Damage::Vni`].
    pub vni: u64,
    /// See [`Damage::InnerMac`].
    pub inner_mac: u64,
    /// See [`Damage::Stamp`].
    pub stamp: u64,
    /// See [`Damage::Flow`].
    pub flow: u64,
    /// See [`Damage::Source`].
    pub source: u64,
    /// See [`Damage::Destination`].
    pub destination: u64,
    /// See [`Damage::Ports`].
    pub ports: u64,
    /// See [`Damage::Ttl`].
    pub ttl: u64,
    /// See [`Damage::IpHeader`].
    pub ip_header: u64,
    /// See [`Damage::Payload`].
    pub payload: u64,
    /// See [`Damage::IpChecksum`].
    pub ip_checksum: u64,
    /// See [`Damage::UdpChecksum`].
    pub udp_checksum: u64,
    /// See [`Damage::OuterChecksum`].
    pub outer_checksum: u64,
}

impl DamageCounts {
    /// Counts one.
    #[inline]
    pub fn note(&mut self, damage: Damage) {
        *match damage {
            Damage::Length => &mut self.length,
            Damage::Framing => &mut self.framing,
            Damage::OuterDestination => &mut self.outer_destination,
            Damage::VxlanFlags => &mut self.vxlan_flags,
            Damage::Vni => &mut self.vni,
            Damage::InnerMac => &mut self.inner_mac,
            Damage::Stamp => &mut self.stamp,
            Damage::Flow => &mut self.flow,
            Damage::Source => &mut self.source,
            Damage::Destination => &mut self.destination,
            Damage::Ports => &mut self.ports,
            Damage::Ttl => &mut self.ttl,
            Damage::IpHeader => &mut self.ip_header,
            Damage::Payload => &mut self.payload,
            Damage::IpChecksum => &mut self.ip_checksum,
            Damage::UdpChecksum => &mut self.udp_checksum,
            Damage::OuterChecksum => &mut self.outer_checksum,
        } += 1;
    }

    /// By name, in the order of [`Damage`].
    pub fn named(&self) -> [(&'static str, u64); 17] {
        [
            ("length", self.length),
            ("framing", self.framing),
            ("outer_destination", self.outer_destination),
            ("vxlan_flags", self.vxlan_flags),
            ("vni", self.vni),
            ("inner_mac", self.inner_mac),
            ("stamp", self.stamp),
            ("flow", self.flow),
            ("source", self.source),
            ("destination", self.destination),
            ("ports", self.ports),
            ("ttl", self.ttl),
            ("ip_header", self.ip_header),
            ("payload", self.payload),
            ("ip_checksum", self.ip_checksum),
            ("udp_checksum", self.udp_checksum),
            ("outer_checksum", self.outer_checksum),
        ]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, n)| n).sum()
    }
}

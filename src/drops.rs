//! Every reason for which the gateway drops a packet: one name, one sentence, one metric label each.
//!
//! Successes are not in it, and neither is what the XDP program leaves to the kernel. Each reason has a test that
//! provokes it (`tests/drops.rs` walks [`DropReason::ALL`]); a reason that nobody can cause goes.

/// Declares the reasons once: the enum, its order, its labels and its sentences cannot disagree.
macro_rules! reasons {
    ($($(#[doc = $sentence:literal])+ $name:ident = $label:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $sentence])+ $name,)+
        }

        impl DropReason {
            /// All reasons, in order.
            pub const ALL: [DropReason; [$($label),+].len()] = [$(DropReason::$name),+];

            /// The metric label.
            pub const fn label(self) -> &'static str {
                match self { $(DropReason::$name => $label,)+ }
            }

            /// What it means, in a sentence for people.
            pub fn sentence(self) -> &'static str {
                match self { $(DropReason::$name => concat!($($sentence),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// The frame ends inside its Ethernet header.
    ShortFrame = "short_frame",
    /// The frame came by a tagged port and has other VLAN tags than the port's, or none.
    VlanTags = "vlan_tags",
    /// The frame carries neither IPv4 nor IPv6 nor anything the gateway answers.
    NotIp = "not_ip",
    /// The source MAC of the plain frame is a group address or zero.
    SourceMac = "source_mac",
    /// The IP header of the plain packet is cut short, of a wrong version, or lies about its length.
    IpHeader = "ip_header",
    /// The IP header checksum of the plain packet is wrong.
    IpChecksum = "ip_checksum",

    /// The plain packet claims a source address that belongs to an overlay, or to the gateway inside one.
    Source = "source",

    /// The outer IP header is cut short, of a wrong version, or lies about its length.
    OuterIpHeader = "outer_ip_header",
    /// The outer IP header checksum is wrong.
    OuterIpChecksum = "outer_ip_checksum",
    /// The outer packet is a fragment; VXLAN packets must not be fragmented (RFC 7348 §4.3).
    OuterFragment = "outer_fragment",
    /// The outer packet is not UDP.
    OuterNotUdp = "outer_not_udp",
    /// The UDP length is shorter than a UDP header or longer than the IP packet.
    OuterUdpLength = "outer_udp_length",
    /// The outer UDP checksum is neither zero, nor unfinished, nor right.
    OuterUdpChecksum = "outer_udp_checksum",
    /// The outer UDP checksum over IPv6 is zero, which nobody agreed upon with this peer (RFC 6936).
    OuterUdpZeroChecksum = "outer_udp_zero_checksum",
    /// The outer source is loopback, multicast, broadcast, unspecified, or one of our own VTEP addresses.
    OuterMartian = "outer_martian",
    /// Address and UDP port are not those of a VTEP of this gateway.
    NotOurVtep = "not_our_vtep",
    /// The payload ends inside the VXLAN header.
    VxlanShort = "vxlan_short",
    /// The I flag is not set: the header has no VNI (RFC 7348 §5).
    VxlanFlags = "vxlan_flags",
    /// The reserved fields of the VXLAN header hold another protocol's number, a Geneve header, or a group policy that the
    /// overlay does not carry.
    VxlanExtension = "vxlan_extension",
    /// No overlay of this VTEP has the VNI.
    UnknownVni = "unknown_vni",
    /// The outer source is no peer of the overlay.
    UnknownPeer = "unknown_peer",

    /// The inner frame ends inside its Ethernet header.
    InnerShort = "inner_short",
    /// The inner source MAC is a group address, zero, or our own.
    InnerSourceMac = "inner_source_mac",
    /// The inner destination MAC is not the overlay's VTEP MAC.
    InnerDestinationMac = "inner_destination_mac",
    /// The inner frame has a VLAN tag (RFC 7348 §6.1) that is neither the overlay's `inner_vlan` nor a mere priority tag.
    InnerVlan = "inner_vlan",
    /// The inner frame carries neither IPv4 nor IPv6 nor anything the gateway answers.
    InnerNotIp = "inner_not_ip",
    /// The inner IP header is cut short, of a wrong version, or lies about its length.
    InnerIpHeader = "inner_ip_header",
    /// The inner IP header checksum is wrong.
    InnerIpChecksum = "inner_ip_checksum",
    /// The inner source address is not routed to the peer that sent it.
    InnerSource = "inner_source",
    /// The outer header met congestion and the inner packet cannot say so (RFC 6040 §4.2).
    Congestion = "congestion",

    /// Source or destination may not be forwarded: unspecified, loopback, link-local, multicast, broadcast or reserved.
    Martian = "martian",
    /// The TTL or hop limit ran out and no ICMP error could be sent (rate, policy or no address to send from).
    TtlExpired = "ttl_expired",
    /// No route to the destination.
    NoRoute = "no_route",
    /// The route to the destination is not among those that the side the packet came from imports.
    NotImported = "not_imported",
    /// The route leads back to the peer that sent the packet, or to a prefix that it has with others.
    BackToSender = "back_to_sender",
    /// The next hop's MAC address is not known yet or the neighbour does not answer.
    NoNeighbour = "no_neighbour",
    /// The packet exceeds the MTU of its way out and no ICMP error could be sent.
    TooBig = "too_big",
    /// ARP or neighbour discovery that is unsound, or asks for no address that the gateway answers for.
    Neighbour = "neighbour",
    /// The packet exceeds the MTU of its way out and was to be fragmented, but too few chunks of memory are free.
    NoFrame = "no_frame",
    /// The packet is for the gateway itself, which answers nothing but echo requests.
    NotForUs = "not_for_us",
    /// The chunk has no room in front of the packet for the headers.
    NoHeadroom = "no_headroom",
    /// The TX ring of the port was full.
    TxRingFull = "tx_ring_full",
}

impl core::fmt::Display for DropReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.label())
    }
}

/// One counter for each reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Counts one packet.
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Packets dropped for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// The counters in the order of [`DropReason::ALL`], writable: for copies.
    pub fn counts_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }

    /// Packets dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, in order.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().map(|r| (r, self.get(r)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_metric_words_and_sentences_end() {
        let labels: HashSet<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
        for r in DropReason::ALL {
            assert!(r.label().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{r}");
            assert!(r.sentence().ends_with('.') && r.sentence().len() > 20, "{r}: {}", r.sentence());
        }
    }

    #[test]
    fn counts_go_where_they_belong() {
        let mut d = Drops::default();
        d.count(DropReason::NoRoute);
        d.count(DropReason::NoRoute);
        d.count(DropReason::TxRingFull);
        assert_eq!((d.get(DropReason::NoRoute), d.get(DropReason::ShortFrame), d.total()), (2, 0, 3));
        assert_eq!(d.iter().filter(|(_, n)| *n > 0).count(), 2);
    }
}

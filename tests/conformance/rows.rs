//! The 23 rows, which of them are open, and why.

/// How a gateway under test is set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Setting {
    /// As the lab writes it: all defaults.
    Usual,
    /// What can be chosen is chosen otherwise: VNIs, ports, marks, checksums.
    Altered,
}

impl Setting {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Setting::Usual => "usual",
            Setting::Altered => "altered",
        }
    }
}

/// Inner and outer IP version: `6in4` are IPv6 packets in VXLAN over IPv4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Pair(pub(crate) &'static str);

impl Pair {
    pub(crate) const ALL: [Pair; 4] = [Pair("4in4"), Pair("6in4"), Pair("4in6"), Pair("6in6")];

    /// The IP version of the underlay.
    pub(crate) fn outer(self) -> char {
        self.0.chars().next_back().expect("a pair has a name")
    }
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) number: u8,
    /// The name of its test, behind `row_NN_`.
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) source: &'static str,
    /// The gateways that are held to it.
    pub(crate) settings: &'static [Setting],
}

const fn row(
    number: u8,
    name: &'static str,
    rule: &'static str,
    source: &'static str,
    settings: &'static [Setting],
) -> Row {
    Row { number, name, rule, source, settings }
}

const USUAL: &[Setting] = &[Setting::Usual];
const ALTERED: &[Setting] = &[Setting::Altered];
const BOTH: &[Setting] = &[Setting::Usual, Setting::Altered];

/// The table.
#[rustfmt::skip]
pub(crate) const ROWS: [Row; 23] = [
    row(1, "i_flag_must_be_one", "I flag must be 1", "RFC 7348 §5", USUAL),
    row(2, "reserved_bits_are_ignored", "reserved bits: 0 sent, all 39 ignored on receipt", "RFC 7348 §5", USUAL),
    row(3, "destination_port", "port 4789 by default, any by config", "RFC 7348 §5", BOTH),
    row(4, "source_port", "source port from the inner flow, in 49152–65535", "RFC 7348 §5", USUAL),
    row(5, "udp_checksum_over_ipv4", "UDP checksum over IPv4: 0 sent, 0 accepted, wrong dropped", "RFC 7348 §5", USUAL),
    row(6, "udp_checksum_over_ipv6", "UDP checksum over IPv6: 0 only where allowed", "RFC 6935, 6936", BOTH),
    row(7, "no_outer_fragments", "VXLAN packets are never fragmented nor reassembled", "RFC 7348 §4.3", USUAL),
    row(8, "inner_vlan", "inner VLAN tag dropped unless configured, priority tag accepted", "RFC 7348 §6.1", BOTH),
    row(9, "unknown_vni", "unknown VNIs dropped in silence, VNIs isolated", "RFC 7348", USUAL),
    row(10, "lengths", "lengths that lie dropped, padding trimmed", "RFC 768, 791", USUAL),
    row(11, "outer_source", "outer martians and strangers dropped before further parsing", "–", USUAL),
    row(12, "inner_source_mac", "inner source MAC of a group, zero or our own dropped", "IEEE 802.3", USUAL),
    row(13, "ecn_decapsulation", "congestion marks out of the tunnel, 16 combinations", "RFC 6040 §4.2", USUAL),
    row(14, "ecn_encapsulation", "congestion marks into the tunnel, all four copied", "RFC 6040 §4.1", USUAL),
    row(15, "dscp", "DSCP: pipe (fixed) or uniform (copied) by config", "RFC 2983", BOTH),
    row(16, "hop_count", "TTL lowered, checksum patched, Time Exceeded rate limited", "RFC 1812, 4443, 1624", USUAL),
    row(17, "no_error_about", "no ICMP error about the four exceptions", "RFC 1122, 4443", USUAL),
    row(18, "inner_too_big", "too big: ICMP with the true limit, or fragments by config", "RFC 1191, 8201, 4459", BOTH),
    row(19, "path_mtu", "ICMP about outer packets lowers a peer's path MTU, if genuine", "RFC 1191, 8201, 5927", USUAL),
    row(20, "arp_and_nd", "ARP and ND for overlay addresses answered, others dropped", "RFC 826, 5227, 4861", USUAL),
    row(21, "other_protocols", "GBP, GPE and Geneve bytes dropped by name", "drafts, RFC 8926", BOTH),
    row(22, "extreme_vnis", "VNI 0 and 0xFFFFFF are legal", "RFC 7348", ALTERED),
    row(23, "echo", "ICMP echo to the overlay address answered", "RFC 1812", USUAL),
];

/// Pairs that no gateway is held to yet, and why.
pub(crate) const OPEN_PAIRS: &[(Pair, &str)] = &[];

/// What does not hold yet.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) row: u8,
    /// Part of the names of its cases; nothing for the whole row, which then is not tried.
    pub(crate) cases: &'static str,
    pub(crate) reason: &'static str,
}

/// All that is known not to hold, with its reason. A case in here that does hold fails its row: it must be taken off.
pub(crate) const OPEN: &[Open] = &[];

/// Why nothing of a row holds yet, if so.
pub(crate) fn open(row: &Row) -> Option<&'static str> {
    OPEN.iter().find(|open| open.row == row.number && open.cases.is_empty()).map(|open| open.reason)
}

/// The pairs that gateways are held to.
pub(crate) fn pairs() -> impl Iterator<Item = Pair> {
    Pair::ALL.into_iter().filter(|pair| OPEN_PAIRS.iter().all(|(open, _)| open != pair))
}

//! What the XDP program can do with a packet, by name, and how often it did.

/// What the program did with a packet. Names and order are those of `enum steer_reason` in steer.bpf.c.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum SteerReason {
    /// To a worker: VXLAN to one of our VTEPs.
    RedirectedUnderlay,
    /// To a worker: IP to one of our prefixes.
    RedirectedAccess,
    /// To a worker: an ARP request or a neighbour solicitation for an address in one of our prefixes.
    RedirectedNeighbour,
    /// To the kernel: neither IPv4 nor IPv6 (ARP that is not for us to answer, VLAN-tagged on a port without tags).
    PassNotIp,
    /// To the kernel: the port is a tagged one, and the frame has other tags or none.
    PassOtherVlan,
    /// To the kernel: not to this interface's MAC (broadcast, multicast).
    PassOtherMac,
    /// To the kernel: IP, but neither to a VTEP nor to a prefix of ours.
    PassNotOurs,
    /// To the kernel: a UDP fragment other than the first, which does not say its port.
    PassFragment,
    /// To the kernel: shorter than its headers, or a header length that cannot be.
    PassTruncated,
    /// To the kernel although it is ours: the queue it came by has no socket. Never in a sound set-up.
    PassNoSocket,
}

impl SteerReason {
    /// All of them, in the program's order.
    pub const ALL: [Self; 10] = [
        Self::RedirectedUnderlay,
        Self::RedirectedAccess,
        Self::RedirectedNeighbour,
        Self::PassNotIp,
        Self::PassOtherVlan,
        Self::PassOtherMac,
        Self::PassNotOurs,
        Self::PassFragment,
        Self::PassTruncated,
        Self::PassNoSocket,
    ];

    /// Its name as a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RedirectedUnderlay => "redirected_underlay",
            Self::RedirectedAccess => "redirected_access",
            Self::RedirectedNeighbour => "redirected_neighbour",
            Self::PassNotIp => "pass_not_ip",
            Self::PassOtherVlan => "pass_other_vlan",
            Self::PassOtherMac => "pass_other_mac",
            Self::PassNotOurs => "pass_not_ours",
            Self::PassFragment => "pass_fragment",
            Self::PassTruncated => "pass_truncated",
            Self::PassNoSocket => "pass_no_socket",
        }
    }
}

/// Packets by [`SteerReason`], summed over the machine's CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SteerCounters([u64; SteerReason::ALL.len()]);

impl SteerCounters {
    /// The count of one reason.
    pub fn get(&self, reason: SteerReason) -> u64 {
        self.0[reason as usize]
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (SteerReason, u64)> + '_ {
        SteerReason::ALL.into_iter().zip(self.0)
    }
}

impl SteerCounters {
    /// From counts in the program's order.
    pub(super) fn new(counts: [u64; SteerReason::ALL.len()]) -> Self {
        Self(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The enumerators of `enum steer_reason` but the last, which counts them.
    fn in_c() -> Vec<String> {
        let source = include_str!("steer.bpf.c");
        let body = source.split_once("enum steer_reason {").unwrap().1.split_once('}').unwrap().0;
        let mut names: Vec<String> =
            body.split(',').map(|n| n.trim().to_lowercase()).filter(|n| !n.is_empty()).collect();
        assert_eq!(names.pop().unwrap(), "steer_reasons");
        names
    }

    #[test]
    fn names_and_order_are_those_of_the_program() {
        let ours: Vec<&str> = SteerReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(in_c(), ours);
        for (i, reason) in SteerReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
        }
    }

    #[test]
    fn counters_are_read_by_reason() {
        let counters = SteerCounters::new([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(counters.get(SteerReason::PassNoSocket), 10);
        assert_eq!(counters.iter().next(), Some((SteerReason::RedirectedUnderlay, 1)));
    }
}

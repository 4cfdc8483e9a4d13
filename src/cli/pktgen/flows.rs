//! Who sends to whom: addresses, ports, tunnel end and segment as a function of the flow's number. There is no table:
//! sender and receiver compute the same, so the receiver knows what every packet should say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::{Prefix, Vni};

/// Ports a flow may come from.
const PORTS: u32 = 60_000;
const FIRST_SOURCE_PORT: u16 = 1_024;
const FIRST_DESTINATION_PORT: u16 = 20_000;
/// Hosts of an IPv6 prefix that are used: more than there are flows.
const ENOUGH_BITS: u32 = 32;

/// An address family, and what depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of an address.
    pub(super) const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of an address.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The address of this number.
    pub(super) fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Self::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

/// An address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// What one flow has in its headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ends {
    /// Source address, as a number.
    pub(super) source: u128,
    /// Destination address, as a number.
    pub(super) destination: u128,
    /// Source and destination port as they lie on the wire.
    pub(super) ports: [u8; 4],
    /// Which of the sending VTEPs it comes from, counted from 0.
    pub(super) vtep: u32,
    /// Its segment.
    pub(super) vni: Vni,
}

/// All flows of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flows {
    family: Family,
    source: Hosts,
    destination: Hosts,
    /// Addresses of the source prefix: the next VTEP's begins that much higher.
    block: u128,
    vteps: u32,
    vnis: Vec<Vni>,
}

/// The hosts of a prefix: all addresses, less the first and the last of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hosts {
    /// The lowest, as a number.
    pub(super) first: u128,
    /// How many, 1 to 2³².
    pub(super) count: u64,
}

impl Hosts {
    /// Those of `prefix`; of a large IPv6 prefix the first 2³².
    pub(super) fn of(prefix: Prefix) -> Self {
        let bits = (Family::of(prefix.addr()).width() * 8) as u32 - u32::from(prefix.len());
        let first = number(prefix.addr());
        match bits {
            0 | 1 => Self { first, count: 1 << bits },
            2..ENOUGH_BITS => Self { first: first + 1, count: (1 << bits) - 2 },
            _ => Self { first: first + 1, count: (1 << ENOUGH_BITS) - 2 },
        }
    }

    /// Multiples of the golden ratio: as even over the prefix as their number allows.
    #[inline]
    fn spread(&self, number: u32) -> u128 {
        let turn = u64::from(number.wrapping_mul(0x9e37_79b9));
        self.first + u128::from((turn * self.count) >> 32)
    }
}

impl Flows {
    /// Flows from hosts of `source` to hosts of `destination`, from `vteps` VTEPs in turn, each with a source prefix of
    /// its own that follows the one before, in the segments `vnis` in turn.
    ///
    /// # Errors
    /// What does not go together, in words of the command line.
    pub(super) fn new(source: Prefix, destination: Prefix, vteps: u32, vnis: Vec<Vni>) -> Result<Self, String> {
        let family = Family::of(source.addr());
        if family != Family::of(destination.addr()) {
            return Err(format!("--src {source} and --dst {destination} must both be IPv4 or both be IPv6"));
        }
        let width = (family.width() * 8) as u32;
        let block = 1u128.checked_shl(width - u32::from(source.len())).unwrap_or(u128::MAX);
        let top = if family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
        let last = block.checked_mul(u128::from(vteps)).and_then(|n| number(source.addr()).checked_add(n - 1));
        if vteps > 1 && last.is_none_or(|last| last > top) {
            return Err(format!(
                "--vteps {vteps}: that many prefixes do not follow --src {source}: take a longer prefix"
            ));
        }
        let vnis = if vnis.is_empty() { vec![Vni::from_octets([0; 3])] } else { vnis };
        Ok(Self { family, source: Hosts::of(source), destination: Hosts::of(destination), block, vteps, vnis })
    }

    /// The family of the addresses.
    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Hosts of the first VTEP's sources, and of the destinations.
    pub(super) fn hosts(&self) -> (Hosts, Hosts) {
        (self.source, self.destination)
    }

    /// The segments.
    pub(super) fn vnis(&self) -> &[Vni] {
        &self.vnis
    }

    /// How far the source prefix of a VTEP is above the one before.
    pub(super) fn block(&self) -> u128 {
        self.block
    }

    /// How many VTEPs send.
    pub(super) fn vteps(&self) -> u32 {
        self.vteps
    }

    /// What flow number `flow` has in its headers; no two flows have the same ports.
    #[inline]
    pub(super) fn ends(&self, flow: u32) -> Ends {
        let (vtep, turn) = (flow % self.vteps, flow / self.vteps);
        let vni = self.vnis.get(turn as usize % self.vnis.len().max(1)).copied();
        let [a, b] = (FIRST_SOURCE_PORT + (flow % PORTS) as u16).to_be_bytes();
        let [c, d] = (FIRST_DESTINATION_PORT + (flow / PORTS) as u16).to_be_bytes();
        Ends {
            source: self.source.spread(flow) + self.block.wrapping_mul(u128::from(vtep)),
            destination: self.destination.spread(flow),
            ports: [a, b, c, d],
            vtep,
            vni: vni.unwrap_or(Vni::from_octets([0; 3])),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn flows(source: &str, destination: &str, vteps: u32, vnis: &[u32]) -> Result<Flows, String> {
        let vnis = vnis.iter().map(|n| Vni::new(*n).unwrap()).collect();
        Flows::new(source.parse().unwrap(), destination.parse().unwrap(), vteps, vnis)
    }

    #[test]
    fn flows_differ_and_stay_within_their_prefixes() {
        let f = flows("10.9.0.2/32", "10.244.0.0/22", 1, &[]).unwrap();
        let ends: Vec<_> = (0..200_000).map(|n| f.ends(n)).collect();
        assert_eq!(ends.iter().map(|e| e.ports).collect::<HashSet<_>>().len(), 200_000);
        let pods: HashSet<_> = ends.iter().map(|e| f.family().address(e.destination)).collect();
        assert_eq!(pods.len(), 1022);
        assert!(!pods.contains(&"10.244.0.0".parse().unwrap()) && !pods.contains(&"10.244.3.255".parse().unwrap()));
        assert!(ends.iter().all(|e| f.family().address(e.source) == "10.9.0.2".parse::<IpAddr>().unwrap()));
        let f = flows("0.0.0.0/0", "10.0.0.4/31", 1, &[]).unwrap();
        assert_eq!((0..9).map(|n| f.ends(n).destination as u8).collect::<HashSet<_>>(), HashSet::from([4, 5]));
    }

    #[test]
    fn ipv6_prefixes_of_any_length_have_hosts() {
        for (prefix, count) in [("::/0", u64::from(u32::MAX) - 1), ("fd00::/64", u64::from(u32::MAX) - 1)] {
            assert_eq!(Hosts::of(prefix.parse().unwrap()).count, count);
        }
        for (prefix, count) in [("fd00::4/128", 1), ("fd00::4/127", 2), ("fd00::/120", 254)] {
            assert_eq!(Hosts::of(prefix.parse().unwrap()).count, count);
        }
        let (f, wide) =
            (flows("fd00:9::/64", "fd00:244::/48", 1, &[]).unwrap(), "fd00:244::/48".parse::<Prefix>().unwrap());
        let pods: HashSet<_> = (0..100_000).map(|n| f.family().address(f.ends(n).destination)).collect();
        assert!(pods.len() == 100_000 && pods.iter().all(|p| wide.contains(*p)));
    }

    #[test]
    fn vteps_and_segments_take_turns_and_each_vtep_has_its_own_prefix() {
        let f = flows("10.244.1.0/24", "10.9.0.2/32", 3, &[7, 9]).unwrap();
        let seen: HashSet<_> = (0..600).map(|n| f.ends(n)).map(|e| (e.vtep, e.vni.get())).collect();
        assert_eq!(seen.len(), 6);
        for e in (0..600).map(|n| f.ends(n)) {
            let own: Prefix = format!("10.244.{}.0/24", 1 + e.vtep).parse().unwrap();
            assert!(own.contains(f.family().address(e.source)), "{e:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert!(flows("::/0", "10.0.0.0/8", 1, &[]).unwrap_err().contains("both be"));
        assert!(flows("255.255.0.0/16", "10.0.0.0/8", 2, &[]).unwrap_err().contains("--vteps 2"));
        assert!(flows("::/0", "::/0", 2, &[]).is_err() && flows("::/0", "::/0", 1, &[]).is_ok());
        assert!(flows("255.255.0.0/16", "10.0.0.0/8", 1, &[]).is_ok());
    }
}

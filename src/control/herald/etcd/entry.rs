//! Our entries in flannel's form: the key and the value that make every flanneld send a prefix to us.
//!
//! What flanneld makes of a key decides what can be said: an IPv4 prefix of 1 to 31 bits, or an IPv6 one of up to 127
//! (its reader takes numbers of 5 and 7 bits), inside the network or not. A key always has an IPv4 part. In a network
//! with IPv6 it has both, and with one of them missing a flanneld that joins ends itself while it looks for a free
//! subnet; so our entries there have both, one of which leads nowhere.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::json;

use crate::control::herald::OurEnd;
use crate::control::source::flannel::{FILLER_V4, FILLER_V6, Family, Half, Subnets};
use crate::wire::{Mac, Prefix};

/// Where no hosts are: IPv6's discard prefix (RFC 6666), and what IPv4 reserves (RFC 1112 §4).
const DISCARD: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0);
const CLASS_E: u32 = 0xf000_0000;

/// The form of our entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Form {
    end: OurEnd,
    half: Half,
    /// The network has IPv6, too.
    dual: bool,
}

/// Whose an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// Ours.
    Us,
    /// Another node's, as far as the entry says whose.
    Other(Option<IpAddr>),
}

impl Form {
    pub(super) fn new(end: OurEnd, dual: bool) -> Self {
        let half = Half { family: Family::of(end.vtep), vni: end.vni, udp_port: end.udp_port };
        Self { dual: dual || half.family == Family::V6, end, half }
    }

    /// The last part of the key for a prefix, or why it cannot be said.
    pub(super) fn key(&self, prefix: Prefix) -> Result<String, String> {
        let family = Family::of(prefix.addr());
        let widest = if family == Family::V4 { 31 } else { 127 };
        match prefix.addr() {
            _ if family != self.half.family => {
                Err(format!("{prefix}: nodes over {} take no {} prefixes", self.half.family.name(), family.name()))
            }
            _ if !(1..=widest).contains(&prefix.len()) => {
                Err(format!("{prefix}: flannel reads {} prefixes of 1 to {widest} bits", family.name()))
            }
            // its reader takes hexadecimal digits and colons, and would write this one with dots
            IpAddr::V6(addr) if addr.to_ipv4_mapped().is_some() => {
                Err(format!("{prefix}: flannel does not read IPv4-mapped addresses"))
            }
            IpAddr::V4(_) if !self.dual => Ok(part(prefix)),
            IpAddr::V4(addr) => Ok(format!("{}&{}", part(prefix), part(nowhere_v6(addr)))),
            IpAddr::V6(addr) => Ok(format!("{}&{}", part(nowhere_v4(addr)), part(prefix))),
        }
    }

    /// The value of every entry.
    pub(super) fn value(&self) -> Vec<u8> {
        let data = |mac: Mac| json!({"VNI": self.end.vni.get(), "VtepMAC": mac.to_string()});
        let ours = (self.end.vtep, data(self.end.mac));
        // not our own MAC: a node has one place for each, and would forget where our other half is
        let nobody = data(nobody(self.end.mac));
        let (v4, v6) = match self.half.family {
            Family::V4 => (ours, (FILLER_V6.into(), nobody)),
            Family::V6 => ((FILLER_V4.into(), nobody), ours),
        };
        let value = if self.dual {
            json!({"PublicIP": v4.0, "PublicIPv6": v6.0, "BackendType": "vxlan", "BackendData": v4.1, "BackendV6Data": v6.1})
        } else {
            json!({"PublicIP": v4.0, "PublicIPv6": null, "BackendType": "vxlan", "BackendData": v4.1})
        };
        value.to_string().into_bytes()
    }

    /// The prefix of our family that a key names, if any.
    pub(super) fn prefix(&self, key: &str) -> Option<Prefix> {
        Subnets::parse(key).ok()?.of(self.half.family)
    }

    /// Whose an entry is: ours has our address and our MAC.
    pub(super) fn holder(&self, key: &str, value: &[u8]) -> Holder {
        match self.half.lease(key, value) {
            Ok(node) if node.vtep == self.end.vtep && node.mac == self.end.mac => Holder::Us,
            Ok(node) => Holder::Other(Some(node.vtep)),
            Err(_) => Holder::Other(None),
        }
    }
}

/// A prefix as a part of a key.
fn part(prefix: Prefix) -> String {
    format!("{}-{}", prefix.addr(), prefix.len())
}

/// A prefix without hosts that goes with an IPv4 one: within IPv6's discard prefix, another for each.
fn nowhere_v6(with: Ipv4Addr) -> Prefix {
    let bits = DISCARD.to_bits() | u128::from(with.to_bits()) << 8;
    Prefix::host(Ipv6Addr::from_bits(bits).into()).widened(127)
}

/// A prefix without hosts that goes with an IPv6 one: within class E. Several may share one, which matters to nobody.
fn nowhere_v4(with: Ipv6Addr) -> Prefix {
    let [a, b, c, d] = [96, 64, 32, 0].map(|shift| (with.to_bits() >> shift) as u32);
    Prefix::host(Ipv4Addr::from_bits(CLASS_E | (a ^ b ^ c ^ d)).into()).widened(31)
}

/// A MAC that is not ours, nor of anybody.
fn nobody(Mac([first, rest @ ..]): Mac) -> Mac {
    let [a, b, c, d, e] = rest;
    // locally administered, of one station
    Mac([(first ^ 0x40) & 0xfc | 0x02, a, b, c, d, e])
}

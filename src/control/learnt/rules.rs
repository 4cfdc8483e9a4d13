//! What a source may say, whatever others say: ranges, families, forms.

use core::net::IpAddr;

use crate::control::source::{Claim, Fault, Refusal};
use crate::tables::OverlayId;
use crate::wire::Prefix;

/// Shorter prefixes are no pods' of their own accord: a default route that a source was talked into would take
/// everything. Whoever wants them says so by [`Rules::allow`].
const SHORTEST: (u8, u8) = (8, 16);

/// What a source may say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The overlay whose map it tells.
    pub overlay: OverlayId,
    /// Our VTEP address in it: what claims to be behind it is our own advertisement.
    pub local: IpAddr,
    /// Prefixes must lie in one of these; if there are none, in anything that is no shorter than /8 (IPv6: /16).
    pub allow: Vec<Prefix>,
    /// VTEP addresses must lie in one of these; if there are none, anywhere.
    pub vteps: Vec<Prefix>,
    /// Prefixes it may have in force.
    pub max_prefixes: usize,
    /// One object's prefix may lie within another's, as routes do; those of flannel's leases never do.
    pub nested: bool,
    /// Percent of its prefixes that may go within [`guard::WINDOW`](super::guard::WINDOW); 100 for all of them.
    pub withdraw_at_most: u8,
}

impl Rules {
    /// Is this our own advertisement, come back to us?
    pub(super) fn is_own(&self, claim: &Claim) -> bool {
        claim.vtep == self.local
    }

    /// Why a claim is not taken, whatever else is in force.
    pub(super) fn refuse(&self, claim: &Claim) -> Option<Fault> {
        let Claim { prefix, vtep, mac } = claim;
        let within = |ranges: &[Prefix], address: IpAddr, len: u8| {
            ranges.iter().any(|range| range.len() <= len && range.contains(address))
        };
        if vtep.is_ipv4() != self.local.is_ipv4() {
            let what = format!("VTEP {vtep} of {prefix} is not of the family of the overlay's `local` {}", self.local);
            return Some(Fault::new(Refusal::NoFamily, what));
        }
        if !is_somebodys(vtep) {
            return Some(Fault::new(Refusal::ForeignVtep, format!("VTEP {vtep} of {prefix} is no host's address")));
        }
        if !self.vteps.is_empty() && !within(&self.vteps, *vtep, u8::MAX) {
            let what = format!("VTEP {vtep} of {prefix} is in none of `vteps`: {}", list(&self.vteps));
            return Some(Fault::new(Refusal::ForeignVtep, what));
        }
        if !mac.is_station() {
            return Some(Fault::new(Refusal::Malformed, format!("VTEP MAC {mac} of {prefix} is no station's address")));
        }
        let shortest = if prefix.addr().is_ipv4() { SHORTEST.0 } else { SHORTEST.1 };
        match self.allow.is_empty() {
            true if prefix.len() < shortest => {
                let what = format!("{prefix} is shorter than /{shortest}; if it is meant, name it in `allow`");
                Some(Fault::new(Refusal::ForeignPrefix, what))
            }
            true if prefix.addr().is_multicast() || prefix.addr().is_loopback() => {
                Some(Fault::new(Refusal::ForeignPrefix, format!("{prefix} is no unicast prefix")))
            }
            false if !within(&self.allow, prefix.addr(), prefix.len()) => {
                let what = format!("{prefix} is in none of `allow`: {}", list(&self.allow));
                Some(Fault::new(Refusal::ForeignPrefix, what))
            }
            _ => None,
        }
    }
}

fn is_somebodys(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(a) if a.is_broadcast());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast)
}

fn list(prefixes: &[Prefix]) -> String {
    prefixes.iter().map(Prefix::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::Mac;

    pub(in super::super) fn rules() -> Rules {
        Rules {
            overlay: OverlayId(0),
            local: [192, 0, 2, 1].into(),
            allow: Vec::new(),
            vteps: Vec::new(),
            max_prefixes: 1000,
            nested: false,
            withdraw_at_most: 50,
        }
    }

    fn claim(prefix: &str, vtep: &str) -> Claim {
        Claim { prefix: prefix.parse().unwrap(), vtep: vtep.parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, 9]) }
    }

    #[test]
    fn what_is_refused_has_a_name_and_says_what_would_be_right() {
        let open = rules();
        let narrow = Rules {
            allow: vec!["10.244.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()],
            vteps: vec!["192.0.2.0/24".parse().unwrap()],
            ..rules()
        };
        let why = |rules: &Rules, prefix, vtep| rules.refuse(&claim(prefix, vtep)).map(|f| (f.refusal, f.what));
        assert_eq!(why(&open, "10.244.1.0/24", "192.0.2.11"), None);
        assert_eq!(why(&narrow, "10.244.1.0/24", "192.0.2.11"), None);
        assert_eq!(why(&narrow, "fd00:1::/64", "192.0.2.11"), None);
        for (rules, prefix, vtep, refusal, says) in [
            (&open, "10.244.1.0/24", "2001:db8::1", Refusal::NoFamily, "192.0.2.1"),
            (&open, "10.244.1.0/24", "127.0.0.1", Refusal::ForeignVtep, "127.0.0.1"),
            (&open, "10.244.1.0/24", "224.0.0.1", Refusal::ForeignVtep, "no host"),
            (&open, "10.244.1.0/24", "255.255.255.255", Refusal::ForeignVtep, "no host"),
            (&open, "0.0.0.0/0", "192.0.2.11", Refusal::ForeignPrefix, "`allow`"),
            (&open, "fc00::/7", "192.0.2.11", Refusal::ForeignPrefix, "/16"),
            (&open, "239.0.0.0/24", "192.0.2.11", Refusal::ForeignPrefix, "unicast"),
            (&narrow, "10.245.1.0/24", "192.0.2.11", Refusal::ForeignPrefix, "10.244.0.0/16, fd00::/8"),
            (&narrow, "10.0.0.0/8", "192.0.2.11", Refusal::ForeignPrefix, "10.0.0.0/8"),
            (&narrow, "10.244.1.0/24", "192.0.3.11", Refusal::ForeignVtep, "192.0.2.0/24"),
        ] {
            let (found, what) = why(rules, prefix, vtep).unwrap_or_else(|| panic!("{prefix} {vtep} is taken"));
            assert_eq!(found, refusal, "{prefix} {vtep}");
            assert!(what.contains(says), "{what}");
        }
        let nobody = Claim { mac: Mac::ZERO, ..claim("10.244.1.0/24", "192.0.2.11") };
        assert_eq!(open.refuse(&nobody).unwrap().refusal, Refusal::Malformed);
        assert!(open.is_own(&claim("10.245.0.0/16", "192.0.2.1")));
    }
}

//! Addresses that the gateway itself has somewhere.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// At most one address of each family: those from which the gateway answers and reports errors.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Addresses {
    /// Towards IPv4 senders.
    pub v4: Option<Ipv4Addr>,
    /// Towards IPv6 senders.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// These, and another one; one of its family that was there gives way.
    #[must_use]
    pub const fn with(mut self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self.v4 = Some(a),
            IpAddr::V6(a) => self.v6 = Some(a),
        }
        self
    }

    /// The one of the same family as `other`.
    pub fn like(&self, other: IpAddr) -> Option<IpAddr> {
        if other.is_ipv4() { self.v4.map(IpAddr::V4) } else { self.v6.map(IpAddr::V6) }
    }

    /// Is this one of them?
    pub fn contains(&self, address: IpAddr) -> bool {
        self.like(address) == Some(address)
    }

    /// All there are, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().fold(Self::default(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_of_each_family() {
        let [a, b, c]: [IpAddr; 3] = ["10.0.0.1", "10.0.0.2", "fd00::1"].map(|a| a.parse().unwrap());
        let all: Addresses = [a, c, b].into_iter().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), [b, c]);
        assert_eq!((all.like(a), all.like(c), Addresses::default().like(a)), (Some(b), Some(c), None));
        assert!(all.contains(b) && !all.contains(a) && !all.is_empty() && Addresses::default().is_empty());
    }
}

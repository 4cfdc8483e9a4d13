//! What the tables say of IPv6 addresses, by way of the cache.

use core::net::{IpAddr, Ipv6Addr};

use super::Path;
use super::parse::is_forwardable;
use crate::tables::{Domain, OverlayId, Packed, PeerId};

impl Path<'_> {
    /// As [`Path::route`].
    #[inline]
    pub(super) fn route_v6(&mut self, domain: Domain, addr: Ipv6Addr) -> Packed {
        let known = self.memory.cache.get_v6(domain, addr);
        if !known.is_none() {
            return known;
        }
        let advice = self.tables.lookup(domain, addr.into()).into();
        self.remember_v6(domain, addr, advice);
        advice
    }

    /// As [`Path::sender`].
    #[inline]
    pub(super) fn sender_v6(
        &mut self,
        domain: Domain,
        src: Ipv6Addr,
        overlay: OverlayId,
        outer_src: IpAddr,
    ) -> Option<PeerId> {
        let cached = self.memory.cache.get_v6(domain, src);
        let advice = if cached.is_none() { self.tables.lookup(domain, src.into()).into() } else { cached };
        let id = self.tables.sender_of(advice, overlay, outer_src)?;
        if cached.is_none() {
            self.remember_v6(domain, src, advice);
        }
        Some(id)
    }

    /// Lets the cache know a way that packets may be forwarded by.
    fn remember_v6(&mut self, domain: Domain, addr: Ipv6Addr, advice: Packed) {
        if is_forwardable(addr.into()) && !advice.is_barred() {
            self.memory.cache.put_v6(domain, addr, advice);
        }
    }
}

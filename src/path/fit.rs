//! Packets are made to fit the tunnels: the segment size that TCP connections begin with, and IPv4 packets that may be
//! fragmented. Both are a matter of configuration, overlay by overlay.

use super::forward::{Onward, Outlet, age};
use super::parse::Ip;
use super::{Origin, Path, Verdict};
use crate::drops::DropReason;
use crate::tables::{Fit, Peer};
use crate::wire::fragment::{Fragment, Fragments};
use crate::wire::ipv4::protocol;
use crate::wire::{IpHeader, Packet, ipv4, ipv6, tcp};

/// How a packet is to be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    origin: Origin,
    to: Outlet,
    mtu: u16,
}

impl Path<'_> {
    /// Lowers the segment size that a SYN announces to what fits the tunnels it comes from and goes to: its receiver's
    /// segments come back by the former, and the sender's own MTU need not be that of the latter.
    #[inline]
    pub(super) fn clamp(&mut self, origin: Origin, to: Option<&Peer>, ip: &mut Ip, pkt: &mut Packet<'_>) {
        if self.tables.clamps() && ip.protocol == protocol::TCP && !ip.fragment {
            self.clamp_tcp(origin, to, ip, pkt);
        }
    }

    #[cold]
    fn clamp_tcp(&mut self, origin: Origin, to: Option<&Peer>, ip: &mut Ip, pkt: &mut Packet<'_>) {
        let from = match origin {
            Origin::Overlay { peer, .. } => self.tables.peer(peer),
            Origin::Access { .. } => None,
        };
        let clamps = |peer: &&Peer| self.tables.overlay(peer.overlay).is_some_and(|overlay| overlay.fit.mss_clamp);
        let tunnels = from.into_iter().chain(to).filter(clamps);
        let Some(mtu) = tunnels.filter_map(|peer| peer.way.as_ref()).map(|way| way.mtu).min() else { return };
        // RFC 9293 §3.7.1: without the headers as they are without options
        let headers = if ip.src.is_ipv4() { ipv4::LEN } else { ipv6::LEN } + tcp::LEN;
        let limit = mtu.saturating_sub(headers as u16);
        // what is changed incrementally has to be there
        if tcp::is_syn(pkt.bytes().get(ip.payload()).unwrap_or_default()) {
            self.finish_here(ip, pkt);
        }
        let segment = pkt.bytes_mut().get_mut(ip.payload()).unwrap_or_default();
        self.memory.mss_clamped += u64::from(tcp::clamp_mss(segment, limit));
    }

    /// Decides that the IP packet that `pkt` holds, and which is too big to go on, goes on in pieces; `None` if it shall
    /// not.
    #[cold]
    pub(super) fn cut(&mut self, origin: Origin, onward: Onward, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let may_be = IpHeader::of(pkt.bytes_mut()).is_some_and(|header| header.may_be_fragmented());
        if !may_be || !self.fit(origin, onward.to).fragment {
            return None;
        }
        Fragments::of(pkt.bytes(), onward.mtu)?;
        age(pkt);
        self.memory.cut = Some(Cut { origin, to: onward.to, mtu: onward.mtu });
        Some(Verdict::Split(onward.port, onward.journey))
    }

    /// What the overlay of a tunnel wants; of two tunnels, the one that a packet goes into.
    fn fit(&self, origin: Origin, to: Outlet) -> Fit {
        let overlay = match (to, origin) {
            (Outlet::Peer(id), _) => self.tables.peer(id).map(|peer| peer.overlay),
            (Outlet::Hop(_), Origin::Overlay { overlay, .. }) => Some(overlay),
            (Outlet::Hop(_), Origin::Access { .. }) => None,
        };
        overlay.and_then(|id| self.tables.overlay(id)).map_or(Fit::default(), |overlay| overlay.fit)
    }

    /// The pieces of the packet about which [`Verdict::Split`] was said last, which `pkt` holds.
    #[cold]
    pub fn fragments(&self, pkt: &Packet<'_>) -> Option<Fragments> {
        Fragments::of(pkt.bytes(), self.memory.cut?.mtu)
    }

    /// Writes one of these pieces of `whole` to `pkt`, which is empty, with all headers that it needs.
    ///
    /// # Errors
    /// [`DropReason::NoHeadroom`] if the chunk has no room for it.
    #[cold]
    pub fn write_fragment(
        &self,
        fragment: &Fragment,
        whole: &Packet<'_>,
        pkt: &mut Packet<'_>,
    ) -> Result<(), DropReason> {
        let cut = self.memory.cut.ok_or(DropReason::TooBig)?;
        let payload = whole.bytes().get(fragment.payload.clone()).unwrap_or_default();
        pkt.fill(&[fragment.header(), payload]).map_err(|_| DropReason::NoHeadroom)?;
        // no piece has ports for its flow: all leave with the same outer source port
        self.dress(cut.origin, cut.to, None, pkt)
    }
}

//! Is a message about a packet that we can have sent?
//!
//! Whoever can forge a sender's address can claim that our packets are too big, and so make a path slow for ten minutes.
//! So a claim counts only with a quote that proves more than the two VTEP addresses, which are no secret: VNI and both
//! inner MAC addresses, and if the quote goes on, the ports of the inner flow, of which the outer source port must be the
//! hash (RFC 5927 §7 and RFC 8899 §4.6.1 ask for such checks of whoever can make them).
//!
//! A quote of 8 bytes behind the IP header, all that RFC 792 demands, proves nothing: the only thing in it that is not
//! public is a source port of 14 bits. It is not believed, and counted by its own name. RFC 1812 §4.3.2.3 (1995) has
//! routers quote as much as fits into 576 bytes, RFC 4443 into 1,280; where a router on the way does not, the MTU of
//! the overlay has to be configured.

use super::super::Target;
use super::super::keeper::HopKey;
use crate::tables::Overlay;
use crate::wire::Mac;
use crate::wire::flow::FIRST_PORT;
use crate::wire::quote::{Inside, Quote, Unreadable};

/// Why a message changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Ignored {
    /// It ends early or contradicts itself.
    Malformed,
    /// Its checksum is wrong.
    Checksum,
    /// It is about a packet that no VTEP of ours sent to a peer: the host's own traffic, or a forgery.
    NotOurs,
    /// The quoted UDP ports are not those of a packet to that peer.
    Port,
    /// Too little of the packet is quoted to tell whose it was.
    ShortQuote,
    /// The quoted VNI is not that of an overlay in which the peer is.
    Vni,
    /// The quoted inner MAC addresses are not ours and the peer's.
    Mac,
    /// The quoted inner packet's flow has another source port.
    Flow,
    /// The quoted packet is not larger than the MTU claimed: it cannot have been too big.
    Fits,
    /// The MTU claimed is one that no link has over which a tunnel can lead.
    BelowMinimum,
    /// The path's MTU is no larger already.
    NotLower,
    /// The path has been lowered often enough of late.
    Rate,
}

impl Ignored {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Checksum,
        Self::NotOurs,
        Self::Port,
        Self::ShortQuote,
        Self::Vni,
        Self::Mac,
        Self::Flow,
        Self::Fits,
        Self::BelowMinimum,
        Self::NotLower,
        Self::Rate,
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::NotOurs => "not_ours",
            Self::Port => "udp_port",
            Self::ShortQuote => "short_quote",
            Self::Vni => "vni",
            Self::Mac => "inner_mac",
            Self::Flow => "inner_flow",
            Self::Fits => "fits",
            Self::BelowMinimum => "below_minimum",
            Self::NotLower => "not_lower",
            Self::Rate => "rate",
        }
    }
}

impl From<Unreadable> for Ignored {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Malformed => Self::Malformed,
            Unreadable::Checksum => Self::Checksum,
            Unreadable::Foreign => Self::NotOurs,
        }
    }
}

/// The path that a packet took.
pub(in super::super) fn path_of(quote: &Quote<'_>) -> HopKey {
    HopKey::Routed { dst: quote.dst, from: quote.src }
}

/// Can we have sent a packet of which this is the front, given the targets on its [path](path_of) and all overlays?
///
/// # Errors
/// What speaks against it first, in the order of the headers.
pub(in super::super) fn judge(quote: &Quote<'_>, targets: &[Target], overlays: &[Overlay]) -> Result<(), Ignored> {
    let peers = || targets.iter().filter_map(|target| peer(target, overlays));
    if peers().next().is_none() {
        return Err(Ignored::NotOurs);
    }
    let to_port = |overlay: &Overlay| overlay.udp_port == quote.dst_port;
    if quote.src_port < FIRST_PORT || !peers().any(|(overlay, _)| to_port(overlay)) {
        return Err(Ignored::Port);
    }
    let inside = quote.inside().ok_or(Ignored::ShortQuote)?;
    let in_segment = |overlay: &Overlay| to_port(overlay) && inside.vxlan.vni() == Some(overlay.vni);
    if !peers().any(|(overlay, _)| in_segment(overlay)) {
        return Err(Ignored::Vni);
    }
    let ends = (inside.link.src, inside.link.dst);
    if !peers().any(|(overlay, mac)| in_segment(overlay) && ends == (overlay.mac, mac)) {
        return Err(Ignored::Mac);
    }
    if has_flow_of(&inside, quote.src_port) { Ok(()) } else { Err(Ignored::Flow) }
}

/// The overlay and the VTEP MAC of a target, if it is a peer.
fn peer<'a>(target: &Target, overlays: &'a [Overlay]) -> Option<(&'a Overlay, Mac)> {
    match *target {
        Target::Vtep { overlay, mac, .. } => Some((overlays.get(usize::from(overlay.0))?, mac)),
        Target::Native { .. } => None,
    }
}

fn has_flow_of(inside: &Inside<'_>, port: u16) -> bool {
    inside.is_ip() && inside.source_port().is_none_or(|own| own == port)
}

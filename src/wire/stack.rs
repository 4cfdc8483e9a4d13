//! The front of a frame as nearly all frames have it: no options, no tags, every header at its usual place.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ipv4::{self, protocol};
use super::vxlan::OVERHEAD_V4;
use super::{Ipv4, OuterV4, eth};

/// All headers up to the inner IP header. A plain frame begins at `outer.inner`; what lies before is room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct StackV4 {
    /// Everything in front of the inner IP packet.
    pub outer: OuterV4,
    /// The inner IP header.
    pub ip: Ipv4,
}

/// Bytes of [`StackV4`].
pub const LEN: usize = size_of::<StackV4>();

const IPV4: U16 = U16::from_bytes(eth::IPV4.to_be_bytes());

impl StackV4 {
    /// Is this a VXLAN frame of `len` bytes with a plain IP packet in it? Then its lengths agree with each other and both
    /// IP headers are whole. (The inner EtherType is left to whoever looks at the inner addresses.)
    #[inline(always)]
    pub fn is_vxlan(&self, len: usize) -> bool {
        let (h, outer, inner) = (&self.outer, self.outer.ip.words(), self.ip.words());
        let total = outer.total_len();
        h.eth.ethertype == IPV4
            && outer.is_plain()
            && inner.is_plain()
            && outer.protocol() == protocol::UDP
            && !outer.is_fragment()
            && usize::from(total) + eth::LEN <= len
            && usize::from(h.udp.len.get()) + ipv4::LEN == usize::from(total)
            && u32::from(inner.total_len()) + u32::from(OVERHEAD_V4) <= u32::from(total)
            && h.vxlan.has_vni()
    }

    /// Is this a plain frame of `len` bytes with a plain IP packet in it? (The EtherType is left to whoever looks at the
    /// addresses.)
    #[inline(always)]
    pub fn is_plain(&self, len: usize) -> bool {
        let ip = self.ip.words();
        ip.is_plain() && usize::from(ip.total_len()) + eth::LEN <= len
    }
}

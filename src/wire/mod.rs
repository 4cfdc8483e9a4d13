//! Floor 0: how headers lie on the wire, checksums, addresses. No IO and no state.

pub mod addr;
pub mod packet;

pub use addr::{AddrError, Mac, Mtu, Prefix, Vni};
pub use packet::{NoHeadroom, Packet, Span, TooShort};

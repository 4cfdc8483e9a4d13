//! Where the kernel's VTEP is known to do otherwise than the RFCs say: the last column of the conformance table.
//!
//! Rows 4, 5 and 14 differ in what is sent, which a packet that leaves a tunnel does not show; over IPv6 both drop a
//! checksum of zero (row 6). Where the column says "same" or nothing, there must be no difference.

use std::net::IpAddr;

use super::draft::{Draft, MF};

/// How they differ about a packet: one lets it pass and the other does not, or what comes out is not the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Difference {
    KernelPasses,
    GatewayPasses,
    Bytes,
}

/// The row of the table that explains a difference.
pub(crate) fn row(draft: &Draft, difference: Difference, peers: &[IpAddr]) -> Option<u8> {
    use Difference::*;
    let [flags, a, b, c, _, _, _, last] = draft.vxlan;
    let reserved = flags & !0x08 != 0 || [a, b, c, last] != [0; 4];
    let offset = draft.outer.fragment & 0x1fff;
    let fragment = draft.split.is_some() || draft.outer.fragment & MF != 0 || offset != 0;
    let source = draft.inner_link.1;
    // Linux looks for the inner ECN field behind an untagged Ethernet header only: packets behind a priority tag lose
    // the marks of the tunnel, or are not dropped when they should be.
    let hidden = !draft.tags.is_empty() && draft.outer.tos & 3 != 0;
    match difference {
        GatewayPasses if reserved => Some(2),
        KernelPasses if fragment => Some(7),
        KernelPasses if !peers.contains(&draft.outer.src) => Some(11),
        KernelPasses if source == [0; 6] || source[0] & 1 != 0 => Some(12),
        KernelPasses | Bytes if hidden => Some(13),
        _ => None,
    }
}

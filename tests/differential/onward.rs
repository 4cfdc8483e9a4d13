//! What of a VXLAN packet must be the same whichever VTEP sends it.

/// Ethernet header.
const ETH: usize = 14;
/// UDP header, VXLAN header.
const UDP_VXLAN: usize = 16;

/// A VXLAN packet's link header, then what is fixed of the outer headers, then the inner frame as [`inner`] finds it.
/// `None` for other packets.
///
/// A VTEP chooses its outer source port, checksum and IPv6 flow label (rows 4 to 6 of the conformance table), and IPv4's
/// identification and DF (row 7: we never let it be fragmented). Linux shows congestion met before the tunnel as ECT(0)
/// (row 14), so that mark is left out where the inner packet has it.
pub(crate) fn fixed(frame: &[u8]) -> Option<Vec<u8>> {
    let ip = frame.get(ETH..)?;
    // header length, TOS or traffic class, protocol and TTL or hop limit, addresses
    let (length, tos, upper, addresses) = match ip.first()? >> 4 {
        4 => (20, *ip.get(1)?, [*ip.get(9)?, *ip.get(8)?], ip.get(12..20)?),
        6 => (40, ip.first()? << 4 | ip.get(1)? >> 4, [*ip.get(6)?, *ip.get(7)?], ip.get(8..40)?),
        _ => return None,
    };
    let udp = ip.get(length..length + UDP_VXLAN)?;
    let inner = ip.get(length + UDP_VXLAN..)?;
    let inner_ip = inner.get(ETH..)?;
    let inner_tos = match inner_ip.first()? >> 4 {
        4 => *inner_ip.get(1)?,
        _ => inner_ip.first()? << 4 | inner_ip.get(1)? >> 4,
    };
    let shown = if inner_tos & 3 == 3 { tos & !3 } else { tos };
    let head = [&frame[..ETH], addresses, &upper, &[shown], &udp[2..6], &udp[8..]].concat();
    (upper[0] == 17).then(|| [&[head.len() as u8], &head[..], inner].concat())
}

/// The inner frame of what [`fixed`] has made.
pub(crate) fn inner(fixed: &[u8]) -> &[u8] {
    &fixed[1 + usize::from(fixed[0])..]
}

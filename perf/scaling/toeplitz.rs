//! The hash by which NICs spread packets over queues (receive-side scaling).

/// The key of Microsoft's specification, which many drivers use as it is.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b,
    0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb3, 0x7b, 0xbe, 0xac,
    0x01, 0xfa,
];

/// The Toeplitz hash: for every bit of the input that is set, the 32 bits of the key that begin there.
pub(crate) fn hash(input: &[u8]) -> u32 {
    let mut window = u64::from_be_bytes([KEY[0], KEY[1], KEY[2], KEY[3], KEY[4], KEY[5], KEY[6], KEY[7]]);
    let (mut next, mut hash) = (8, 0);
    for byte in input {
        for bit in (0..8).rev() {
            if byte >> bit & 1 == 1 {
                hash ^= (window >> 32) as u32;
            }
            window <<= 1;
        }
        window |= u64::from(KEY.get(next).copied().unwrap_or_default());
        next += 1;
    }
    hash
}

/// What a NIC hashes of a packet: source, destination, and the ports where it is told to.
pub(crate) fn input(src: [u8; 4], dst: [u8; 4], ports: Option<(u16, u16)>) -> Vec<u8> {
    let mut input = [src, dst].concat();
    if let Some((src, dst)) = ports {
        input.extend([src.to_be_bytes(), dst.to_be_bytes()].concat());
    }
    input
}

/// Destination, source, their ports, hash of the addresses, hash with the ports: the vectors of "Verifying the RSS hash
/// calculation" in Microsoft's network driver documentation, for IPv4.
type Vector = ([u8; 4], [u8; 4], (u16, u16), u32, u32);
const VECTORS: [Vector; 5] = [
    ([161, 142, 100, 80], [66, 9, 149, 187], (1766, 2794), 0x323e_8fc2, 0x51cc_c178),
    ([65, 69, 140, 83], [199, 92, 111, 2], (4739, 14230), 0xd718_262a, 0xc626_b0ea),
    ([12, 22, 207, 184], [24, 19, 198, 95], (38024, 12898), 0xd2d0_a5de, 0x5c2b_394a),
    ([209, 142, 163, 6], [38, 27, 205, 30], (2217, 48228), 0x8298_9176, 0xafc7_327f),
    ([202, 188, 127, 2], [153, 39, 163, 191], (1303, 44251), 0x5d18_09c5, 0x10e8_28a2),
];

/// Panics if [`hash`] is not the hash NICs compute.
pub(crate) fn verify() {
    for (dst, src, (dst_port, src_port), addresses, with_ports) in VECTORS {
        assert_eq!(hash(&input(src, dst, None)), addresses, "{src:?} to {dst:?}");
        assert_eq!(hash(&input(src, dst, Some((src_port, dst_port)))), with_ports, "{src:?} to {dst:?}, with ports");
    }
}

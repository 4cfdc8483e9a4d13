//! What a driver says it can do with XDP, by the `netdev` family of generic netlink (linux/netdev.h, since 6.3).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink;

use super::netlink::{Request, attribute, open};

const CTRL_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_DEV_GET: u8 = 1;
const NETDEV_ATTR_IFINDEX: u16 = 1;
const NETDEV_ATTR_XDP_FEATURES: u16 = 3;
const NETDEV_ATTR_XDP_ZC_MAX_SEGS: u16 = 4;
const NETDEV_ATTR_XSK_FEATURES: u16 = 6;
/// `NETDEV_XSK_FLAGS_TX_CHECKSUM`.
const XSK_TX_CHECKSUM: u64 = 2;

/// What the driver says it can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures {
    /// Native XDP: abort, drop, pass, send back.
    pub basic: bool,
    /// Redirecting.
    pub redirect: bool,
    /// Being redirected to.
    pub ndo_xmit: bool,
    /// Zero-copy AF_XDP sockets.
    pub zero_copy: bool,
    /// Offload of the program to the device.
    pub hardware: bool,
    /// Packets in several buffers, received.
    pub rx_sg: bool,
    /// Packets in several buffers, redirected to.
    pub ndo_xmit_sg: bool,
    /// The most buffers of a packet that a zero-copy socket sends; 0 where the driver does not say.
    pub zero_copy_segments: u32,
    /// Zero-copy sockets may leave checksums to the device.
    pub tx_checksum: bool,
}

impl XdpFeatures {
    fn from_bits(bits: u64) -> Self {
        let has = |number: u32| bits >> number & 1 == 1;
        Self {
            basic: has(0),
            redirect: has(1),
            ndo_xmit: has(2),
            zero_copy: has(3),
            hardware: has(4),
            rx_sg: has(5),
            ndo_xmit_sg: has(6),
            zero_copy_segments: 0,
            tx_checksum: false,
        }
    }
}

/// Asks the driver of interface `ifindex`. Nothing is attached for it.
///
/// # Errors
/// ENOENT before Linux 6.3: only attaching tells there. ENODEV for no such interface.
pub fn xdp_features(ifindex: u32) -> io::Result<XdpFeatures> {
    let socket = open(Some(netlink::GENERIC))?;
    let answer = ask(&socket, libc::GENL_ID_CTRL as u16, CTRL_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")?;
    let family = attribute(&answer, CTRL_ATTR_FAMILY_ID).and_then(|v| Some(u16::from_ne_bytes(*v.first_chunk()?)));
    let family = family.ok_or(io::ErrorKind::InvalidData)?;
    let answer = ask(&socket, family, NETDEV_DEV_GET, NETDEV_ATTR_IFINDEX, &ifindex.to_ne_bytes())?;
    let bits = attribute(&answer, NETDEV_ATTR_XDP_FEATURES).and_then(|v| Some(u64::from_ne_bytes(*v.first_chunk()?)));
    let segments =
        attribute(&answer, NETDEV_ATTR_XDP_ZC_MAX_SEGS).and_then(|v| Some(u32::from_ne_bytes(*v.first_chunk()?)));
    let xsk = attribute(&answer, NETDEV_ATTR_XSK_FEATURES).and_then(|v| Some(u64::from_ne_bytes(*v.first_chunk()?)));
    let features = XdpFeatures::from_bits(bits.ok_or(io::ErrorKind::InvalidData)?);
    Ok(XdpFeatures {
        zero_copy_segments: segments.unwrap_or(0),
        tx_checksum: xsk.is_some_and(|bits| bits & XSK_TX_CHECKSUM != 0),
        ..features
    })
}

/// One request with one attribute; the answer's attributes.
fn ask(socket: &OwnedFd, family: u16, command: u8, attribute: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    Request { kind: family, header: &[command, 1, 0, 0], attribute: Some((attribute, value)) }.ask(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_answers_or_says_why_not() {
        match xdp_features(1) {
            Ok(lo) => assert!(!lo.zero_copy),
            Err(e) => assert!(e.raw_os_error().is_some(), "{e}"),
        }
    }
}

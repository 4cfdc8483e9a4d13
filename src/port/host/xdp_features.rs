//! What a driver says it can do with XDP, by the `netdev` family of generic netlink (linux/netdev.h, since 6.3).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

const CTRL_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_DEV_GET: u8 = 1;
const NETDEV_ATTR_IFINDEX: u16 = 1;
const NETDEV_ATTR_XDP_FEATURES: u16 = 3;
const NETDEV_ATTR_XDP_ZC_MAX_SEGS: u16 = 4;
const NLMSG_HEADERS: usize = 16 + 4;

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
        }
    }
}

/// Asks the driver of interface `ifindex`. Nothing is attached for it.
///
/// # Errors
/// ENOENT before Linux 6.3: only attaching tells there. ENODEV for no such interface.
pub fn xdp_features(ifindex: u32) -> io::Result<XdpFeatures> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::GENERIC))?;
    let answer = ask(&socket, libc::GENL_ID_CTRL as u16, CTRL_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")?;
    let family = attribute(&answer, CTRL_ATTR_FAMILY_ID).and_then(|v| Some(u16::from_ne_bytes(*v.first_chunk()?)));
    let family = family.ok_or(io::ErrorKind::InvalidData)?;
    let answer = ask(&socket, family, NETDEV_DEV_GET, NETDEV_ATTR_IFINDEX, &ifindex.to_ne_bytes())?;
    let bits = attribute(&answer, NETDEV_ATTR_XDP_FEATURES).and_then(|v| Some(u64::from_ne_bytes(*v.first_chunk()?)));
    let segments =
        attribute(&answer, NETDEV_ATTR_XDP_ZC_MAX_SEGS).and_then(|v| Some(u32::from_ne_bytes(*v.first_chunk()?)));
    let features = XdpFeatures::from_bits(bits.ok_or(io::ErrorKind::InvalidData)?);
    Ok(XdpFeatures { zero_copy_segments: segments.unwrap_or(0), ..features })
}

/// One request with one attribute; the answer's attributes.
fn ask(socket: &OwnedFd, family: u16, command: u8, attribute: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let attribute_len = 4 + value.len();
    let len = NLMSG_HEADERS + attribute_len.next_multiple_of(4);
    let mut request = Vec::with_capacity(len);
    request.extend_from_slice(&(len as u32).to_ne_bytes());
    request.extend_from_slice(&family.to_ne_bytes());
    request.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // sequence, port
    request.extend_from_slice(&[command, 1, 0, 0]);
    request.extend_from_slice(&(attribute_len as u16).to_ne_bytes());
    request.extend_from_slice(&attribute.to_ne_bytes());
    request.extend_from_slice(value);
    request.resize(len, 0);
    send(socket, &request, SendFlags::empty())?;
    let mut answer = vec![0; 16 << 10];
    let (got, _) = recv(socket, answer.as_mut_slice(), RecvFlags::empty())?;
    answer.truncate(got);
    parse(&answer)
}

/// The attributes of the first message in `answer`, or the error it is.
fn parse(answer: &[u8]) -> io::Result<Vec<u8>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let len = u32::from_ne_bytes(*answer.first_chunk().ok_or_else(short)?) as usize;
    let kind = answer.get(4..).and_then(|a| a.first_chunk()).map(|k| u16::from_ne_bytes(*k)).ok_or_else(short)?;
    if kind == libc::NLMSG_ERROR as u16 {
        let errno = answer.get(16..).and_then(|a| a.first_chunk()).map(|e| i32::from_ne_bytes(*e)).ok_or_else(short)?;
        return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
    }
    Ok(answer.get(NLMSG_HEADERS..len).ok_or_else(short)?.to_vec())
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let (len, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        let value = attributes.get(4..len)?;
        if kind & 0x3fff == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_short_ones_are_not() {
        let bytes = [6, 0, 1, 0, 9, 9, 0, 0, 8, 0, 2, 0, 1, 2, 3, 4];
        assert_eq!(attribute(&bytes, 1), Some(&[9u8, 9][..]));
        assert_eq!(attribute(&bytes, 2), Some(&[1u8, 2, 3, 4][..]));
        assert_eq!(attribute(&bytes, 3), None);
        for n in 0..bytes.len() {
            assert_eq!(attribute(&bytes[..n], 2), None);
        }
        assert_eq!(attribute(&[0, 0, 0, 0], 1), None);
    }

    #[test]
    fn errors_are_told() {
        let mut message = vec![0; 20];
        message[0] = 20;
        message[4] = 2;
        message[16..].copy_from_slice(&(-libc::ENODEV).to_ne_bytes());
        assert_eq!(parse(&message).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        for n in 0..20 {
            assert!(parse(&message[..n]).is_err());
        }
    }

    #[test]
    fn this_kernel_answers_or_says_why_not() {
        match xdp_features(1) {
            Ok(lo) => assert!(!lo.zero_copy),
            Err(e) => assert!(e.raw_os_error().is_some(), "{e}"),
        }
    }
}

//! As much of netlink(7) as one question with one answer takes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The longest answer: attributes of a link can be a few KiB.
const ANSWER: usize = 32 << 10;
/// Bits of an attribute's type that are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`) left out.
const TYPE: u16 = 0x3fff;

/// A socket to ask by; without a protocol rtnetlink's.
pub(super) fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

/// What is asked.
pub(super) struct Request<'a> {
    /// Type of the message.
    pub(super) kind: u16,
    /// The fixed part behind the message's header, which the answer has as well: a multiple of 4 bytes.
    pub(super) header: &'a [u8],
    /// Type and value.
    pub(super) attribute: Option<(u16, &'a [u8])>,
}

impl Request<'_> {
    /// Asks; the answer's attributes.
    pub(super) fn ask(&self, socket: &OwnedFd) -> io::Result<Vec<u8>> {
        send(socket, &self.bytes(), SendFlags::empty())?;
        let mut answer = vec![0; ANSWER];
        let (got, _) = recv(socket, answer.as_mut_slice(), RecvFlags::empty())?;
        answer.truncate(got);
        parse(&answer, self.header.len())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut rest = self.header.to_vec();
        if let Some((attribute, value)) = self.attribute {
            rest.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
            rest.extend_from_slice(&attribute.to_ne_bytes());
            rest.extend_from_slice(value);
            rest.resize(rest.len().next_multiple_of(4), 0);
        }
        let mut request = ((HEADER + rest.len()) as u32).to_ne_bytes().to_vec();
        request.extend_from_slice(&self.kind.to_ne_bytes());
        request.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
        request.extend_from_slice(&[0; 8]); // sequence, port
        request.extend(rest);
        request
    }
}

/// The attributes of the first message in `answer` behind its fixed part, or the error it is.
fn parse(answer: &[u8], fixed: usize) -> io::Result<Vec<u8>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let len = u32::from_ne_bytes(*answer.first_chunk().ok_or_else(short)?) as usize;
    let kind = answer.get(4..).and_then(|a| a.first_chunk()).map(|k| u16::from_ne_bytes(*k)).ok_or_else(short)?;
    if kind == libc::NLMSG_ERROR as u16 {
        let errno = answer.get(HEADER..).and_then(|a| a.first_chunk());
        let errno = errno.map(|e| i32::from_ne_bytes(*e)).ok_or_else(short)?;
        return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
    }
    Ok(answer.get(HEADER + fixed..len).ok_or_else(short)?.to_vec())
}

/// The value of the first attribute of a type.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let (len, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        let value = attributes.get(4..len)?;
        if kind & TYPE == wanted {
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
        assert_eq!(parse(&message, 4).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        for n in 0..20 {
            assert!(parse(&message[..n], 4).is_err());
        }
    }

    #[test]
    fn a_request_is_laid_as_the_kernel_reads_it() {
        let bytes = Request { kind: 18, header: &[7; 4], attribute: Some((3, b"abc")) }.bytes();
        assert_eq!(bytes.len(), 28);
        assert_eq!(bytes[..4], 28u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 18u16.to_ne_bytes());
        assert_eq!(bytes[16..], [&[7; 4][..], &7u16.to_ne_bytes(), &3u16.to_ne_bytes(), b"abc\0"].concat());
        assert_eq!(Request { kind: 18, header: &[7; 4], attribute: None }.bytes().len(), 20);
    }
}

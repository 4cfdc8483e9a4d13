//! The sockets that hear what routers say of packets that were too big.
//!
//! The XDP program leaves ICMP to the kernel, and the kernel hands a copy to whoever listens. A filter in the kernel lets
//! through only messages of the one kind: nobody else's echo wakes us.

use core::net::Ipv6Addr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrV6, SocketFlags, SocketType, ipproto, recvfrom, socket_with};
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::wire::icmp;
use crate::wire::quote::{TooBig, Unreadable};

/// Messages read from a socket before other work gets its turn.
const DRAIN: usize = 64;
/// Bytes of the longest message that is read. RFC 1812 §4.3.2.3 has them end at 576, RFC 4443 §3.2 at 1,280; what is longer
/// is cut, and has a wrong checksum then.
const MESSAGE: usize = 4096;

/// Listens.
#[derive(Debug)]
pub struct Ears {
    v4: AsyncFd<OwnedFd>,
    /// `None` on a kernel without IPv6.
    v6: Option<AsyncFd<OwnedFd>>,
    buffer: Box<[u8; MESSAGE]>,
}

impl Ears {
    /// Opens the sockets, in the calling thread's network namespace.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; what socket(2) says otherwise.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled.
    pub fn open() -> io::Result<Self> {
        let v4 = raw(AddressFamily::INET, ipproto::ICMP, &FRAGMENTATION_NEEDED)?;
        let v6 = match raw(AddressFamily::INET6, ipproto::ICMPV6, &PACKET_TOO_BIG) {
            Ok(socket) => Some(socket),
            Err(e) if e.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => None,
            Err(e) => return Err(e),
        };
        Ok(Self { v4, v6, buffer: Box::new([0; MESSAGE]) })
    }

    /// Waits until there may be something for [`drain`](Self::drain). Cancel-safe: nothing is read.
    ///
    /// # Errors
    /// Those of the tokio runtime.
    pub async fn ready(&self) -> io::Result<()> {
        let v6 = async {
            match &self.v6 {
                Some(socket) => socket.readable().await.map(drop),
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.v4.readable() => ready.map(drop),
            ready = v6 => ready,
        }
    }

    /// Reads what is waiting, some dozens of messages at most, and hands each to `hear`. Never waits.
    pub fn drain(&mut self, mut hear: impl FnMut(Result<TooBig<'_>, Unreadable>)) {
        let buffer = &mut self.buffer[..];
        for _ in 0..DRAIN {
            match receive(&self.v4, buffer) {
                Some((len, _)) => hear(TooBig::v4(&buffer[..len])),
                None => break,
            }
        }
        let Some(v6) = &self.v6 else { return };
        for _ in 0..DRAIN {
            match receive(v6, buffer) {
                Some((len, router)) => hear(TooBig::v6(&buffer[..len], router)),
                None => break,
            }
        }
    }
}

/// One message, and who sent it (of IPv6; of IPv4 the message says so itself).
fn receive(socket: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> Option<(usize, Ipv6Addr)> {
    let read = |fd: &OwnedFd| Ok(recvfrom(fd, &mut *buffer, RecvFlags::DONTWAIT)?);
    match socket.try_io(Interest::READABLE, read) {
        Ok((_, len, from)) => {
            let from = from.and_then(|from| SocketAddrV6::try_from(from).ok());
            Some((len.min(MESSAGE), from.map_or(Ipv6Addr::UNSPECIFIED, |from| *from.ip())))
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => {
            tracing::debug!(%error, "reading ICMP messages");
            None
        }
    }
}

fn raw(family: AddressFamily, protocol: rustix::net::Protocol, filter: &[SockFilter]) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::RAW, flags, Some(protocol))?;
    SockRef::from(&socket).attach_filter(filter)?;
    AsyncFd::with_interest(socket, Interest::READABLE)
}

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code as u16, jt, jf, k)
}

/// All of the message, or nothing of it.
const TAKE: SockFilter = instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX);
const LEAVE: SockFilter = instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0);

/// The filter of an ICMP socket sees the IP header first: type and code stand behind as many bytes as it says.
const FRAGMENTATION_NEEDED: [SockFilter; 5] = [
    instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
    instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, 0),
    instruction(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        0,
        1,
        u16::from_be_bytes([icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED]) as u32,
    ),
    TAKE,
    LEAVE,
];

/// That of an ICMPv6 socket sees the message alone.
const PACKET_TOO_BIG: [SockFilter; 4] = [
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 2),
    TAKE,
    LEAVE,
];

//! The sockets that hear what routers say of packets that were too big.
//!
//! The XDP program leaves ICMP to the kernel, and the kernel hands a copy to whoever listens. A filter in the kernel lets
//! through only messages of the one kind: nobody else's echo wakes us.

use core::net::IpAddr;
use std::io;
use std::net;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with};
use socket2::{SockFilter, SockRef};
use tokio::net::UdpSocket;

use crate::wire::quote::{TooBig, Unreadable};
use crate::wire::{icmp, icmpv6};

/// Messages read from a socket before other work gets its turn.
const DRAIN: usize = 64;
/// Bytes of the longest message that is read. RFC 1812 §4.3.2.3 has them end at 576, RFC 4443 §3.2 at 1,280; what is longer
/// is cut, and has a wrong checksum then.
const MESSAGE: usize = 4096;

/// Listens.
#[derive(Debug)]
pub struct Ears {
    v4: UdpSocket,
    /// `None` on a kernel without IPv6.
    v6: Option<UdpSocket>,
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
            let Some((message, _)) = receive(&self.v4, buffer) else { break };
            hear(TooBig::v4(message));
        }
        let Some(v6) = &self.v6 else { return };
        for _ in 0..DRAIN {
            let Some((message, IpAddr::V6(router))) = receive(v6, buffer) else { break };
            hear(TooBig::v6(message, router));
        }
    }
}

/// One message, and who sent it.
fn receive<'b>(socket: &UdpSocket, buffer: &'b mut [u8]) -> Option<(&'b [u8], IpAddr)> {
    match socket.try_recv_from(buffer) {
        Ok((len, from)) => Some((buffer.get(..len)?, from.ip())),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => {
            tracing::debug!(%error, "reading ICMP messages");
            None
        }
    }
}

/// A raw socket. What the runtime can wait for and receive from is called a UDP socket there: the calls are the same.
fn raw(family: AddressFamily, protocol: Protocol, filter: &[SockFilter]) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::RAW, flags, Some(protocol))?;
    SockRef::from(&socket).attach_filter(filter)?;
    UdpSocket::from_std(net::UdpSocket::from(socket))
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
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, icmpv6::PACKET_TOO_BIG as u32),
    TAKE,
    LEAVE,
];

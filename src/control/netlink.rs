//! The two netlink sockets: `Listener` hears what the kernel announces of interfaces, addresses, routes and neighbours,
//! `Asker` asks and reads answers.

use core::time::Duration;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout,
};

/// Bytes read at once. The kernel fills listings by up to 32 KiB; announcements are smaller but for rare giants.
const DATAGRAM: usize = 64 * 1024;
/// Datagrams read before other work gets its turn.
const DRAIN: usize = 4096;
/// The kernel answers within the system call that asks; this bounds the wait should it ever not.
const PATIENCE: Duration = Duration::from_secs(1);

/// A group of announcements, and its name for people.
pub(super) type Group = (MulticastGroup, &'static str);

/// Message types of linux/rtnetlink.h that libc does not name.
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// It could not be made.
    #[error("cannot open a netlink socket to {purpose}: {source}")]
    Open {
        /// What the socket was for.
        purpose: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The kernel refused a subscription.
    #[error("cannot subscribe to the kernel's {group} announcements: {source}")]
    Subscribe {
        /// The multicast group.
        group: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// One message of the kernel's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Its type (RTM_NEWLINK and so on).
    pub(super) kind: u16,
    /// The flags of its netlink header (NLM_F_REPLACE and so on).
    pub(super) flags: u16,
    /// What follows that header.
    pub(super) payload: &'a [u8],
}

/// How a drain of the listener ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Drained {
    /// Nothing more is waiting.
    pub(super) empty: bool,
    /// Announcements were lost: what is mirrored may be wrong.
    pub(super) lost: bool,
}

/// The socket that hears the kernel's announcements.
pub(super) struct Listener {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// What the wait for a datagram ended with; the datagram, if any, is in the buffer.
    held: Option<io::Result<SocketAddr>>,
}

impl Listener {
    /// Subscribes to `groups`; what happens from here on is heard. `receive_buffer` is in bytes.
    ///
    /// # Errors
    /// When the socket cannot be made or a subscription is refused.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled.
    pub(super) fn subscribe(groups: &[Group], receive_buffer: usize) -> Result<Self, SocketError> {
        let open = |source| SocketError::Open { purpose: "hear the kernel's announcements", source };
        let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(open)?;
        let inner = socket.socket_mut();
        // Beyond net.core.rmem_max needs CAP_NET_ADMIN; without it, as much as there is to be had.
        if set_socket_recv_buffer_size_force(&*inner, receive_buffer).is_err() {
            set_socket_recv_buffer_size(&*inner, receive_buffer).map_err(|e| open(e.into()))?;
        }
        inner.bind_auto().map_err(open)?;
        for &(group, name) in groups {
            inner.add_membership(group as u32).map_err(|source| SocketError::Subscribe { group: name, source })?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM), held: None })
    }

    /// Waits until there is something for [`drain`](Self::drain). Cancel-safe: what was read is kept for that.
    pub(super) async fn wait(&mut self) {
        poll_fn(|cx| {
            if self.held.is_none() {
                self.buffer.clear();
                self.held = Some(ready!(self.socket.poll_recv_from(cx, &mut self.buffer)));
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Reads what is waiting, in order, and hands each message to `hear`. Never waits.
    pub(super) fn drain(&mut self, mut hear: impl FnMut(Message<'_>)) -> Drained {
        let mut out = Drained { empty: false, lost: false };
        for _ in 0..DRAIN {
            match self.read() {
                Ok(from) if from.port_number() != 0 => {} // not from the kernel
                Ok(_) => {
                    let whole = messages(&self.buffer, |m| hear(message(m)));
                    if !whole {
                        out.lost = true;
                        self.buffer.reserve(self.buffer.capacity() + DATAGRAM);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    out.empty = true;
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // ENOBUFS: the receive buffer overran. The kernel then sends nothing more until the buffer has been
                // read empty (netlink_rcv_wake), so reading goes on.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => out.lost = true,
                Err(e) => {
                    tracing::warn!("reading the kernel's announcements: {e}");
                    out.lost = true;
                    break;
                }
            }
        }
        out
    }

    /// Reads one datagram into the buffer, or takes the one that is there.
    fn read(&mut self) -> io::Result<SocketAddr> {
        if let Some(held) = self.held.take() {
            return held;
        }
        self.buffer.clear();
        self.socket.socket_ref().recv_from(&mut self.buffer, libc::MSG_DONTWAIT).map(|(_, from)| from)
    }
}

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The kernel refused; its reason.
    #[error("the kernel refused: {0}")]
    Refused(io::Error),
    /// The question could not be put or the answer not be read.
    #[error("netlink socket: {0}")]
    Io(#[from] io::Error),
    /// The answer could not be understood.
    #[error("the kernel's answer makes no sense: {0}")]
    Garbled(String),
}

impl AskError {
    /// The kernel's error number, when it refused.
    pub(super) fn refusal(&self) -> Option<i32> {
        match self {
            Self::Refused(e) => e.raw_os_error(),
            _ => None,
        }
    }
}

/// How a question was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answered {
    /// Entirely.
    Whole,
    /// What was listed changed while it was listed: some of it may be missing (NLM_F_DUMP_INTR).
    Torn,
}

/// The socket that asks.
///
/// The kernel serves a routing request inside the `sendto` that brings it, and fills a listing chunk by chunk inside
/// each `recv`. Nothing ever has to be waited for, so asking is an ordinary call: no request is in flight when it
/// returns, and nothing can be lost when a future is dropped.
pub(super) struct Asker {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Asker {
    /// # Errors
    /// When the socket cannot be made.
    pub(super) fn open() -> Result<Self, SocketError> {
        let open = |source| SocketError::Open { purpose: "ask the kernel", source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(open)?;
        socket.bind_auto().map_err(open)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(|e| open(e.into()))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM), request: Vec::new() })
    }

    /// From here on the kernel heeds what a request for a listing asks for, and lists no more than that.
    ///
    /// # Errors
    /// When the kernel cannot (before Linux 4.20).
    pub(super) fn strict(self) -> Result<Self, SocketError> {
        let refused = |source| SocketError::Open { purpose: "list what is asked for only", source };
        self.socket.set_netlink_get_strict_chk(true).map_err(refused)?;
        Ok(self)
    }

    /// Asks, and hands each message of the answer to `hear`.
    ///
    /// # Errors
    /// When the kernel refuses or the socket fails.
    pub(super) fn ask(
        &mut self,
        (request, flags): (impl NetlinkSerializable, u16),
        mut hear: impl FnMut(Message<'_>),
    ) -> Result<Answered, AskError> {
        self.send(request, flags)?;
        let mut answered = Answered::Whole;
        let mut end = None;
        while end.is_none() {
            self.receive()?;
            let whole = messages(&self.buffer, |buffer| {
                if buffer.sequence_number() != self.sequence || end.is_some() {
                    return; // of an earlier question given up
                }
                let message = message(buffer);
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    answered = Answered::Torn;
                }
                match message.kind {
                    NLMSG_ERROR => end = Some(error_code(message.payload)),
                    NLMSG_DONE => end = Some(done_code(message.payload)),
                    _ => {
                        hear(message);
                        if message.flags & NLM_F_MULTIPART == 0 {
                            end = Some(0);
                        }
                    }
                }
            });
            if !whole {
                return Err(AskError::Garbled("it was cut short".to_owned()));
            }
        }
        match end {
            Some(0) | None => Ok(answered),
            Some(code) => Err(AskError::Refused(io::Error::from_raw_os_error(code.saturating_neg()))),
        }
    }

    fn send(&mut self, request: impl NetlinkSerializable, flags: u16) -> Result<(), AskError> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        self.request.clear();
        self.request.resize(message.buffer_len(), 0);
        message.serialize(&mut self.request);
        self.socket.send_to(&self.request, &SocketAddr::new(0, 0), 0)?;
        Ok(())
    }

    /// Reads one datagram of the kernel's into the buffer.
    fn receive(&mut self) -> Result<(), AskError> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn message<'a>(buffer: &NetlinkBuffer<&'a [u8]>) -> Message<'a> {
    Message { kind: buffer.message_type(), flags: buffer.flags(), payload: buffer.payload() }
}

/// Walks the messages of a datagram: false when the last was cut short, for want of room in the buffer.
fn messages(datagram: &[u8], mut hear: impl for<'a> FnMut(&NetlinkBuffer<&'a [u8]>)) -> bool {
    let mut rest = datagram;
    while !rest.is_empty() {
        let Ok(message) = NetlinkBuffer::new_checked(rest) else { return false };
        hear(&message);
        let step = (message.length() as usize).next_multiple_of(4); // NLMSG_ALIGN
        rest = rest.get(step..).unwrap_or_default();
    }
    true
}

fn error_code(payload: &[u8]) -> i32 {
    match ErrorBuffer::new_checked(payload) {
        Ok(error) => error.code().map_or(0, Into::into),
        Err(_) => -libc::EBADMSG,
    }
}

fn done_code(payload: &[u8]) -> i32 {
    // A listing may end without a code.
    DoneBuffer::new_checked(payload).map_or(0, |done| done.code())
}

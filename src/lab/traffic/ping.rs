//! ICMP echo.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

use super::payload::Stream;
use crate::lab::{Doing, LabError, Namespace};

/// How long an echo may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between one request and the next, so that the replies of a flood are not what is measured.
const PAUSE: Duration = Duration::from_millis(10);
/// Losses in a row after which a path counts as dead and is not asked any further.
const DEAD: u32 = 3;
/// Echo header (RFC 792, RFC 4443 §4.1): type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

/// What became of the echo requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u32,
    /// Replies whose payload was the one sent.
    pub received: u32,
    /// The round trips, in the order of the requests.
    pub rtts: Vec<Duration>,
}

impl PingReport {
    /// True when something was sent and all of it came back.
    pub fn complete(&self) -> bool {
        self.sent > 0 && self.received == self.sent
    }

    /// The round trip in the middle.
    pub fn median(&self) -> Option<Duration> {
        let mut sorted = self.rtts.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Sends `count` echo requests of `size` bytes of payload from a namespace to `dst`, one after the other; fewer, if three
/// in a row are lost.
pub fn ping(ns: &Namespace, dst: impl Into<IpAddr>, count: u32, size: usize) -> Result<PingReport, LabError> {
    let dst = dst.into();
    let saying = || format!("pinging {dst} from {}", ns.name());
    // A datagram socket: the kernel sets identifier and checksum, checks those of the replies, and keeps others' away.
    let (family, protocol, kind) = match dst {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, ECHO_REQUEST),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, ECHO_REQUEST_V6),
    };
    let open = || socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(protocol));
    let socket = ns.run(open)?.doing(saying)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(100))).doing(saying)?;
    let mut report = PingReport::default();
    let mut lost_in_a_row = 0;
    for sequence in 0..count {
        let request = echo_request(kind, sequence as u16, size);
        let start = Instant::now();
        report.sent += 1;
        // A route that is missing for now is a lost echo, not the end of the count.
        if sendto(&socket, &request, SendFlags::empty(), &SocketAddr::new(dst, 0)).is_ok()
            && await_reply(&socket, &request, start)
        {
            report.received += 1;
            report.rtts.push(start.elapsed());
            lost_in_a_row = 0;
        } else {
            lost_in_a_row += 1;
        }
        if lost_in_a_row == DEAD {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(report)
}

fn echo_request(kind: u8, sequence: u16, size: usize) -> Vec<u8> {
    let mut packet = vec![0; HEADER + size];
    packet[0] = kind;
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    Stream::new(sequence.into()).fill(&mut packet[HEADER..]);
    packet
}

/// Waits for the reply to `request`; late ones of earlier requests are passed over.
fn await_reply(socket: &OwnedFd, request: &[u8], start: Instant) -> bool {
    let mut buffer = vec![0; request.len() + 1];
    while start.elapsed() < PATIENCE {
        let Ok((length, _)) = recv(socket, &mut buffer[..], RecvFlags::empty()) else { continue };
        let same_from_sequence_on = length == request.len() && buffer[6..length] == request[6..];
        if same_from_sequence_on {
            return true;
        }
    }
    false
}

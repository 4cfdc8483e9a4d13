//! A packet socket: sends frames out of an interface of a namespace, and takes those that come in by it.
#![allow(dead_code)] // each test crate uses its own part

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc::PACKET_HOST;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, sendmsg, setsockopt, socket,
    sockopt::RcvBufForce,
};
use selvedge::lab::Namespace;

/// Bytes of frames that may wait to be taken.
const ROOM: usize = 64 << 20;

/// The socket.
#[derive(Debug)]
pub(crate) struct Tap(OwnedFd);

impl Tap {
    /// A socket on `link` in `ns`.
    pub(crate) fn open(ns: &Namespace, link: &str) -> Self {
        let open = || {
            let fd = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )?;
            setsockopt(&fd, RcvBufForce, &ROOM)?;
            bind(fd.as_raw_fd(), &address(link)?)?;
            Ok::<_, Errno>(fd)
        };
        Self(ns.run(open).unwrap().unwrap_or_else(|e| panic!("a packet socket on {link} in {}: {e}", ns.name())))
    }

    /// Sends a frame out of the interface.
    pub(crate) fn send(&self, frame: &[u8]) {
        loop {
            let sent = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(frame)], &[], MsgFlags::empty(), None);
            match sent {
                Ok(n) => return assert_eq!(n, frame.len()),
                // the interface's queue is full for a moment
                Err(Errno::ENOBUFS | Errno::EAGAIN) => std::thread::yield_now(),
                Err(e) => panic!("sending {} bytes: {e}", frame.len()),
            }
        }
    }

    /// The frames that have come in for the interface's own address since the last call.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut buffer) {
                Ok((n, from)) if from.is_some_and(|from| from.pkttype() == PACKET_HOST) => {
                    frames.push(buffer[..n].to_vec());
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => return frames,
                Err(e) => panic!("receiving: {e}"),
            }
        }
    }
}

/// The link-layer address of an interface, as the kernel lists it.
fn address(link: &str) -> Result<LinkAddr, Errno> {
    let found = getifaddrs()?.filter(|interface| interface.interface_name == link);
    let addresses = found.filter_map(|interface| interface.address?.as_link_addr().copied());
    addresses.into_iter().next().ok_or(Errno::ENODEV)
}

//! The system calls of AF_XDP sockets, each wrapped so that what is above needs no `unsafe` for them.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::steer::AttachMode;

/// `XDP_MAX_TX_SKB_BUDGET` (linux/if_xdp.h, since 6.17): frames one sendto sends in copy mode.
pub(super) const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
/// `XDP_USE_SG` (linux/if_xdp.h, since 6.6): packets in several chunks.
pub(super) const XDP_USE_SG: u16 = 1 << 4;
/// `XDP_PKT_CONTD` (linux/if_xdp.h, since 6.6): the packet goes on in the next descriptor.
pub(super) const XDP_PKT_CONTD: u32 = 1;
/// `SO_BUSY_POLL` (asm-generic/socket.h).
pub(super) const SO_BUSY_POLL: i32 = 46;
/// `SO_PREFER_BUSY_POLL` (asm-generic/socket.h).
pub(super) const SO_PREFER_BUSY_POLL: i32 = 69;
/// `SO_BUSY_POLL_BUDGET` (asm-generic/socket.h).
pub(super) const SO_BUSY_POLL_BUDGET: i32 = 70;

/// Types the kernel may write any bytes into, or read all bytes of: integers and structs of integers without padding.
///
/// # Safety
/// Every bit pattern is a value, and there is no padding.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: integers.
unsafe impl Plain for i32 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: three u64 and three more, eight bytes each.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: sixteen u64.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: two u64 and four u32, 32 bytes.
unsafe impl Plain for libc::xdp_umem_reg {}

// SAFETY: an i32, two u16 and eight bytes: 16 bytes without padding.
unsafe impl Plain for libc::packet_mreq {}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A new AF_XDP socket.
pub(super) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has an interface take frames to all groups for as long as the descriptor is open (packet(7)).
pub(super) fn take_all_groups(ifindex: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: just made, and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let membership = libc::packet_mreq {
        mr_ifindex: ifindex as i32,
        mr_type: libc::PACKET_MR_ALLMULTI as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
    Ok(fd)
}

/// setsockopt(2).
pub(super) fn set<T: Plain>(fd: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is valid for `len` bytes, all initialised.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), len) })?;
    Ok(())
}

/// getsockopt(2). Older kernels know shorter structs: what they do not fill in is zero. Also the length filled in.
pub(super) fn get<T: Plain>(fd: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<(T, usize)> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `Plain`: zero is a value.
    let mut value: T = unsafe { zeroed() };
    // SAFETY: `value` is valid for `len` bytes and may hold whatever is written.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, std::ptr::from_mut(&mut value).cast(), &raw mut len)
    })?;
    Ok((value, len as usize))
}

/// bind(2) of an AF_XDP socket to a queue, sharing the UMEM of another socket if there is one.
pub(super) fn bind(
    fd: BorrowedFd<'_>,
    ifindex: u32,
    queue: u32,
    flags: u16,
    shared: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: shared.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    // SAFETY: `address` is valid for `len` bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(())
}

/// Tells the kernel to send what is in the TX ring. Does not wait.
#[inline]
pub(super) fn kick_tx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no bytes are read from a null pointer of length 0.
    let sent = unsafe { libc::sendto(fd.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tells the kernel to look at the fill ring, and drives the queue's busy polling. Does not wait.
#[inline]
pub(super) fn kick_rx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no bytes are written to a null pointer of length 0.
    let got = unsafe {
        let nowhere = std::ptr::null_mut();
        libc::recvfrom(fd.as_raw_fd(), nowhere, 0, libc::MSG_DONTWAIT, std::ptr::null_mut(), std::ptr::null_mut())
    };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The members of `union bpf_attr` that `BPF_LINK_CREATE` reads for XDP (linux/bpf.h).
#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches a loaded program to an interface by a bpf_link: closing the descriptor detaches it.
pub(super) fn create_xdp_link(program: BorrowedFd<'_>, ifindex: u32, mode: AttachMode) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_long = 28;
    const BPF_XDP: u32 = 37;
    const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
    const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
    let flags = match mode {
        AttachMode::Native | AttachMode::NativeMultiBuffer => XDP_FLAGS_DRV_MODE,
        AttachMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let attr = LinkCreate { program: program.as_raw_fd() as u32, ifindex, attach_type: BPF_XDP, flags };
    // SAFETY: `attr` is valid for the length given, all initialised; the kernel reads what is missing as zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attr, size_of::<LinkCreate>()) };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

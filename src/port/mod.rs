//! Floor 3: ports, rings and packet memory. The only room with `unsafe` code.
//!
//! A [`Frame`] is the owning token of one UMEM chunk, or of several that hold one long packet. Only [`Pool`] mints it; [`Pool::free`] and [`Port::tx`] consume
//! it. So a chunk is in exactly one place, and a census proves it.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

mod assembly;
pub mod host;
mod mapping;
mod mem;
mod pool;
mod ring;
mod umem;
mod xdp;

pub use mem::{MemPort, MemRings};
pub use pool::{Burst, Frame, HEADROOM, LONGEST, MOST_PIECES, Pool};
pub use umem::{Backing, Umem};
pub use xdp::{
    AttachMode, CatchCounters, Catching, Finishing, MAX_PORTS, Options, PortError, QueueSpec, RingSizes, Roles,
    SteerCapacity, SteerCounters, SteerReason, Steering, Waiter, Waker, Woken, XdpPort, ZeroCopy,
};

/// Where the chunks are that a port has handed to the kernel (or to a test's rings).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// In the fill ring, or taken from it by the driver, or received and not yet taken by us.
    pub rx: u32,
    /// In the TX ring, in flight, or in the completion ring.
    pub tx: u32,
}

/// Checksums that a device finishes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Finishes {
    /// None.
    #[default]
    None,
    /// Those of TCP and UDP in packets without a tunnel header. Hardware finds them by itself, whatever it is told of their
    /// place.
    Plain,
    /// All.
    All,
}

/// Counters the kernel keeps for an AF_XDP socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RingStats {
    /// Frames dropped for other reasons than a full ring (no fill entry, longer than a chunk).
    pub rx_dropped: u64,
    /// Frames dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Fill ring found empty.
    pub fill_ring_empty: u64,
    /// Invalid descriptors in the fill ring.
    pub rx_invalid: u64,
    /// Invalid descriptors in the TX ring.
    pub tx_invalid: u64,
    /// TX ring found empty.
    pub tx_ring_empty: u64,
}

/// One queue of one interface.
pub trait Port {
    /// Takes received frames into `burst` until there are no more or the burst is full. Returns how many came. A packet of
    /// which not all has come waits in the port.
    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize;

    /// Hands the frames of `burst` over for sending, first in first out, until the ring has no room for a whole one; the
    /// rest stays in the burst. Returns how many were taken.
    fn tx(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize;

    /// Housekeeping between bursts: tells the kernel of frames to send if it must be told (one system call, more
    /// only where one cannot send a turn's frames), takes back what was sent, refills the fill ring.
    fn service(&mut self, pool: &mut Pool);

    /// Which of the checksums that a frame [leaves](Pool::leave_unfinished) to it does its device finish?
    fn finishes(&self) -> Finishes {
        Finishes::None
    }

    /// Chunks this port holds.
    fn held(&self) -> Held;

    /// Frames handed over that the device has not begun to send: [`service`](Self::service) has to be called again
    /// before anybody sleeps, for nothing wakes a sleeper when there is room. Costs no system call.
    fn unsent(&self) -> u32;

    /// The kernel's counters, which cost a system call: for the slow path.
    fn ring_stats(&self) -> RingStats;

    /// What poll(2) can wait on; `None` where there is no such thing.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

//! One AF_XDP socket as a port.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::open::{Options, QueueSpec, RingSizes};
use super::sys;
use crate::port::assembly::Assembly;
use crate::port::mapping::Mapping;
use crate::port::pool::{Burst, Frame, Pool};
use crate::port::ring::{Consumer, Producer};
use crate::port::{Finishes, Held, Port, RingStats};

/// The four rings of one socket, and the memory they lie in.
pub(super) struct Rings {
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) rx: Consumer<libc::xdp_desc>,
    pub(super) tx: Producer<libc::xdp_desc>,
    pub(super) _maps: [Mapping; 4],
}

/// Frames one system call sends in copy mode unless a socket may have more (`TX_BATCH_SIZE`, net/xdp/xsk.c).
pub(super) const SMALL_TX_BUDGET: u32 = 32;

/// One queue of one interface, by an AF_XDP socket with its own four rings. Made by [`XdpPort::open_all`].
///
/// Dropping it closes the socket and unmaps the rings. The chunks it held stay lost to the pool, for the kernel may
/// use them a little longer; a worker drops its ports and its pool together.
pub struct XdpPort {
    rings: Rings,
    fd: OwnedFd,
    spec: QueueSpec,
    pool: u32,
    held: Held,
    /// Chunks to keep lent for receiving.
    fill_target: u32,
    zero_copy: bool,
    /// Frames one system call sends at most, in copy mode.
    tx_budget: u32,
    need_wakeup: bool,
    busy_poll: bool,
    /// Both directions want a wake-up: the turn is RX's.
    rx_turn: bool,
    refused: u64,
    assembly: Assembly,
    /// Checksums may be left to the device.
    finishes: Finishes,
}

impl XdpPort {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        fd: OwnedFd,
        rings: Rings,
        spec: QueueSpec,
        sizes: &RingSizes,
        options: Options,
        zero_copy: bool,
        tx_budget: u32,
        pool: u32,
    ) -> Self {
        Self {
            rings,
            fd,
            spec,
            pool,
            held: Held::default(),
            fill_target: sizes.fill,
            zero_copy,
            tx_budget,
            need_wakeup: options.need_wakeup,
            busy_poll: options.busy_poll_us > 0,
            rx_turn: false,
            refused: 0,
            assembly: Assembly::default(),
            finishes: Finishes::None,
        }
    }

    /// Where it is.
    pub fn spec(&self) -> QueueSpec {
        self.spec
    }

    /// True when the driver reads and writes packet memory itself.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Frames one system call sends at most in copy mode: 32 where the kernel is older than 6.17.
    pub fn tx_budget(&self) -> u32 {
        self.tx_budget
    }

    /// Chunks kept lent to the driver for receiving.
    pub fn fill_target(&self) -> u32 {
        self.fill_target
    }

    /// Frames freed instead of sent, because they were empty or did not fit their chunks: always a mistake above.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The socket, for the steering program's map.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn let_finish(&mut self, finishes: Finishes) {
        self.finishes = finishes;
    }

    pub(super) fn set_fill_target(&mut self, most: u32) {
        self.fill_target = self.fill_target.min(most);
    }

    /// Lends chunks for receiving up to the target, as far as the pool has any.
    #[inline]
    pub(super) fn refill(&mut self, pool: &mut Pool) {
        let want = self.fill_target.saturating_sub(self.held.rx);
        if want > 0 {
            self.held.rx += self.rings.fill.put(want, || pool.lend());
        }
    }

    /// Takes back what was sent.
    #[inline]
    fn reap(&mut self, pool: &mut Pool) {
        let done = self.rings.completion.take(u32::MAX, |address| {
            // SAFETY: `service` checked that it is our pool; what comes out of this ring went into our TX ring by
            // `Pool::surrender`, and comes out once.
            unsafe { pool.reclaim(address) };
        });
        self.held.tx -= done.min(self.held.tx);
    }

    /// Tells the kernel of whichever direction it wants to be told of, in turns if both. One call sends what a turn can
    /// hand over; where the kernel is older than 6.17 it takes one for every 32 frames.
    ///
    /// Every error is transient (EAGAIN: the budget is used up, or the device's queue is full; EBUSY, ENOBUFS: no
    /// room now; ENETDOWN: no carrier) or beyond help here; frames left over are seen in the ring next time.
    #[inline]
    fn kick(&mut self) {
        let tx = self.unsent() > 0 && (!self.need_wakeup || self.rings.tx.needs_wakeup());
        let rx = self.busy_poll || (self.need_wakeup && self.rings.fill.needs_wakeup());
        // With busy polling both calls drive the queue, so sending need not wait for its turn.
        if tx && (!rx || self.busy_poll || !self.rx_turn) {
            self.rx_turn = true;
            self.send();
        } else if rx {
            self.rx_turn = false;
            let _ = sys::kick_rx(self.fd.as_fd());
        }
    }

    /// Makes as many calls as it takes to empty the ring, unless one stops short of the budget: then the device has no
    /// room, and another would not help.
    #[inline]
    fn send(&self) {
        let mut left = self.rings.tx.pending();
        loop {
            let _ = sys::kick_tx(self.fd.as_fd());
            let after = if left > self.tx_budget { self.rings.tx.pending() } else { return };
            if after == 0 || after > left - self.tx_budget {
                return;
            }
            left = after;
        }
    }

    /// Hands over frames of which some may be of long packets: each whole, or not at all.
    #[cold]
    fn send_long(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        let before = burst.len();
        while let Some(pieces) = burst.front_mut().map(|frame| pool.pieces(frame)) {
            if self.rings.tx.vacant(pieces) < pieces {
                break;
            }
            let mut rest = burst.pop_front();
            // of the whole packet, and asked for in front of its first piece
            let mut asked = rest.as_mut().and_then(|frame| left_of(pool, frame, self.finishes));
            self.held.tx += self.rings.tx.put(pieces, || {
                let (piece, more) = pool.split(rest.take()?);
                let goes_on = if more.is_some() { sys::XDP_PKT_CONTD } else { 0 };
                let sent = match asked.take() {
                    Some(place) => send_asking(pool, piece, place),
                    None => send_plainly(pool, piece),
                };
                match sent {
                    Ok(descriptor) => {
                        rest = more;
                        Some(libc::xdp_desc { options: descriptor.options | goes_on, ..descriptor })
                    }
                    Err(piece) => {
                        self.refused += 1;
                        pool.free(piece);
                        more.into_iter().for_each(|more| pool.free(more));
                        None
                    }
                }
            });
        }
        before - burst.len()
    }

    #[inline]
    fn knows(&self, pool: &Pool) -> bool {
        debug_assert_eq!(pool.id(), self.pool, "a port works with the pool it was opened with");
        pool.id() == self.pool
    }
}

/// What a frame leaves to the device: from where on its packet is to be summed up, and where the checksum goes from there.
fn left_of(pool: &mut Pool, frame: &mut Frame, finishes: Finishes) -> Option<(usize, usize)> {
    let place = pool.take_unfinished(frame).within(usize::from(frame.span().len));
    debug_assert!(finishes != Finishes::None || place.is_none(), "a checksum was left to a device that finishes none");
    place
}

/// The descriptor of a frame that asks for nothing. One that cannot be sent comes back.
#[inline]
fn send_plainly(pool: &mut Pool, frame: Frame) -> Result<libc::xdp_desc, Frame> {
    pool.surrender(frame).map(|(addr, len)| libc::xdp_desc { addr, len, options: 0 })
}

/// The descriptor of a frame that asks for a checksum. Where that would lie beyond the frame it comes back: the kernel would
/// stop at it for good (EINVAL of xsk_build_skb, net/xdp/xsk.c).
fn send_asking(pool: &mut Pool, frame: Frame, (start, field): (usize, usize)) -> Result<libc::xdp_desc, Frame> {
    let within = start + field + 2 <= usize::from(frame.span().len);
    if !within || !pool.ask_for_checksum(&frame, (start, field)) {
        return Err(frame);
    }
    Ok(libc::xdp_desc { options: libc::XDP_TX_METADATA, ..send_plainly(pool, frame)? })
}

/// The descriptor of a frame that cannot simply be sent, if it leaves something to the device. The others come back.
#[inline(never)]
fn send_left(pool: &mut Pool, mut frame: Frame, finishes: Finishes) -> Result<libc::xdp_desc, Frame> {
    match left_of(pool, &mut frame, finishes) {
        Some(place) => send_asking(pool, frame, place),
        None => Err(frame),
    }
}

impl Port for XdpPort {
    #[inline]
    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        let room = burst.room().min(u32::MAX as usize) as u32;
        if room == 0 || !self.knows(pool) {
            return 0;
        }
        let mut came = 0;
        let assembly = &mut self.assembly;
        let taken = self.rings.rx.take(room, |descriptor| {
            // SAFETY: `knows` says it is our pool; what comes out of this ring went into our fill ring by
            // `Pool::lend`, and comes out once.
            let Some(frame) = (unsafe { pool.adopt(descriptor.addr, descriptor.len) }) else { return };
            let more = descriptor.options & sys::XDP_PKT_CONTD != 0;
            let pushed = if !more && assembly.is_idle() {
                burst.push(frame)
            } else {
                let Some(packet) = assembly.add(pool, frame, more) else { return };
                burst.push_any(packet)
            };
            match pushed {
                Ok(()) => came += 1,
                Err(frame) => pool.free(frame), // there is room: this cannot be
            }
        });
        self.held.rx -= taken.min(self.held.rx);
        came
    }

    #[inline]
    fn tx(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        if burst.is_empty() || !self.knows(pool) {
            return 0;
        }
        if burst.has_long() {
            return self.send_long(pool, burst);
        }
        let before = burst.len();
        let (refused, finishes) = (&mut self.refused, self.finishes);
        self.held.tx += self.rings.tx.put(before as u32, || {
            loop {
                match send_plainly(pool, burst.pop_front()?).or_else(|frame| send_left(pool, frame, finishes)) {
                    Ok(descriptor) => return Some(descriptor),
                    Err(frame) => {
                        *refused += 1;
                        pool.free(frame);
                    }
                }
            }
        });
        before - burst.len()
    }

    #[inline]
    fn service(&mut self, pool: &mut Pool) {
        if !self.knows(pool) {
            return;
        }
        if self.held.tx > 0 {
            self.reap(pool);
        }
        self.refill(pool);
        self.kick();
    }

    fn finishes(&self) -> Finishes {
        self.finishes
    }

    #[inline]
    fn held(&self) -> Held {
        Held { rx: self.held.rx + self.assembly.held(), ..self.held }
    }

    #[inline]
    fn unsent(&self) -> u32 {
        if self.held.tx == 0 { 0 } else { self.rings.tx.pending() }
    }

    fn ring_stats(&self) -> RingStats {
        let stats = sys::get::<libc::xdp_statistics>(self.fd.as_fd(), libc::SOL_XDP, libc::XDP_STATISTICS);
        // Kernels before 5.9 know three counters only; the others stay zero.
        stats.map_or_else(
            |_| RingStats::default(),
            |(s, _)| RingStats {
                rx_dropped: s.rx_dropped,
                rx_ring_full: s.rx_ring_full,
                fill_ring_empty: s.rx_fill_ring_empty_descs,
                rx_invalid: s.rx_invalid_descs,
                tx_invalid: s.tx_invalid_descs,
                tx_ring_empty: s.tx_ring_empty_descs,
            },
        )
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

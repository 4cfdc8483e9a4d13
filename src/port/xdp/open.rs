//! Opening the sockets of one worker: one UMEM, one socket for each queue of each interface.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use super::error::{BIND, PortError, UMEM};
use super::socket::{Rings, SMALL_TX_BUDGET, XdpPort};
use super::sys;
use crate::port::Finishes;
use crate::port::mapping::Mapping;
use crate::port::pool::{METADATA, Pool};
use crate::port::ring::{Consumer, Producer, Shared};

/// Which queue of which interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct QueueSpec {
    /// The interface's index in this network namespace.
    pub ifindex: u32,
    /// RX and TX queue, counted from 0.
    pub queue: u32,
    /// Whether checksums may be left to the device, if the kernel takes metadata (Linux 6.11).
    pub finishing: Finishing,
}

impl QueueSpec {
    /// A queue of an interface that leaves nothing to the device.
    pub const fn new(ifindex: u32, queue: u32) -> Self {
        Self { ifindex, queue, finishing: Finishing::NONE }
    }
}

/// Entries in each ring of each socket: powers of two, 64 to 16,384.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingSizes {
    /// Received and not yet taken.
    pub rx: u32,
    /// To be sent.
    pub tx: u32,
    /// Lent to the driver for receiving.
    pub fill: u32,
    /// Sent and not yet taken back.
    pub completion: u32,
}

impl Default for RingSizes {
    /// 4,096 for receiving (rx, fill), 2,048 for sending (tx, completion): a worker that is kept off its core misses
    /// packets, not frames to send.
    fn default() -> Self {
        Self { rx: 4096, tx: 2048, fill: 4096, completion: 2048 }
    }
}

/// Whether drivers shall write and read packet memory themselves. All sockets of one UMEM must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZeroCopy {
    /// If all drivers can; else none does.
    Auto,
    /// An error when one cannot.
    On,
    /// Never.
    Off,
}

/// What the device of a queue finishes, if the kernel takes metadata.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Finishing {
    /// Where the kernel copies frames, and hands them to the device as its own.
    pub copied: Finishes,
    /// Where the driver reads packet memory itself.
    pub direct: Finishes,
}

impl Finishing {
    /// Nothing.
    pub const NONE: Self = Self { copied: Finishes::None, direct: Finishes::None };

    const fn by(self, mode: u16) -> Finishes {
        if mode == libc::XDP_ZEROCOPY { self.direct } else { self.copied }
    }
}

/// How sockets are set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Zero-copy.
    pub zero_copy: ZeroCopy,
    /// Whether the kernel may say that it needs no system calls (`XDP_USE_NEED_WAKEUP`). Always sensible.
    pub need_wakeup: bool,
    /// Microseconds of preferred busy polling, 0 for none.
    pub busy_poll_us: u32,
    /// Packets in several chunks (`XDP_USE_SG`, Linux 6.6), up to [`LONGEST`](crate::port::LONGEST) bytes. The program has
    /// to be [attached](super::AttachMode) for them, too.
    pub multi_buffer: bool,
    /// Frames a worker takes from a port at once, 1 to 256. In one turn as many from every port may leave by one: so
    /// many one system call sends (32 where the kernel is older than 6.17: [`service`](crate::port::Port::service) then
    /// makes as many as it takes). Busy polling takes so many of one port.
    pub burst: u16,
}

impl Default for Options {
    /// Zero-copy where it can be had, wake-ups only where needed, no busy polling, one chunk a packet, bursts of 128.
    fn default() -> Self {
        Self { zero_copy: ZeroCopy::Auto, need_wakeup: true, busy_poll_us: 0, multi_buffer: false, burst: 128 }
    }
}

impl XdpPort {
    /// Opens one socket for each of `specs`, in their order, all on the pool's packet memory, and fills their fill
    /// rings from the pool: each with as much as the ring holds, but together with no more than three quarters of
    /// the chunks, so that frames on their way never leave a ring starved.
    ///
    /// Sockets closed a moment ago hold their queues for some tens of milliseconds: opening waits up to a second.
    ///
    /// # Errors
    /// What failed on which interface and queue; no socket stays open then, and all chunks are free.
    pub fn open_all(
        pool: &mut Pool,
        specs: &[QueueSpec],
        sizes: &RingSizes,
        options: Options,
    ) -> Result<Vec<Self>, PortError> {
        check_sizes(sizes).map_err(|e| fail(specs, "checking ring sizes", e))?;
        let modes: &[u16] = match options.zero_copy {
            ZeroCopy::On => &[libc::XDP_ZEROCOPY],
            ZeroCopy::Off => &[libc::XDP_COPY],
            ZeroCopy::Auto => &[libc::XDP_ZEROCOPY, libc::XDP_COPY],
        };
        let mut outcome = Ok(Vec::new());
        for mode in modes {
            outcome = open_with(pool, specs, sizes, options, *mode);
            if !outcome.as_ref().is_err_and(about_the_driver) {
                break;
            }
        }
        let mut ports = outcome?;
        let share = pool.total() / 4 * 3 / ports.len().max(1) as u32;
        for port in &mut ports {
            port.set_fill_target(share.max(1));
            port.refill(pool);
        }
        Ok(ports)
    }
}

/// False for failures that have nothing to do with zero-copy: trying without it would not help.
fn about_the_driver(e: &PortError) -> bool {
    !matches!(e.io().raw_os_error(), Some(libc::EBUSY | libc::EPERM | libc::ENODEV))
}

fn fail(specs: &[QueueSpec], step: &'static str, e: io::Error) -> PortError {
    PortError::new(specs.first().map_or(0, |s| s.ifindex), None, step, e)
}

fn check_sizes(sizes: &RingSizes) -> io::Result<()> {
    let RingSizes { rx, tx, fill, completion } = *sizes;
    if [rx, tx, fill, completion].iter().all(|n| n.is_power_of_two() && (64..=16_384).contains(n)) {
        return Ok(());
    }
    let what = format!("{sizes:?}: powers of two, 64 to 16384, are wanted");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

fn open_with(
    pool: &mut Pool,
    specs: &[QueueSpec],
    sizes: &RingSizes,
    options: Options,
    mode: u16,
) -> Result<Vec<XdpPort>, PortError> {
    let mut ports: Vec<XdpPort> = Vec::with_capacity(specs.len());
    let mut metadata = specs.iter().any(|spec| spec.finishing.by(mode) != Finishes::None);
    for spec in specs {
        let at = |step| move |e| PortError::new(spec.ifindex, Some(spec.queue), step, e);
        let fd = sys::socket().map_err(at("making an AF_XDP socket (socket)"))?;
        if ports.is_empty() {
            metadata = register(pool, fd.as_fd(), metadata).map_err(at(UMEM))?;
            pool.keep_metadata(metadata);
        }
        let rings = rings(fd.as_fd(), sizes).map_err(at("making rings (XDP_*_RING, mmap)"))?;
        let tx_budget = widen_tx_budget(fd.as_fd(), sizes, options, specs.len());
        poll_busily(fd.as_fd(), options).map_err(at("setting up busy polling (SO_PREFER_BUSY_POLL)"))?;
        match ports.first() {
            // Whoever shares a UMEM inherits the flags of its first socket, and may name none.
            Some(first) => bind(&fd, spec, libc::XDP_SHARED_UMEM, Some(first.socket())),
            None => bind(&fd, spec, mode | first_flags(options), None),
        }
        .map_err(at(BIND))?;
        let mut port = XdpPort::new(fd, rings, *spec, sizes, options, mode == libc::XDP_ZEROCOPY, tx_budget, pool.id());
        port.let_finish(if metadata { spec.finishing.by(mode) } else { Finishes::None });
        ports.push(port);
    }
    Ok(ports)
}

/// What the first socket asks for on behalf of all.
fn first_flags(options: Options) -> u16 {
    let flag = |wanted, flag| if wanted { flag } else { 0 };
    flag(options.need_wakeup, libc::XDP_USE_NEED_WAKEUP) | flag(options.multi_buffer, sys::XDP_USE_SG)
}

/// Registers packet memory, if possible with the room for metadata in front of packets that is wanted. Says whether: a kernel
/// older than 6.11 does not know the flag.
fn register(pool: &Pool, fd: BorrowedFd<'_>, metadata: bool) -> io::Result<bool> {
    let umem = pool.umem();
    let (flags, tx_metadata_len) = if metadata { (libc::XDP_UMEM_TX_METADATA_LEN, METADATA.into()) } else { (0, 0) };
    let region = libc::xdp_umem_reg {
        addr: umem.base() as u64,
        len: umem.bytes() as u64,
        chunk_size: u32::from(umem.chunk_size()),
        headroom: 0, // the kernel leaves 256 bytes in front of each packet by itself
        flags,
        tx_metadata_len,
    };
    match sys::set(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &region) {
        Err(e) if metadata && e.raw_os_error() == Some(libc::EINVAL) => register(pool, fd, false),
        done => done.map(|()| metadata),
    }
}

/// Frames one system call is to send: all that one turn receives may leave by one port. The kernel takes 32 up to the TX
/// ring's size (net/xdp/xsk.c).
fn wanted_tx_budget(sizes: &RingSizes, options: Options, ports: usize) -> u32 {
    let turn = u32::from(options.burst).saturating_mul(ports.try_into().unwrap_or(u32::MAX));
    turn.max(SMALL_TX_BUDGET).min(sizes.tx)
}

/// Asks for that, and says what was got: a kernel older than 6.17 does not know the option.
fn widen_tx_budget(fd: BorrowedFd<'_>, sizes: &RingSizes, options: Options, ports: usize) -> u32 {
    let wanted = wanted_tx_budget(sizes, options, ports);
    let set = sys::set(fd, libc::SOL_XDP, sys::XDP_MAX_TX_SKB_BUDGET, &wanted);
    set.map_or(SMALL_TX_BUDGET, |()| wanted)
}

/// Has to be had if it is asked for.
fn poll_busily(fd: BorrowedFd<'_>, options: Options) -> io::Result<()> {
    if options.busy_poll_us > 0 {
        let microseconds = i32::try_from(options.busy_poll_us).unwrap_or(i32::MAX);
        sys::set(fd, libc::SOL_SOCKET, sys::SO_PREFER_BUSY_POLL, &1i32)?;
        sys::set(fd, libc::SOL_SOCKET, sys::SO_BUSY_POLL, &microseconds)?;
        sys::set(fd, libc::SOL_SOCKET, sys::SO_BUSY_POLL_BUDGET, &i32::from(options.burst.clamp(1, 64)))?;
    }
    Ok(())
}

/// A queue whose socket was closed a moment ago is still taken: closing is asynchronous (32 to 48 ms were seen).
fn bind(fd: &OwnedFd, spec: &QueueSpec, flags: u16, shared: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut pause = Duration::from_millis(4);
    loop {
        match sys::bind(fd.as_fd(), spec.ifindex, spec.queue, flags, shared) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && pause < Duration::from_millis(600) => {
                sleep(pause);
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
}

fn rings(fd: BorrowedFd<'_>, sizes: &RingSizes) -> io::Result<Rings> {
    let set = |option, size: u32| sys::set(fd, libc::SOL_XDP, option, &size);
    set(libc::XDP_UMEM_FILL_RING, sizes.fill)?;
    set(libc::XDP_UMEM_COMPLETION_RING, sizes.completion)?;
    set(libc::XDP_RX_RING, sizes.rx)?;
    set(libc::XDP_TX_RING, sizes.tx)?;
    let (at, len) = sys::get::<libc::xdp_mmap_offsets>(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
    if len != size_of::<libc::xdp_mmap_offsets>() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "rings without flags: Linux 5.10 or newer is needed"));
    }
    let (fill_map, fill) = map(fd, &at.fr, sizes.fill, libc::XDP_UMEM_PGOFF_FILL_RING)?;
    let (completion_map, completion) = map(fd, &at.cr, sizes.completion, libc::XDP_UMEM_PGOFF_COMPLETION_RING)?;
    let (rx_map, rx) = map(fd, &at.rx, sizes.rx, libc::XDP_PGOFF_RX_RING as u64)?;
    let (tx_map, tx) = map(fd, &at.tx, sizes.tx, libc::XDP_PGOFF_TX_RING as u64)?;
    // SAFETY: `map` made the pointers from mappings that `Rings` keeps for as long as the ends; each ring of this
    // new socket gets its one end here; sizes are powers of two; entries are plain integers.
    unsafe {
        Ok(Rings {
            fill: Producer::new(fill),
            completion: Consumer::new(completion),
            rx: Consumer::new(rx),
            tx: Producer::new(tx),
            _maps: [fill_map, completion_map, rx_map, tx_map],
        })
    }
}

fn map<T>(fd: BorrowedFd<'_>, at: &libc::xdp_ring_offset, size: u32, offset: u64) -> io::Result<(Mapping, Shared<T>)> {
    let len = at.desc as usize + size as usize * size_of::<T>();
    let mapping = Mapping::new(len, fd, offset)?;
    let within = |offset: u64, bytes: usize| {
        let fits = offset.checked_add(bytes as u64).is_some_and(|end| end <= mapping.len() as u64);
        if !fits || !offset.is_multiple_of(4) {
            return Err(io::Error::other("ring offsets that make no sense"));
        }
        // SAFETY: offset + bytes lies within the mapping, as just checked.
        Ok(unsafe { mapping.base().add(offset as usize) })
    };
    let shared: Shared<T> = Shared {
        producer: within(at.producer, 4)?.cast_const().cast(),
        consumer: within(at.consumer, 4)?.cast_const().cast(),
        flags: within(at.flags, 4)?.cast_const().cast(),
        entries: within(at.desc, size as usize * size_of::<T>())?.cast(),
        size,
    };
    if !shared.entries.is_aligned() {
        return Err(io::Error::other("ring entries that are not aligned"));
    }
    Ok((mapping, shared))
}

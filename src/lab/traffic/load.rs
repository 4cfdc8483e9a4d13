//! An open-loop UDP load: it sends by the clock, whatever becomes of what it sent.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::payload::{Digest, Stream};
use super::unspecified;
use crate::lab::{Doing, LabError, Namespace};

/// The longest a load may run, whatever it is asked for.
const LONGEST: Duration = Duration::from_secs(600);
/// Silence after the last datagram that ends the receiver.
const QUIET: Duration = Duration::from_millis(400);
/// Between two bursts of the sender. Finer, and the sleeping costs more than the sending.
const TICK: Duration = Duration::from_millis(1);
/// Ticks a sender may be behind the clock and still make up for; what it misses beyond is never sent.
const CATCH_UP: u64 = 20;
const MAGIC: u32 = 0x5e1f_ed6e;

/// What stands in front of every payload.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    magic: U32,
    flow: U32,
    sequence: U64,
    /// Nanoseconds since the load began.
    sent_at: U64,
    /// Of everything else, before and after.
    digest: U64,
}

impl Head {
    fn digest_with(&self, body: &[u8]) -> u64 {
        let mut digest = Digest::default();
        digest.update(&self.as_bytes()[..HEAD - size_of::<U64>()]);
        digest.update(body);
        digest.finish()
    }
}

const HEAD: usize = size_of::<Head>();

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Datagrams a second, over all flows.
    pub rate: u32,
    /// Source ports.
    pub flows: u32,
    /// Bytes of UDP payload, at least 32.
    pub payload: usize,
    /// How long to send.
    pub duration: Duration,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { rate: 1000, flows: 4, payload: 64, duration: Duration::from_secs(1) }
    }
}

/// What was sent and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadCounts {
    /// Handed to the sender's kernel.
    pub sent: u64,
    /// Refused by the sender's kernel, or skipped because the sender fell behind the clock.
    pub unsent: u64,
    /// Different datagrams that arrived intact.
    pub received: u64,
    /// Sent and not (yet) received intact.
    pub lost: u64,
    /// Arrived again.
    pub duplicate: u64,
    /// Arrived after a later one of their flow.
    pub reordered: u64,
    /// Arrived with other bytes than were sent.
    pub corrupt: u64,
    /// One-way latency, sender's call to receiver's return, in microseconds: p50, p99, p99.9 and maximum.
    pub latency_us: [f64; 4],
}

#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    unsent: AtomicU64,
    received: AtomicU64,
    duplicate: AtomicU64,
    reordered: AtomicU64,
    corrupt: AtomicU64,
    stop: AtomicBool,
    sending_over: AtomicBool,
    latency: Mutex<Option<Histogram<u64>>>,
}

/// A running load. Dropping it ends it.
#[derive(Debug)]
pub struct UdpLoad {
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl UdpLoad {
    /// Begins to send from one namespace to a receiver in another, which is reached at `dst`.
    pub fn start(
        from: &Namespace,
        to: &Namespace,
        dst: impl Into<IpAddr>,
        options: LoadOptions,
    ) -> Result<Self, LabError> {
        let dst = dst.into();
        let saying = || format!("starting a UDP load from {} to {}", from.name(), to.name());
        let receiver = to.run(|| UdpSocket::bind((dst, 0)))?.doing(saying)?;
        receiver.set_read_timeout(Some(Duration::from_millis(50))).doing(saying)?;
        // Losses are to be the network's, never this socket's.
        let _ = set_socket_recv_buffer_size_force(&receiver, 8 << 20);
        let target = receiver.local_addr().doing(saying)?;
        let open = || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((unspecified(dst), 0))?;
            let _ = set_socket_send_buffer_size_force(&socket, 2 << 20);
            socket.connect(target)?;
            Ok(socket)
        };
        let flows = options.flows.max(1);
        let senders: std::io::Result<Vec<_>> = from.run(|| (0..flows).map(|_| open()).collect())?;
        let senders = senders.doing(saying)?;
        let tally = Arc::new(Tally::default());
        let epoch = Instant::now();
        let mut load = Self { tally: tally.clone(), threads: Vec::new() };
        let judge = Receiver::new(tally.clone(), epoch, flows);
        load.threads.push(spawn("lab-receive", move || judge.run(&receiver)).doing(saying)?);
        load.threads.push(spawn("lab-send", move || send(&senders, &tally, epoch, &options)).doing(saying)?);
        Ok(load)
    }

    /// What has happened so far. Datagrams on their way count as lost.
    pub fn counts(&self) -> LoadCounts {
        let t = &*self.tally;
        // Received first: the other order could find more received than sent.
        let received = t.received.load(Relaxed);
        let sent = t.sent.load(Relaxed).max(received);
        LoadCounts {
            sent,
            unsent: t.unsent.load(Relaxed),
            received,
            lost: sent - received,
            duplicate: t.duplicate.load(Relaxed),
            reordered: t.reordered.load(Relaxed),
            corrupt: t.corrupt.load(Relaxed),
            latency_us: t.latency.lock().ok().and_then(|h| h.as_ref().map(quantiles)).unwrap_or_default(),
        }
    }

    /// True once sender and receiver have ended by themselves.
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the load to end by itself, and says what became of it.
    pub fn wait(mut self) -> LoadCounts {
        self.join();
        self.counts()
    }

    /// Ends sending now, waits for what is on its way, and says what became of it.
    pub fn stop(self) -> LoadCounts {
        self.tally.stop.store(true, Relaxed);
        self.wait()
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for UdpLoad {
    fn drop(&mut self) {
        self.tally.stop.store(true, Relaxed);
        self.join();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(body)
}

fn quantiles(histogram: &Histogram<u64>) -> [f64; 4] {
    let at = |q| histogram.value_at_quantile(q) as f64 / 1e3;
    [at(0.5), at(0.99), at(0.999), histogram.max() as f64 / 1e3]
}

fn send(sockets: &[UdpSocket], tally: &Tally, epoch: Instant, options: &LoadOptions) {
    let duration = options.duration.min(LONGEST);
    let mut datagram = vec![0; options.payload.max(HEAD)];
    Stream::new(options.payload as u64).fill(&mut datagram[HEAD..]);
    let rate = f64::from(options.rate);
    let allowance = (rate * TICK.as_secs_f64()).ceil() as u64 * CATCH_UP;
    let start = Instant::now();
    let (mut next, mut turn) = (0_u64, 0_usize);
    let mut sequences = vec![0_u64; sockets.len()];
    while !tally.stop.load(Relaxed) && start.elapsed() < duration {
        let due = (start.elapsed().as_secs_f64() * rate) as u64;
        let skipped = due.saturating_sub(next).saturating_sub(allowance);
        tally.unsent.fetch_add(skipped, Relaxed);
        next += skipped;
        while next < due {
            next += 1;
            turn = (turn + 1) % sockets.len();
            stamp(&mut datagram, turn as u32, sequences[turn], epoch);
            if sockets[turn].send(&datagram).is_ok() {
                sequences[turn] += 1;
                tally.sent.fetch_add(1, Relaxed);
            } else {
                tally.unsent.fetch_add(1, Relaxed);
            }
        }
        thread::sleep(TICK);
    }
    tally.sending_over.store(true, Relaxed);
}

fn stamp(datagram: &mut [u8], flow: u32, sequence: u64, epoch: Instant) {
    let (front, body) = datagram.split_at_mut(HEAD);
    let mut head = Head {
        magic: MAGIC.into(),
        flow: flow.into(),
        sequence: sequence.into(),
        sent_at: (epoch.elapsed().as_nanos() as u64).into(),
        digest: 0.into(),
    };
    head.digest = head.digest_with(body).into();
    front.copy_from_slice(head.as_bytes());
}

/// What has been seen of one flow.
#[derive(Default)]
struct Seen {
    bitmap: Vec<u64>,
    highest: Option<u64>,
}

enum Arrival {
    New,
    Late,
    Again,
}

impl Seen {
    fn note(&mut self, sequence: u64) -> Arrival {
        let (word, bit) = ((sequence / 64) as usize, 1 << (sequence % 64));
        if word >= self.bitmap.len() {
            self.bitmap.resize(word + 1024, 0);
        }
        if self.bitmap[word] & bit != 0 {
            return Arrival::Again;
        }
        self.bitmap[word] |= bit;
        if self.highest.is_some_and(|highest| sequence < highest) {
            return Arrival::Late;
        }
        self.highest = Some(sequence);
        Arrival::New
    }
}

struct Receiver {
    tally: Arc<Tally>,
    epoch: Instant,
    seen: Vec<Seen>,
}

impl Receiver {
    fn new(tally: Arc<Tally>, epoch: Instant, flows: u32) -> Self {
        if let Ok(mut latency) = tally.latency.lock() {
            // One nanosecond to one minute, two digits.
            *latency = Histogram::new_with_bounds(1, 60_000_000_000, 2).ok();
        }
        Self { tally, epoch, seen: (0..flows).map(|_| Seen::default()).collect() }
    }

    fn run(mut self, socket: &UdpSocket) {
        let mut buffer = vec![0; 65_536];
        let mut last = Instant::now();
        let give_up = Instant::now() + LONGEST + QUIET;
        while Instant::now() < give_up {
            if let Ok(n) = socket.recv(&mut buffer) {
                last = Instant::now();
                self.judge(&buffer[..n], (last - self.epoch).as_nanos() as u64);
            }
            let t = &self.tally;
            let all_here = t.received.load(Relaxed) >= t.sent.load(Relaxed);
            // Even when everything is here, a duplicate may follow on its heels.
            let quiet = if all_here { QUIET / 8 } else { QUIET };
            if t.sending_over.load(Relaxed) && last.elapsed() > quiet {
                return;
            }
        }
    }

    fn judge(&mut self, datagram: &[u8], now: u64) {
        let t = &self.tally;
        let Ok((head, body)) = Head::ref_from_prefix(datagram) else {
            t.corrupt.fetch_add(1, Relaxed);
            return;
        };
        let flow = self.seen.get_mut(head.flow.get() as usize);
        let genuine = head.magic.get() == MAGIC && head.digest.get() == head.digest_with(body);
        let Some(flow) = flow.filter(|_| genuine) else {
            t.corrupt.fetch_add(1, Relaxed);
            return;
        };
        match flow.note(head.sequence.get()) {
            Arrival::Again => {
                t.duplicate.fetch_add(1, Relaxed);
                return;
            }
            Arrival::Late => {
                t.reordered.fetch_add(1, Relaxed);
            }
            Arrival::New => {}
        }
        t.received.fetch_add(1, Relaxed);
        if let Ok(mut latency) = t.latency.lock()
            && let Some(histogram) = latency.as_mut()
        {
            histogram.saturating_record(now.saturating_sub(head.sent_at.get()).max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(sequences: &[(u32, u64)]) -> LoadCounts {
        let tally = Arc::new(Tally::default());
        tally.sent.store(10, Relaxed);
        let epoch = Instant::now();
        let mut receiver = Receiver::new(tally.clone(), epoch, 2);
        for (flow, sequence) in sequences {
            let mut datagram = [0xa5; 64];
            stamp(&mut datagram, *flow, *sequence, epoch);
            receiver.judge(&datagram, 5_000_000_000);
        }
        UdpLoad { tally, threads: Vec::new() }.counts()
    }

    #[test]
    fn losses_duplicates_and_disorder_are_told_apart() {
        let counts = arrivals(&[(0, 0), (1, 0), (0, 2), (0, 1), (0, 2), (1, 3), (2, 0)]);
        assert_eq!((counts.sent, counts.received, counts.lost), (10, 5, 5));
        assert_eq!((counts.duplicate, counts.reordered, counts.corrupt), (1, 1, 1), "there is no flow 2");
        assert!(counts.latency_us[0] > 1e6, "{:?}", counts.latency_us);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_never_received() {
        let epoch = Instant::now();
        let mut datagram = [0xa5; 40];
        stamp(&mut datagram, 0, 0, epoch);
        for bit in 0..40 * 8 {
            let tally = Arc::new(Tally::default());
            let mut bad = datagram;
            bad[bit / 8] ^= 1 << (bit % 8);
            Receiver::new(tally.clone(), epoch, 1).judge(&bad, 1);
            let (received, corrupt) = (tally.received.load(Relaxed), tally.corrupt.load(Relaxed));
            assert_eq!((received, corrupt), (0, 1), "bit {bit}");
        }
        for length in 0..HEAD {
            let tally = Arc::new(Tally::default());
            Receiver::new(tally.clone(), epoch, 1).judge(&datagram[..length], 1);
            assert_eq!(tally.corrupt.load(Relaxed), 1, "{length}");
        }
    }
}

//! `selvedge pktgen`: a load generator and a receiver over AF_XDP, to measure a gateway with.
//!
//! The sender works in open loop: each packet has a time at which it should leave, which it carries, and latency is
//! counted from that time. So a system under test that stalls does not slow down the clock it is measured by.

mod options;
mod payload;
mod profile;
mod receiver;
mod report;
mod sender;
mod sequence;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, clock_gettime};

use super::args::Exit;
use crate::port::host::Interface;
use crate::port::{AttachMode, PortError, QueueSpec, ZeroCopy};
use crate::wire::eth;
pub use options::{PktgenOptions, Profile};
pub use profile::Size;
pub use report::Report;
pub use sender::{Rate, Spread};

/// Why there was no run.
#[derive(Debug)]
pub enum PktgenError {
    /// The options do not go together.
    Usage(String),
    /// This host cannot do it.
    Host(String),
    /// A socket or a program could not be set up.
    Port(PortError),
    /// Something else failed: what, and what the system said.
    System(&'static str, io::Error),
}

impl std::fmt::Display for PktgenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(what) | Self::Host(what) => f.write_str(what),
            Self::Port(e) => e.fmt(f),
            Self::System(what, e) => write!(f, "{what}: {e}"),
        }
    }
}

impl std::error::Error for PktgenError {}

impl From<PortError> for PktgenError {
    fn from(e: PortError) -> Self {
        Self::Port(e)
    }
}

impl PktgenError {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Host(_) | Self::Port(_) => Exit::Host,
            Self::System(..) => Exit::Runtime,
        }
    }
}

/// What both halves tell while they run.
#[derive(Debug, Default)]
struct Live {
    sent: AtomicU64,
    received: AtomicU64,
    missing: AtomicU64,
    /// The sender is done.
    over: AtomicBool,
    /// The sender failed: there is nothing to wait for.
    abandoned: AtomicBool,
}

/// CLOCK_MONOTONIC in nanoseconds: the same on all cores and in all namespaces.
#[inline]
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The command: runs, reports, and returns the exit code.
pub fn run(options: &PktgenOptions) -> ExitCode {
    let exit = match measure(options) {
        Ok(report) => {
            if options.json {
                println!("{}", report.json());
            } else {
                print!("{}", report.table());
            }
            if report.sound() { Exit::Ok } else { Exit::Runtime }
        }
        Err(error) => {
            eprintln!("selvedge pktgen: {error}");
            error.exit()
        }
    };
    exit.into()
}

/// One run: opens the receiver, sends, and waits for the last packet.
///
/// # Errors
/// What does not go together, or what this host lacks. Losses and damage are in the report.
pub fn measure(options: &PktgenOptions) -> Result<Report, PktgenError> {
    let flows = options.addresses().map_err(PktgenError::Usage)?;
    options.front(crate::wire::Mac::ZERO, crate::wire::Mac::ZERO).map_err(PktgenError::Usage)?;
    let tx = interface(&options.tx, options.tx_netns.as_deref())?;
    let rx = interface(&options.rx, options.rx_netns.as_deref())?;
    let front = options.front(tx.mac, rx.mac).map_err(PktgenError::Usage)?;
    let longest = front.len() + usize::from(options.size.longest());
    if longest - eth::LEN > tx.mtu as usize {
        let what = format!("{}: packets of {} bytes exceed its MTU of {}", tx.name, longest - eth::LEN, tx.mtu);
        return Err(PktgenError::Usage(what));
    }
    let chunk = if longest > 1600 { 4096 } else { 2048 };
    let zero_copy = if options.copy { ZeroCopy::Off } else { ZeroCopy::Auto };
    let stream = (now() as u32).rotate_left(16) ^ std::process::id();
    let receiver = receiver::Job {
        interface: rx,
        take: options.take(),
        mode: if options.generic { AttachMode::Generic } else { AttachMode::Native },
        zero_copy,
        chunk: if options.size.longest() > 1600 { 4096 } else { 2048 },
        flows: options.flows,
        stream,
    };
    let sender = sender::Job {
        at: QueueSpec { ifindex: tx.index, queue: options.tx_queue },
        zero_copy,
        builder: profile::Builder::new(&front, flows, options.size),
        chunk,
        flows: options.flows,
        spread: options.spread,
        rate: options.rate,
        seconds: options.seconds,
        stream,
    };
    both(options, sender, &receiver)
}

/// Runs both halves, each on a thread of its own in its namespace.
fn both(options: &PktgenOptions, sender: sender::Job, receiver: &receiver::Job) -> Result<Report, PktgenError> {
    let live = Live::default();
    let (ready, wait) = mpsc::channel();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            settle(options.rx_netns.as_deref(), options.rx_core)?;
            let listener = receiver::open(receiver)?;
            let _ = ready.send(()); // whoever waits is there until this thread ends
            drop(ready);
            listener.run(&live)
        });
        // also comes when the receiver ends before it is ready
        if wait.recv().is_err() {
            return Err(join(receiving).err().unwrap_or(PktgenError::Host("the receiver ended early".into())));
        }
        let sending = scope.spawn(|| {
            settle(options.tx_netns.as_deref(), options.tx_core)?;
            sender::run(sender, &live)
        });
        progress(options, &live, || sending.is_finished() || receiving.is_finished());
        let sent = join(sending);
        if let Ok(sent) = &sent {
            live.sent.store(sent.sent, Ordering::Relaxed);
            live.over.store(true, Ordering::Release);
        } else {
            live.abandoned.store(true, Ordering::Relaxed);
        }
        let received = join(receiving);
        Ok(Report::new(&sent?, &received?))
    })
}

fn join<T>(half: thread::ScopedJoinHandle<'_, Result<T, PktgenError>>) -> Result<T, PktgenError> {
    half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// One line a second on standard error until `done`.
fn progress(options: &PktgenOptions, live: &Live, done: impl Fn() -> bool) {
    let (mut seconds, mut before, mut last) = (0, [0; 2], now());
    while !done() {
        thread::sleep(Duration::from_millis(20));
        let time = now();
        if options.json || time - last < 1_000_000_000 {
            continue;
        }
        let count = [&live.sent, &live.received].map(|n| n.load(Ordering::Relaxed));
        let [sent, received] = [0, 1].map(|i| (count[i] - before[i]) as f64 * 1e9 / (time - last) as f64);
        let missing = live.missing.load(Ordering::Relaxed);
        seconds += 1;
        eprintln!("{seconds:>4} s   sent {sent:>10.0}/s   received {received:>10.0}/s   missing {missing}");
        (before, last) = (count, time);
    }
}

/// Moves the calling thread to its namespace and its core.
fn settle(netns: Option<&str>, core: Option<u16>) -> Result<(), PktgenError> {
    if let Some(name) = netns {
        let failed = |e: io::Error| PktgenError::Host(format!("network namespace {name}: {e}"));
        let file = File::open(Path::new("/run/netns").join(name)).map_err(failed)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|e| failed(e.into()))?;
    }
    match core {
        Some(core) if !core_affinity::set_for_current(core_affinity::CoreId { id: usize::from(core) }) => {
            Err(PktgenError::Host(format!("core {core} is not there, or not for this process")))
        }
        _ => Ok(()),
    }
}

/// Looks at an interface, on a thread of its namespace.
fn interface(name: &str, netns: Option<&str>) -> Result<Interface, PktgenError> {
    let look = || {
        settle(netns, None)?;
        Interface::query(name).map_err(|e| PktgenError::Host(format!("interface {name}: {e}")))
    };
    let found = thread::scope(|scope| join(scope.spawn(look)))?;
    if !found.up {
        return Err(PktgenError::Host(format!("interface {name} is down: ip link set {name} up")));
    }
    Ok(found)
}

//! One run: both halves on threads of their own, each in its namespace and on its core, and somebody watching.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::counters::InterfaceCounts;
use super::live::Live;
use super::options::RunOptions;
use super::receiver::{self, Received};
use super::report::Report;
use super::sender::{self, Sent};
use super::view::View;
use super::{PktgenError, now};
use crate::cli::screen::Screen;
use crate::cli::stop::Stop;
use crate::port::host::Interface;
use crate::port::{AttachMode, QueueSpec, ZeroCopy};
use crate::wire::eth;

/// Between two looks at whether a run without a screen is over.
const GLANCE: Duration = Duration::from_millis(20);
/// Longest packets that fit the smaller of two chunk sizes, with headroom.
const SMALL: usize = 1600;
/// How long the interfaces' counters may take to catch up: some drivers read them out every two seconds.
const SETTLE: u64 = 2_500_000_000;

/// One end: an interface, and where it is.
#[derive(Clone, Copy)]
struct Place<'a> {
    interface: &'a str,
    netns: Option<&'a str>,
}

/// Opens the receiver, sends, waits for the last packet, and closes the books.
///
/// # Errors
/// What does not go together, or what this host lacks. Losses and damage are in the report.
pub(super) fn run(options: &RunOptions, stop: &Stop) -> Result<Report, PktgenError> {
    let traffic = options.traffic.traffic().map_err(PktgenError::Usage)?;
    let stream = (now() as u32).rotate_left(16) ^ std::process::id();
    let expect = options.expect(&traffic, stream).map_err(PktgenError::Usage)?;
    let ends = places(options)?;
    let [tx, rx] = [interface(ends[0])?, interface(ends[1])?];
    let shape = traffic.shape(options.traffic.link(tx.mac, rx.mac));
    let longest = shape.front() + usize::from(traffic.longest());
    if longest - eth::LEN > tx.mtu as usize {
        let what = format!("{}: packets of {} bytes exceed its MTU of {}", tx.name, longest - eth::LEN, tx.mtu);
        return Err(PktgenError::Usage(what));
    }
    let chunk = |longest: usize| if longest > SMALL { 4096 } else { 2048 };
    let zero_copy = if options.copy { ZeroCopy::Off } else { ZeroCopy::Auto };
    let sender = sender::Job {
        at: QueueSpec::new(tx.index, options.tx_queue),
        zero_copy,
        builder: traffic.builder(&shape),
        choice: options.traffic.choice(&traffic),
        chunk: chunk(longest),
        flows: options.traffic.flows,
        rate: options.traffic.rate,
        seconds: options.traffic.seconds,
        stream,
    };
    let receiver = receiver::Job {
        interface: rx,
        expect,
        mode: if options.generic { AttachMode::Generic } else { AttachMode::Native },
        zero_copy,
        chunk: chunk(usize::from(traffic.longest())),
    };
    let before = counts(ends)?;
    let (sent, got) = both(options, sender, receiver, stop)?;
    let interfaces = settled(ends, &before, &sent, &got)?;
    Ok(Report::new(&sent, &got, interfaces, options.traffic.rate, options.traffic.seed))
}

fn places(options: &RunOptions) -> Result<[Place<'_>; 2], PktgenError> {
    let missing = |option: &str| PktgenError::Usage(format!("{option} is missing"));
    let tx = options.tx.as_deref().ok_or_else(|| missing("--tx"))?;
    let rx = options.rx.as_deref().ok_or_else(|| missing("--rx"))?;
    Ok([
        Place { interface: tx, netns: options.tx_netns.as_deref() },
        Place { interface: rx, netns: options.rx_netns.as_deref() },
    ])
}

/// Runs both halves.
fn both(
    options: &RunOptions,
    sender: sender::Job,
    receiver: receiver::Job,
    stop: &Stop,
) -> Result<(Sent, Received), PktgenError> {
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
        watch(options, &live, stop, || sending.is_finished() || receiving.is_finished());
        let sent = join(sending);
        if let Ok(sent) = &sent {
            live.sent.store(sent.accepted, Relaxed);
            live.over.store(true, Release);
        } else {
            live.abandoned.store(true, Relaxed);
        }
        let received = join(receiving);
        Ok((sent?, received?))
    })
}

fn join<T>(half: thread::ScopedJoinHandle<'_, Result<T, PktgenError>>) -> Result<T, PktgenError> {
    half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Shows what happens until `done`, and hands on the wish to end.
fn watch(options: &RunOptions, live: &Live, stop: &Stop, done: impl Fn() -> bool) {
    let start = now();
    let mut last = start;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let title = format!("{} to {}", name(&options.tx), name(&options.rx));
    let mut view = View::new(title, options.traffic.seconds * 1_000_000_000);
    let mut screen = if options.json { None } else { Some(Screen::open(options.plain)) };
    while !done() {
        match &mut screen {
            Some(screen) if !screen.is_plain() => screen.turn(|frame| view.draw(frame), stop),
            _ => thread::sleep(GLANCE),
        }
        live.stop.store(stop.asked(), Relaxed);
        let time = now();
        view.elapsed = time - start;
        if time - last < 1_000_000_000 {
            continue;
        }
        view.advance(live, time - last);
        last = time;
        if screen.as_ref().is_some_and(Screen::is_plain) {
            eprintln!("{}", view.line());
        }
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

/// Asks something on a thread of a namespace.
fn ask<T: Send>(place: Place<'_>, question: impl FnOnce(&str) -> io::Result<T> + Send) -> Result<T, PktgenError> {
    let name = place.interface;
    let look = || {
        settle(place.netns, None)?;
        question(name).map_err(|e| PktgenError::Host(format!("interface {name}: {e}")))
    };
    thread::scope(|scope| join(scope.spawn(look)))
}

/// Looks at an interface.
fn interface(place: Place<'_>) -> Result<Interface, PktgenError> {
    let found = ask(place, Interface::query)?;
    if !found.up {
        let name = place.interface;
        return Err(PktgenError::Host(format!("interface {name} is down: ip link set {name} up")));
    }
    Ok(found)
}

fn counts(ends: [Place<'_>; 2]) -> Result<[InterfaceCounts; 2], PktgenError> {
    Ok([ask(ends[0], InterfaceCounts::read)?, ask(ends[1], InterfaceCounts::read)?])
}

/// What the interfaces counted since `before`, once they have counted what is known to have passed, or have had time to.
fn settled(
    ends: [Place<'_>; 2],
    before: &[InterfaceCounts; 2],
    sent: &Sent,
    got: &Received,
) -> Result<[InterfaceCounts; 2], PktgenError> {
    let deadline = now() + SETTLE;
    loop {
        let now_counted = counts(ends)?;
        let [tx, rx] = [0, 1].map(|i| now_counted[i].since(&before[i]));
        let caught_up = tx.tx_packets + tx.tx_dropped >= sent.completed && rx.rx_packets >= got.xdp.taken;
        if caught_up || now() > deadline {
            return Ok([tx, rx]);
        }
        thread::sleep(GLANCE);
    }
}

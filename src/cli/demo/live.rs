//! The load over all journeys at once, and somebody watching it.

use std::time::{Duration, Instant};

use super::gateway::{self, Gateway};
use super::journeys::Journey;
use super::view::{Lane, View};
use super::{DemoError, DemoOptions, Stop, say};
use crate::cli::screen::Screen;
use crate::lab::scrape::Samples;
use crate::lab::traffic::{LoadCounts, LoadOptions, UdpLoad};

/// Between two values of a rate.
const SECOND: Duration = Duration::from_secs(1);
/// What a load may take beyond its time.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of payload: neither the smallest packet nor one at the edge of the MTU.
const PAYLOAD: usize = 128;
const FLOWS: u32 = 8;

/// Sends UDP over all journeys for the time asked for, and enters the counts into the journeys. Returns what the
/// gateway's metrics said before.
pub(super) fn run(
    journeys: &mut [Journey],
    gateway: &mut Gateway,
    options: &DemoOptions,
    stop: &Stop,
) -> Result<Samples, DemoError> {
    let before = gateway.settled().unwrap_or_default();
    let duration = Duration::from_secs(options.seconds);
    say(format_args!("sending {} packets a second over each journey for {} s", options.rate, options.seconds));
    let load = LoadOptions { rate: options.rate, flows: FLOWS, payload: PAYLOAD, duration };
    // The view first: a terminal that cannot be had is no reason to have sent anything.
    let mut screen = Screen::open(options.plain);
    let start = |j: &Journey| UdpLoad::start(&j.from.ns, &j.to.ns, j.to.address, load);
    let loads: Vec<UdpLoad> = journeys.iter().map(start).collect::<Result<_, _>>()?;
    let mut view = View { total: duration, ..View::default() };
    view.lanes = journeys.iter().map(|j| Lane { kind: j.kind, label: j.label, ..Lane::default() }).collect();
    watch(&loads, &mut view, &mut screen, (gateway, &before), stop)?;
    drop(screen);
    for (journey, load) in journeys.iter_mut().zip(loads) {
        journey.udp = Some(load.stop());
    }
    Ok(before)
}

fn watch(
    loads: &[UdpLoad],
    view: &mut View,
    screen: &mut Screen,
    (gateway, before): (&mut Gateway, &Samples),
    stop: &Stop,
) -> Result<(), DemoError> {
    let start = Instant::now();
    let mut last = start;
    while !loads.iter().all(UdpLoad::is_over) && start.elapsed() < view.total + GRACE {
        screen.turn(|frame| view.draw(frame), stop);
        stop.check()?;
        gateway.check_alive()?;
        view.elapsed = start.elapsed();
        if last.elapsed() >= SECOND {
            let counts: Vec<LoadCounts> = loads.iter().map(UdpLoad::counts).collect();
            view.advance(&counts, last.elapsed());
            last = Instant::now();
            // A scrape that fails once leaves the last values on the screen.
            if let Ok(samples) = gateway.scrape() {
                view.drops = gateway::drops(&samples);
                view.latency = gateway::latency(&samples, before);
            }
            if screen.is_plain() {
                say(format_args!("{}", view.line()));
            }
        }
    }
    Ok(())
}

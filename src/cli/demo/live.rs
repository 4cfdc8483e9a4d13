//! The load over all journeys at once, and somebody watching it.

use std::time::{Duration, Instant};

use super::gateway::{self, Gateway};
use super::journeys::Journey;
use super::view::{Lane, View};
use super::{DemoError, DemoOptions, Stop, say};
use crate::cli::screen::Screen;
use crate::lab::scrape::Samples;
use crate::lab::traffic::{LoadCounts, LoadOptions, UdpLoad};
use crate::lab::{Host, LabError};

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
    // The view first: a terminal that cannot be had is no reason to have sent anything.
    let mut screen = Screen::open(options.plain);
    let start = |j: &Journey| load(&j.from, &j.to, options.rate, duration);
    let loads: Vec<UdpLoad> = journeys.iter().map(start).collect::<Result<_, _>>()?;
    let mut view = View { total: duration, lanes: lanes(journeys), ..View::default() };
    let over = |view: &mut View| loads.iter().all(UdpLoad::is_over) || view.elapsed >= view.total + GRACE;
    Watch { loads: &loads, gateway, before: &before, stop }.until(over, &mut view, &mut screen)?;
    drop(screen);
    end(journeys, loads);
    Ok(before)
}

/// Begins to send from one host to another.
pub(super) fn load(from: &Host, to: &Host, rate: u32, duration: Duration) -> Result<UdpLoad, LabError> {
    let options = LoadOptions { rate, flows: FLOWS, payload: PAYLOAD, duration };
    UdpLoad::start(&from.ns, &to.ns, to.address, options)
}

/// What is shown of the journeys.
pub(super) fn lanes(journeys: &[Journey]) -> Vec<Lane> {
    journeys.iter().map(|j| Lane { kind: j.kind, label: j.label, ..Lane::default() }).collect()
}

/// Ends the loads of the journeys, and enters the counts into them.
pub(super) fn end(journeys: &mut [Journey], loads: Vec<UdpLoad>) {
    for (journey, load) in journeys.iter_mut().zip(loads) {
        journey.udp = Some(load.stop());
    }
}

/// What is watched.
pub(super) struct Watch<'a> {
    /// Of each lane of the view, in its order.
    pub(super) loads: &'a [UdpLoad],
    pub(super) gateway: &'a mut Gateway,
    /// What the gateway's metrics said before the loads.
    pub(super) before: &'a Samples,
    pub(super) stop: &'a Stop,
}

impl Watch<'_> {
    /// Shows it until it is over, or somebody wants it to be.
    pub(super) fn until(
        self,
        mut over: impl FnMut(&mut View) -> bool,
        view: &mut View,
        screen: &mut Screen,
    ) -> Result<(), DemoError> {
        let start = Instant::now();
        let mut last = start;
        while !over(view) {
            screen.turn(|frame| view.draw(frame), self.stop);
            self.stop.check()?;
            self.gateway.check_alive()?;
            view.elapsed = start.elapsed();
            if last.elapsed() >= SECOND {
                let counts: Vec<LoadCounts> = self.loads.iter().map(UdpLoad::counts).collect();
                view.advance(&counts, last.elapsed());
                last = Instant::now();
                // A scrape that fails once leaves the last values on the screen.
                if let Ok(samples) = self.gateway.scrape() {
                    view.drops = gateway::drops(&samples);
                    view.latency = gateway::latency(&samples, self.before);
                }
                if screen.is_plain() {
                    say(format_args!("{}", view.line()));
                }
            }
        }
        Ok(())
    }
}

//! Pods that come, move and go, at a rate, without end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use selvedge::control::source::Change;
use selvedge::tables::handover::Publisher;
use selvedge::wire::Prefix;

use super::stall::Stalls;
use super::world::{Control, PODS, pod, route};

/// Of as many changes of a pod that is there, one takes it away; the others move it.
const GOES: u64 = 4;

/// Which pods are where, and the control plane that knows.
pub(crate) struct Churn {
    control: Control,
    publisher: Publisher,
    there: Vec<bool>,
    random: Xoshiro256PlusPlus,
}

/// What a while of changes was like.
pub(crate) struct Changed {
    pub(crate) changes: u64,
    pub(crate) versions: u64,
    pub(crate) took: Duration,
    /// Time spent with changing and publishing, of `took`.
    pub(crate) busy: Duration,
    /// Nanoseconds from the begin of publishing a version until the worker uses it.
    pub(crate) adoption: Histogram<u64>,
    /// Nanoseconds from when a version's oldest change was due until the worker uses it.
    pub(crate) visible: Histogram<u64>,
    /// Changes, publishing included, that took so long that the machine must have stopped.
    pub(crate) stalls: Stalls,
}

/// How a while of changes is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Changes a second; with 0 there are none, and the time is spent on waiting for one as ever.
    pub(crate) rate: f64,
    /// Between two published versions.
    pub(crate) every: Duration,
    /// What counts as a stall.
    pub(crate) stall: Duration,
}

impl Changed {
    pub(crate) fn rate(&self) -> f64 {
        self.changes as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn cpu(&self) -> f64 {
        self.busy.as_secs_f64() / self.took.as_secs_f64()
    }
}

/// A version on its way.
struct Under {
    epoch: u32,
    /// When publishing began, and when its oldest change was due.
    began: Instant,
    oldest: Instant,
}

impl Churn {
    /// All pods are at home, and `control` knows it.
    pub(crate) fn new(control: Control, publisher: Publisher, pods: usize, seed: u64) -> Self {
        Self { control, publisher, there: vec![true; pods], random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// Makes changes, each when it is due, and publishes them, until told to stop. Sets `running` when it begins.
    pub(crate) fn run(&mut self, pace: Pace, running: &AtomicBool, stop: &AtomicBool) -> Changed {
        let mut out = Changed {
            changes: 0,
            versions: 0,
            took: Duration::ZERO,
            busy: Duration::ZERO,
            adoption: histogram(),
            visible: histogram(),
            stalls: Stalls::longer_than(pace.stall),
        };
        running.store(true, Ordering::Relaxed);
        let start = Instant::now();
        let due = |n: u64| match pace.rate {
            0.0 => None,
            rate => Some(start + Duration::from_secs_f64(n as f64 / rate)),
        };
        let (mut publish_at, mut oldest, mut under) = (start + pace.every, 0, None);
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            out.stalls.look((now - start).as_nanos() as u64);
            if due(out.changes).is_some_and(|due| due <= now) {
                self.change();
                out.changes += 1;
                out.busy += now.elapsed();
            }
            if now >= publish_at && oldest < out.changes {
                let began = Instant::now();
                let tables = self.control.publish();
                let epoch = tables.epoch();
                self.publisher.publish(tables);
                out.busy += began.elapsed();
                out.versions += 1;
                under = under.or(due(oldest).map(|oldest| Under { epoch, began, oldest }));
                (publish_at, oldest) = (now.max(publish_at) + pace.every, out.changes);
            }
            self.watch(&mut under, &mut out);
        }
        out.took = start.elapsed();
        out
    }

    /// Looks whether a version has arrived.
    fn watch(&self, under: &mut Option<Under>, out: &mut Changed) {
        let adopted = self.publisher.adopted();
        if let Some(there) = under.take_if(|u| adopted >= u.epoch) {
            out.adoption.saturating_record(there.began.elapsed().as_nanos() as u64);
            out.visible.saturating_record(there.oldest.elapsed().as_nanos() as u64);
        }
    }

    fn change(&mut self) {
        let (n, draw) = ((self.random.next_u64() % self.there.len() as u64) as usize, self.random.next_u64());
        let gone = self.there[n] && draw.is_multiple_of(GOES);
        let nodes = self.there.len().div_ceil(PODS);
        let change = match gone {
            true => Change::Withdraw(Prefix::host(pod(n).into())),
            false => Change::Announce(route(n, (draw >> 8) as usize % nodes)),
        };
        self.there[n] = !gone;
        self.control.change(change);
    }

    /// Routes in the tables, and how many there should be.
    pub(crate) fn routes(&mut self) -> (usize, usize) {
        let (pods, there) = (self.there.len(), self.there.iter().filter(|t| **t).count());
        (self.control.routes(), there + pods.div_ceil(PODS) + 1)
    }
}

/// Of nanoseconds, to a thousandth, up to a minute. Its pages are there before anything is timed.
pub(crate) fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("legal bounds");
    histogram.reset();
    histogram
}

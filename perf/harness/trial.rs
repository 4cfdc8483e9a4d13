//! One trial: a workload at a rate through a system, what came out, and the books.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::bed::Bed;
use crate::flood::{Counter, send};
use crate::foreign;
use crate::ledger::{Drops, kernel_drops, since};
use crate::peers::{Cost, System};
use crate::stats::Histogram;
use crate::workload::{Journey, Workload, expectation};

/// Time at the start of a flood that is not measured: rings fill, caches warm, clocks rise.
const WARM_UP: Duration = Duration::from_millis(150);
/// What other programs may take of one core.
const OTHERS: f64 = 0.05;
/// How late the generator may be at most, as a share of the trial.
const LATE: f64 = 0.1;
/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between one look and the next.
const PAUSE: Duration = Duration::from_millis(5);
/// Looks at most, until all that is in flight has arrived or is in a counter.
const SETTLE: usize = 40;

/// What became of a trial.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    /// Frames sent a second: the intended rate, or what the generator managed at full speed.
    pub(crate) offered: f64,
    /// Frames that arrived as they should, a second, while the flood was in full flow.
    pub(crate) rate: f64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Arrived, but not transformed as they should be.
    pub(crate) wrong: u64,
    /// Where the others went.
    pub(crate) drops: Drops,
    /// Sent, and in no counter; below zero where something was counted twice.
    pub(crate) unaccounted: i64,
    /// From the intended time of sending; empty at full speed.
    #[serde(skip)]
    pub(crate) latency: Histogram,
    pub(crate) latency_max_ns: u64,
    /// How late the generator itself was.
    #[serde(skip)]
    pub(crate) late: Histogram,
    pub(crate) late_max_ns: u64,
    pub(crate) seconds: f64,
    /// The generator was at work for as long as the rate was taken.
    pub(crate) in_time: bool,
    /// CPU time of other programs meanwhile, as a share of one core.
    pub(crate) others: f64,
    /// What the system spent on it, where it can be told.
    pub(crate) cost: Option<Cost>,
}

impl Trial {
    /// False when the books do not balance, or the rate was taken when the flood was over: the trial proves nothing.
    pub(crate) fn balanced(&self) -> bool {
        self.unaccounted == 0 && self.wrong == 0 && self.sent > 0 && self.in_time
    }

    /// False when other programs took part of the cores.
    pub(crate) fn undisturbed(&self) -> bool {
        self.others <= OTHERS
    }

    /// The share of frames that did not arrive.
    pub(crate) fn loss(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }

    /// False when the generator fell far behind its own schedule: the rate was never offered. A system that works on the
    /// generator's core, too, as kernels do, can bring that about.
    pub(crate) fn on_time(&self) -> bool {
        self.late_max_ns as f64 <= LATE * self.seconds * 1e9
    }
}

/// Frames of a watched flood.
pub(crate) struct Sums {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// How late the generator was at most. Then it sends all that is due at once, far above the rate.
    pub(crate) late_max_ns: u64,
}

/// A bed with its system and counter, ready for one trial after the other.
pub(crate) struct Bench<'a> {
    bed: &'a Bed,
    system: &'a dyn System,
    workload: Workload,
    counter: Counter,
    headers: PathBuf,
    _room: tempfile::TempDir,
    run: u32,
}

fn number(value: &Value, field: &str) -> Result<u64> {
    value[field].as_u64().ok_or_else(|| format!("no `{field}` in {value}").into())
}

fn histogram(value: &Value) -> Histogram {
    let pair = |v: &Value| Some([v.get(0)?.as_u64()?, v.get(1)?.as_u64()?]);
    Histogram(value.as_array().into_iter().flatten().filter_map(pair).collect())
}

impl<'a> Bench<'a> {
    pub(crate) fn new(bed: &'a Bed, system: &'a dyn System, workload: &Workload) -> Result<Self> {
        let expected = expectation(workload.journey, system.raw());
        let room = tempfile::tempdir()?;
        let headers = room.path().join("headers");
        workload.write(&headers)?;
        let counter = Counter::new(workload.ends(bed)[1], &expected)?;
        let run = first_run(workload.journey);
        Ok(Self { bed, system, workload: workload.clone(), counter, headers, _room: room, run })
    }

    /// Sends at `rate` packets a second (`None`: as fast as the generator can) for some seconds.
    pub(crate) fn trial(&mut self, rate: Option<u64>, seconds: f64) -> Result<Trial> {
        self.system.wake(true)?;
        let done = self.awake_trial(rate, seconds);
        self.system.wake(false)?;
        done
    }

    /// Sends at a rate, and shows the latency so far every `step`, with the seconds since the start.
    pub(crate) fn watched(
        &mut self,
        rate: u64,
        seconds: f64,
        step: Duration,
        mut look: impl FnMut(f64, &Histogram) -> Result<()>,
    ) -> Result<Sums> {
        self.run += 1;
        self.counter.expect(self.run)?;
        let before = self.drops()?;
        let from = self.workload.ends(self.bed)[0];
        let sending = send(from, &self.workload, &self.headers, self.run, Some(rate), seconds)?;
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            let now = self.counter.read()?;
            look(start.elapsed().as_secs_f64(), &histogram(&now["latency"]))?;
            thread::sleep(step);
        }
        let report = sending.finish()?;
        let sent = number(&report, "frames")?;
        let end = self.settle(&before, sent)?;
        Ok(Sums { sent, received: number(&end, "frames")?, late_max_ns: number(&report, "latest_ns")? })
    }

    fn awake_trial(&mut self, rate: Option<u64>, seconds: f64) -> Result<Trial> {
        self.run += 1;
        self.counter.expect(self.run)?;
        let before = self.drops()?;
        let began = self.system.cost()?;
        let (clock, quiet) = (Instant::now(), foreign::read()?);
        let from = self.workload.ends(self.bed)[0];
        let flood = seconds + if rate.is_none() { 2.0 * WARM_UP.as_secs_f64() } else { 0.0 };
        let mut sending = send(from, &self.workload, &self.headers, self.run, rate, flood)?;
        let full_flow = match rate {
            None => Some(self.full_flow(seconds)?),
            Some(_) => None,
        };
        let in_time = full_flow.is_none() || sending.goes_on()?;
        let sent = sending.finish()?;
        let others = foreign::read()?.others_since(&quiet) / clock.elapsed().as_secs_f64();
        let end = self.settle(&before, number(&sent, "frames")?)?;
        let cost = self.system.cost()?.zip(began).map(|(now, then)| now.since(&then));
        let received = number(&end, "frames")?;
        let frames = number(&sent, "frames")?;
        let drops = since(&before, &self.drops()?);
        let stray = number(&end, "strange")?;
        let told = received + number(&end, "wrong")? + drops.values().sum::<u64>();
        Ok(Trial {
            offered: frames as f64 / flood,
            rate: full_flow.unwrap_or(received as f64 / seconds),
            sent: frames,
            received,
            wrong: number(&end, "wrong")?,
            // a frame of an earlier trial upsets the books of both
            unaccounted: frames as i64 - told as i64 - stray as i64,
            drops,
            latency: histogram(&end["latency"]),
            latency_max_ns: number(&end, "latest_ns")?,
            late: histogram(&sent["late"]),
            late_max_ns: number(&sent, "latest_ns")?,
            seconds,
            in_time,
            others,
            cost,
        })
    }

    fn drops(&self) -> Result<Drops> {
        let mut drops = kernel_drops(self.bed)?;
        drops.extend(self.system.drops()?);
        Ok(drops)
    }

    /// Frames a second in the middle of a flood.
    fn full_flow(&mut self, seconds: f64) -> Result<f64> {
        // the sender loads its program and its flows first
        let deadline = Instant::now() + PATIENCE;
        while number(&self.counter.count()?, "frames")? == 0 {
            if Instant::now() > deadline {
                return Err(format!("{}: nothing arrives: {}", self.workload, self.counter.count()?).into());
            }
            thread::sleep(PAUSE);
        }
        thread::sleep(WARM_UP);
        let first = self.counter.count()?;
        thread::sleep(Duration::from_secs_f64(seconds));
        let last = self.counter.count()?;
        let delta = |field| -> Result<f64> { Ok((number(&last, field)? - number(&first, field)?) as f64) };
        Ok(delta("frames")? * 1e9 / delta("at_ns")?)
    }

    /// Waits until every frame is somewhere, or until nothing moves any more.
    fn settle(&mut self, before: &Drops, sent: u64) -> Result<Value> {
        let (mut told, mut still) = (0, 0);
        for _ in 0..SETTLE {
            let now = self.counter.count()?;
            let lost: u64 = since(before, &self.drops()?).values().sum();
            let sum = number(&now, "frames")? + number(&now, "wrong")? + lost;
            still = if sum == told { still + 1 } else { 0 };
            told = sum;
            if sum == sent || still == SETTLE / 4 {
                break;
            }
            thread::sleep(4 * PAUSE);
        }
        self.counter.read()
    }
}

/// The first run of a journey: the upper half tells test frames from others.
fn first_run(journey: Journey) -> u32 {
    0x5e1f_0000 + ((journey as u32) << 12)
}

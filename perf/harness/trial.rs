//! One trial: a workload at a rate through a system, and what came out.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::bed::Bed;
use crate::flood::{Counter, send};
use crate::workload::{Journey, Workload};

/// Time at the start of a flood that is not measured: rings fill, caches warm, clocks rise.
const WARM_UP: Duration = Duration::from_millis(150);
/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between one look and the next.
const PAUSE: Duration = Duration::from_millis(5);
/// Looks at most, until all that is in flight has arrived or is lost.
const SETTLE: usize = 50;

/// A bed with its counter, ready for one trial after the other.
pub(crate) struct Bench<'a> {
    bed: &'a Bed,
    workload: Workload,
    counter: Counter,
    headers: PathBuf,
    _room: tempfile::TempDir,
    run: u32,
}

pub(crate) fn number(value: &Value, field: &str) -> Result<u64> {
    value[field].as_u64().ok_or_else(|| format!("no `{field}` in {value}").into())
}

impl<'a> Bench<'a> {
    pub(crate) fn new(bed: &'a Bed, workload: &Workload) -> Result<Self> {
        let room = tempfile::tempdir()?;
        let headers = room.path().join("headers");
        workload.write(&headers)?;
        let counter = Counter::new(workload.ends(bed)[1], workload.journey)?;
        Ok(Self { bed, workload: workload.clone(), counter, headers, _room: room, run: tag(workload.journey) })
    }

    /// Packets a second that arrive while the generator sends as fast as it can, and how many it offered.
    pub(crate) fn max_rate(&mut self, seconds: f64) -> Result<[f64; 2]> {
        self.run += 1;
        self.counter.expect(self.run)?;
        let from = self.workload.ends(self.bed)[0];
        let whole = seconds + 2.0 * WARM_UP.as_secs_f64();
        let sending = send(from, &self.workload, &self.headers, self.run, None, whole)?;
        // the sender loads its program and its flows first
        self.first_frame()?;
        thread::sleep(WARM_UP);
        let first = self.counter.count()?;
        thread::sleep(Duration::from_secs_f64(seconds));
        let last = self.counter.count()?;
        let sent = sending.finish()?;
        self.settle()?;
        let delta = |field| -> Result<f64> { Ok((number(&last, field)? - number(&first, field)?) as f64) };
        let offered = number(&sent, "frames")? as f64 / sent["seconds"].as_f64().unwrap_or(f64::NAN);
        Ok([delta("frames")? * 1e9 / delta("at_ns")?, offered])
    }

    /// Waits until something of this run has arrived.
    fn first_frame(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while number(&self.counter.count()?, "frames")? == 0 {
            if Instant::now() > deadline {
                return Err(format!("{}: nothing arrived: {}", self.workload, self.counter.count()?).into());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits until nothing more arrives.
    fn settle(&mut self) -> Result<()> {
        let mut before = 0;
        for _ in 0..SETTLE {
            let now = number(&self.counter.count()?, "frames")?;
            if now == before {
                break;
            }
            before = now;
            thread::sleep(4 * PAUSE);
        }
        Ok(())
    }
}

/// The first run of a journey: the upper half tells test frames from others.
fn tag(journey: Journey) -> u32 {
    0x5e1f_0000 + ((journey as u32) << 12)
}

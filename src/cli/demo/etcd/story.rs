//! What happens under load: a node joins and moves, etcd is killed and comes back, the node leaves. Each is measured by the
//! packets of one more load, which goes to that node.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Sender;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::meter::{Meter, lost};
use super::stage::Stage;
use crate::cli::demo::human;
use crate::cli::demo::summary::TOLERATED_LOSS;
use crate::lab::LabError;
use crate::lab::traffic::UdpLoad;

/// How long a change may take to show: after etcd was away, the gateway may be in the middle of a pause of 2 s.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long etcd is away at least: shorter, and the gateway may not even notice.
const AWAY: Duration = Duration::from_secs(1);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(20);
/// Where the guest goes, by the last number of its underlay address.
const SECOND_PLACE: u8 = 31;
const THIRD_PLACE: u8 = 41;

/// One event; the error says what should have happened.
type Act<'a> = fn(&mut Story<'a>) -> Result<(), String>;

/// etcd's absence.
struct Away {
    since: Instant,
    /// What had arrived and what had been lost of the journeys' packets when it began.
    arrived: u64,
    lost: u64,
}

/// Everything the acts have to do with.
pub(super) struct Story<'a> {
    stage: &'a mut Stage,
    /// Must not notice anything.
    journeys: &'a [UdpLoad],
    /// Goes to the node that comes and goes.
    guest: &'a UdpLoad,
    news: Sender<String>,
    ended: &'a AtomicBool,
    began: Instant,
    away: Option<Away>,
}

impl<'a> Story<'a> {
    pub(super) fn new(
        stage: &'a mut Stage,
        (journeys, guest): (&'a [UdpLoad], &'a UdpLoad),
        news: Sender<String>,
        ended: &'a AtomicBool,
    ) -> Self {
        Self { stage, journeys, guest, news, ended, began: Instant::now(), away: None }
    }

    /// What happens, each after a part of the time asked for, or as soon as what is before it has ended.
    const ACTS: [(f64, Act<'a>); 6] = [
        (0.10, Self::joins),
        (0.25, Self::moves),
        (0.40, Self::is_killed),
        (0.50, Self::moves_unseen),
        (0.65, Self::returns),
        (0.85, Self::leaves),
    ];

    /// Plays it from beginning to end. Returns what should have happened and did not.
    pub(super) fn play(mut self, total: Duration) -> Vec<String> {
        let mut failures = Vec::new();
        for (part, act) in Self::ACTS {
            self.wait_until(self.began + total.mul_f64(part));
            let outcome = if self.has_ended() { Ok(()) } else { act(&mut self) };
            if self.has_ended() {
                // what did not come may have been about to
                failures.push("it ended before all had happened".into());
                break;
            }
            if let Err(failure) = outcome {
                self.say(format!("NOT AS IT SHOULD BE: {failure}"));
                failures.push(failure);
            }
        }
        failures
    }

    fn joins(&mut self) -> Result<(), String> {
        if self.guest.counts().received > 0 {
            return Err("packets reached green1 before it had joined".into());
        }
        let began = Instant::now();
        self.stage.register_guest().map_err(said)?;
        let took = self.flows(began).ok_or("green1 joined, and packets to its pod did not arrive")?;
        self.say(format!("green1 joins: packets to its pod arrive {took} after it began to write its key"));
        Ok(())
    }

    fn moves(&mut self) -> Result<(), String> {
        let place = self.guest_moves(SECOND_PLACE)?;
        let began = Instant::now();
        self.stage.register_guest().map_err(said)?;
        let took = self.flows(began).ok_or("green1 moved, and packets to its pod did not arrive")?;
        self.say(format!("green1 moves to {place}: packets arrive again {took} after it began to write that"));
        Ok(())
    }

    fn is_killed(&mut self) -> Result<(), String> {
        let process = self.stage.etcd().ok_or("etcd was gone before it was killed")?;
        let (arrived, lost) = (self.arrived(), lost(self.journeys));
        self.stage.kill_etcd().map_err(said)?;
        self.away = Some(Away { since: Instant::now(), arrived, lost });
        self.say(format!("etcd is killed (SIGKILL to process {process})"));
        Ok(())
    }

    /// While etcd is away.
    fn moves_unseen(&mut self) -> Result<(), String> {
        let place = self.guest_moves(THIRD_PLACE)?;
        self.say(format!("green1 moves to {place}, and cannot tell: packets to its pod cease, all others go on"));
        Ok(())
    }

    fn returns(&mut self) -> Result<(), String> {
        let away = self.away.take().ok_or("etcd did not go away")?;
        self.wait_until(away.since + AWAY);
        let (arrived, lost) = (self.arrived() - away.arrived, lost(self.journeys).saturating_sub(away.lost));
        let lasted = human(away.since.elapsed());
        self.say(format!("{lasted} without etcd: {arrived} packets arrived on the journeys, {lost} were lost"));
        self.stage.revive_etcd().map_err(said)?;
        let began = Instant::now();
        self.stage.register_guest().map_err(said)?;
        let took = self.flows(began).ok_or("etcd came back, and what it said then was not caught up with")?;
        self.say(format!("etcd is back, and green1 tells: packets to its pod arrive {took} after that"));
        if arrived == 0 || lost as f64 > arrived as f64 * TOLERATED_LOSS {
            return Err(format!("without etcd {lost} packets were lost and {arrived} arrived"));
        }
        Ok(())
    }

    fn leaves(&mut self) -> Result<(), String> {
        let began = Instant::now();
        self.stage.remove_guest().map_err(said)?;
        let took = self.meter(|meter| meter.last(began)).ok_or("green1 left, and packets to its pod still arrived")?;
        let took = human(took);
        self.say(format!("green1 leaves: the last packet arrives {took} after the deletion of its key began"));
        Ok(())
    }

    /// The guest goes elsewhere, and what is sent to where it was does not arrive. Returns its new address.
    fn guest_moves(&mut self, place: u8) -> Result<String, String> {
        let began = Instant::now();
        let place = self.stage.move_guest(place).map_err(said)?.vtep.to_string();
        let ceased = self.meter(|meter| meter.last(began));
        ceased.ok_or_else(|| format!("packets arrived at green1 that nobody can have sent to {place}"))?;
        Ok(place)
    }

    /// From `since` to the first packet that reaches the guest from now on, as people read it.
    fn flows(&self, since: Instant) -> Option<String> {
        self.meter(|meter| meter.first(since)).map(human)
    }

    fn meter<T>(&self, measure: impl FnOnce(Meter<'_>) -> T) -> T {
        let (arrived, ended) = (|| self.guest.counts().received, || self.has_ended());
        measure(Meter { arrived: &arrived, ended: &ended, patience: PATIENCE })
    }

    fn arrived(&self) -> u64 {
        self.journeys.iter().map(|load| load.counts().received).sum()
    }

    fn wait_until(&self, when: Instant) {
        while Instant::now() < when && !self.has_ended() {
            sleep(LOOK);
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// With the time at which it was known.
    fn say(&self, news: String) {
        let news = format!("{:>6.2} s  {news}", self.began.elapsed().as_secs_f64());
        let _ = self.news.send(news); // nobody listens any more when it has ended
    }
}

fn said(error: LabError) -> String {
    error.to_string()
}

//! The load over all journeys and to the node that comes and goes, what happens meanwhile, and somebody watching.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use super::stage::Stage;
use super::story::Story;
use crate::cli::demo::gateway::Gateway;
use crate::cli::demo::journeys::Journey;
use crate::cli::demo::live::{self, Watch};
use crate::cli::demo::view::{Lane, View};
use crate::cli::demo::{DemoError, DemoOptions, Stop, say};
use crate::cli::screen::Screen;
use crate::lab::scrape::Samples;
use crate::lab::traffic::{LoadCounts, UdpLoad};

/// How long what happens may take beyond the time asked for.
const GRACE: Duration = Duration::from_secs(60);
/// Packets a second to the node that comes and goes: what is measured is as fine as the time between two.
const GUEST_RATE: u32 = 1000;
/// The way to that node.
pub(super) const GUEST: &str = "blue1 → green1";

/// What is known of the show when it is over.
pub(super) struct Shown {
    /// What the gateway's metrics said before.
    pub(super) before: Samples,
    /// What became of the packets to the node that came and went.
    pub(super) guest: LoadCounts,
    /// What was not as it should be.
    pub(super) failures: Vec<String>,
}

/// All the load, and all that happens meanwhile.
pub(super) fn show(
    journeys: &mut [Journey],
    stage: &mut Stage,
    gateway: &mut Gateway,
    options: &DemoOptions,
    stop: &Stop,
) -> Result<Shown, DemoError> {
    let before = gateway.settled().unwrap_or_default();
    let total = Duration::from_secs(options.seconds);
    say(format_args!("sending {} packets a second over each journey for {} s", options.rate, options.seconds));
    let mut screen = Screen::open(options.plain);
    let start = |j: &Journey| live::load(&j.from, &j.to, options.rate, total + GRACE);
    let mut loads: Vec<UdpLoad> = journeys.iter().map(start).collect::<Result<_, _>>()?;
    let (from, to) = stage.visit();
    loads.push(live::load(from, to, GUEST_RATE, total + GRACE)?);
    let mut view = View { total, lanes: live::lanes(journeys), ..View::default() };
    view.lanes.push(Lane { kind: "transit", label: GUEST, guest: true, ..Lane::default() });
    let watch = Watch { loads: &loads, gateway, before: &before, stop };
    let failures = play(watch, stage, &mut view, &mut screen)?;
    if !screen.is_plain() {
        drop(screen);
        view.news.iter().for_each(|news| say(format_args!("{news}")));
    }
    let guest = loads.pop().map(UdpLoad::stop).unwrap_or_default();
    live::end(journeys, loads);
    Ok(Shown { before, guest, failures })
}

/// The story on a thread of its own, which measures milliseconds, and the screen on this one.
fn play(watch: Watch<'_>, stage: &mut Stage, view: &mut View, screen: &mut Screen) -> Result<Vec<String>, DemoError> {
    let ((tell, listen), ended, total) = (channel(), AtomicBool::new(false), view.total);
    let Some((guest, journeys)) = watch.loads.split_last() else { return Ok(Vec::new()) };
    let plain = screen.is_plain();
    thread::scope(|scope| {
        let story = Story::new(stage, (journeys, guest), tell, &ended);
        let story = scope.spawn(|| story.play(total));
        let over = |view: &mut View| {
            let told = hear(&listen, view, plain);
            (told && view.elapsed >= total) || view.elapsed >= total + GRACE
        };
        let watched = watch.until(over, view, screen);
        ended.store(true, Relaxed);
        let failures = story.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        hear(&listen, view, plain);
        watched.map(|()| failures)
    })
}

/// Shows the news there are. True when there will be no more.
fn hear(listen: &Receiver<String>, view: &mut View, plain: bool) -> bool {
    loop {
        match listen.try_recv() {
            Ok(news) => {
                if plain {
                    say(format_args!("{news}"));
                }
                view.news.push(news);
            }
            Err(end) => return end == TryRecvError::Disconnected,
        }
    }
}

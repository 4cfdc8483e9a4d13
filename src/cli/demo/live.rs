//! The load over all journeys at once, and somebody watching it.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};

use super::gateway::{self, Gateway};
use super::journeys::Journey;
use super::view::{Lane, View};
use super::{DemoError, DemoOptions, Stop, say};
use crate::lab::scrape::Samples;
use crate::lab::traffic::{LoadCounts, LoadOptions, UdpLoad};

/// Between two looks at keys and signals.
const TURN: Duration = Duration::from_millis(200);
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
        screen.turn(view, stop);
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
            screen.second(view);
        }
    }
    Ok(())
}

/// A terminal, or lines. Dropping it gives the terminal back.
enum Screen {
    Full(DefaultTerminal),
    Plain,
}

impl Screen {
    fn open(plain: bool) -> Self {
        if plain || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Self::Plain;
        }
        // Also hooks into panics, to give the terminal back before the message is printed.
        ratatui::try_init().map_or(Self::Plain, Self::Full)
    }

    /// Draws, and looks at the keys for a while.
    fn turn(&mut self, view: &View, stop: &Stop) {
        let Self::Full(terminal) = self else {
            std::thread::sleep(TURN);
            return;
        };
        let _ = terminal.draw(|frame| view.draw(frame));
        let until = Instant::now() + TURN;
        while event::poll(until.saturating_duration_since(Instant::now())).unwrap_or(false) {
            // In raw mode Ctrl-C is a key, not a signal.
            if let Ok(Event::Key(key)) = event::read()
                && (matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
                    || (key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)))
            {
                stop.ask();
            }
        }
    }

    fn second(&self, view: &View) {
        if let Self::Plain = self {
            say(format_args!("{}", view.line()));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Full(_) = self {
            ratatui::restore();
        }
    }
}

//! The terminal of commands that show what they do.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};

use super::stop::Stop;

/// Between two looks at keys and signals.
const TURN: Duration = Duration::from_millis(200);

/// A terminal, or lines. Dropping it gives the terminal back.
pub(super) enum Screen {
    Full(DefaultTerminal),
    Plain,
}

impl Screen {
    /// A terminal if there is one and nobody wants lines.
    pub(super) fn open(plain: bool) -> Self {
        if plain || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Self::Plain;
        }
        // Also hooks into panics, to give the terminal back before the message is printed.
        ratatui::try_init().map_or(Self::Plain, Self::Full)
    }

    /// Draws, and looks at the keys for a while.
    pub(super) fn turn(&mut self, draw: impl FnOnce(&mut Frame<'_>), stop: &Stop) {
        let Self::Full(terminal) = self else {
            std::thread::sleep(TURN);
            return;
        };
        let _ = terminal.draw(draw);
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

    /// True when nothing is drawn: lines are wanted.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Full(_) = self {
            ratatui::restore();
        }
    }
}

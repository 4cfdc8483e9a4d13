//! Logs go to standard error: for people on a terminal, as JSON lines otherwise. `RUST_LOG` sets the level.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// What is logged if nobody says otherwise.
const USUAL: LevelFilter = LevelFilter::INFO;

/// Starts logging for the whole process.
pub fn start() {
    let wanted = wanted(env::var("RUST_LOG").ok().as_deref());
    let filter = wanted.as_ref().map_or_else(|_| Targets::new().with_default(USUAL), Clone::clone);
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = if io::stderr().is_terminal() { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    // a second start (in tests) changes nothing
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    if let Err(why) = wanted {
        tracing::warn!("{why}");
    }
}

/// What `RUST_LOG` asks for: a level, or more of them, each for the modules below a path (`info,selvedge::control=debug`).
fn wanted(text: Option<&str>) -> Result<Targets, String> {
    match text.map(str::trim) {
        None | Some("") => Ok(Targets::new().with_default(USUAL)),
        Some(text) => text.parse().map_err(|e| {
            format!("RUST_LOG={text} is not used: {e}; right would be debug, or info,selvedge::control=debug")
        }),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_for_all_or_for_a_path() {
        let logs = |text, target, level| wanted(text).unwrap().would_enable(target, &level);
        for unset in [None, Some(""), Some(" ")] {
            assert!(logs(unset, "selvedge", Level::INFO) && !logs(unset, "selvedge", Level::DEBUG));
        }
        assert!(logs(Some("debug"), "hyper", Level::DEBUG) && !logs(Some("warn"), "selvedge", Level::INFO));
        let apart = Some("warn,selvedge::control=debug");
        assert!(
            logs(apart, "selvedge::control::supervisor", Level::DEBUG) && !logs(apart, "selvedge::port", Level::INFO)
        );
        assert!(wanted(Some("a=loud")).unwrap_err().contains("RUST_LOG=a=loud"));
    }
}

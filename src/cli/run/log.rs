//! Logs go to standard error: for people on a terminal, as JSON lines otherwise. `RUST_LOG` sets the level.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging for the whole process.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // a second start (in tests) changes nothing
    let _ =
        if std::io::stderr().is_terminal() { logger.try_init() } else { logger.json().flatten_event(true).try_init() };
}

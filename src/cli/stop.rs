//! The wish to end, from a signal or a key.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// Set once, by whoever wants a command to end; looked at between steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that SIGINT, SIGTERM and SIGHUP set. From here on these signals no longer end the process by themselves.
    pub(super) fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let flag = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        // Registered before this function returns: no signal can fall into a gap.
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        drop(entered);
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    flag.ask();
                }
            })
        })?;
        Ok(stop)
    }

    /// Asks for the end.
    pub(super) fn ask(&self) {
        self.0.store(true, Relaxed);
    }

    /// True once the end was asked for.
    pub(super) fn asked(&self) -> bool {
        self.0.load(Relaxed)
    }
}

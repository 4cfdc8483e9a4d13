//! `selvedge run`: from a config file to a gateway that forwards, and back.

mod cores;
mod gateway;
mod heralds;
mod launch;
mod log;
mod reload;
mod sources;
mod steer;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use super::args::Exit;
use super::check::write_findings;
use crate::config::{Config, Plan, Severity, probe};

pub use log::start as start_logging;

/// Why the gateway stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port could not be opened or steered.
    #[error(transparent)]
    Port(#[from] crate::port::PortError),
    /// The kernel could not be asked for next hops.
    #[error(transparent)]
    Keeper(#[from] crate::control::keeper::KeeperError),
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A worker thread ended although nobody told it to.
    #[error("worker {0} ended by itself: this is a bug in the gateway")]
    WorkerDied(usize),
    /// The control plane was started twice in one gateway.
    #[error("the control plane was started twice: this is a bug in the gateway")]
    Twice,
    /// The task of a source ended although nobody told it to.
    #[error("the task of source `{0}` ended by itself: this is a bug in the gateway")]
    SourceDied(String),
}

impl RunError {
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Runs the gateway until SIGTERM or SIGINT.
pub fn run(path: &Path) -> ExitCode {
    match prepare(path) {
        Ok((config, text, plan)) => {
            if let Err(error) = cores::leave_to_workers(&plan.cores) {
                tracing::warn!(%error, "the control plane shares the workers' cores");
            }
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "cannot start the control plane");
                    return Exit::Runtime.into();
                }
            };
            match runtime.block_on(gateway::run(path, config, text, &plan)) {
                Ok(()) => Exit::Ok.into(),
                Err(error) => {
                    tracing::error!(%error, "the gateway stopped");
                    Exit::Runtime.into()
                }
            }
        }
        Err(exit) => exit.into(),
    }
}

/// Reads the file and looks at the host: the configuration, the bytes it was made of, and the plan. What is wrong is told on standard error, in the words of `check`.
fn prepare(path: &Path) -> Result<(Config, Vec<u8>, Plan), Exit> {
    let (config, text) = Config::load_with_text(path).map_err(|errors| {
        eprintln!("{errors}");
        Exit::Usage
    })?;
    let host = probe::probe().map_err(|error| {
        tracing::error!(%error, "cannot look at this host");
        Exit::Runtime
    })?;
    let (plan, mut findings) = Plan::new(&config, &host);
    findings.retain(|f| f.severity != Severity::Ok);
    match plan {
        Some(plan) => {
            for finding in &findings {
                tracing::warn!(mend = finding.mend.as_deref().unwrap_or(""), "{}", finding.what);
            }
            Ok((config, text, plan))
        }
        None => {
            // nobody is left to tell if standard error is closed
            let _ = write_findings(&findings, &mut std::io::stderr().lock());
            Err(Exit::Host)
        }
    }
}

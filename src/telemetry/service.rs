//! What the service manager is told, systemd's by its protocol of datagrams (sd_notify(3)). Without one, nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager that started this process, if any did and wants to be told.
#[derive(Debug)]
pub struct Service {
    /// It restarts the gateway unless it hears from it this often.
    watchdog: Option<Duration>,
    /// What it was told last.
    status: String,
}

impl Service {
    /// As the environment says (NOTIFY_SOCKET, WATCHDOG_USEC).
    pub fn of_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled(), status: String::new() }
    }

    /// The gateway forwards: after the start, and after a reload, whatever came of it.
    pub fn ready(&mut self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        status.clone_into(&mut self.status);
    }

    /// A config file is looked at; [`ready`](Self::ready) ends that.
    pub fn reloading(&self) {
        // a manager that waits for the end of a reload wants to know which one ended
        let began = NotifyState::monotonic_usec_now().ok();
        tell(&[Some(NotifyState::Reloading), began].into_iter().flatten().collect::<Vec<_>>());
    }

    /// The gateway is alive, and this is how it is.
    pub fn alive(&mut self, status: &str) {
        if self.watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
        if self.status != status {
            tell(&[NotifyState::Status(status)]);
            status.clone_into(&mut self.status);
        }
    }

    /// The gateway ends as it was told to.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

//! Another config file is put in force while packets flow, or refused as a whole.

use core::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::gateway::{Gateway, RESOLVE_FOR};
use super::steer::Steered;
use crate::config::{Config, Role};
use crate::control::Route;
use crate::port::host::release_memory;
use crate::port::{PortError, SteerCapacity, Steering};

/// What becomes of a file that is refused.
const STAYS: &str = "the configuration before stays in force";

/// A file was refused, and the log says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Refused;

/// How often, and how far apart, it is looked whether workers use new tables: 20 ms in all.
const ADOPTION_LOOKS: u32 = 200;
const ADOPTION_PAUSE: Duration = Duration::from_micros(100);

/// A configuration that is to be put in force once the next hops it brings are known: a route that moves leaves the one
/// that works only for one that does, too.
#[derive(Debug)]
pub(super) struct Coming {
    config: Config,
    file: PathBuf,
    /// It is waited for no longer than this.
    deadline: Instant,
}

impl Gateway {
    /// Reads the file again. On any error the state before stays in force, the error is logged, and metrics show it.
    /// Otherwise [`go_on`](Self::go_on) puts it in force, now or soon.
    pub(super) fn reload(&mut self, path: &Path) {
        self.service.reloading();
        match self.admitted(path) {
            Ok(config) => {
                self.engine.foresee(&config.overlays, &config.routes);
                self.coming = Some(Coming { config, file: path.to_owned(), deadline: Instant::now() + RESOLVE_FOR });
            }
            Err(Refused) => self.reloaded(false),
        }
    }

    /// When the configuration that waits, if any, has waited long enough.
    pub(super) fn deadline(&self) -> Instant {
        self.coming.as_ref().map_or_else(Instant::now, |coming| coming.deadline)
    }

    /// Puts the configuration that waits in force if it need not wait any longer.
    pub(super) fn go_on(&mut self) {
        let known = self.engine.is_foreseen();
        let Some(coming) = self.coming.take_if(|c| known || Instant::now() >= c.deadline) else { return };
        if !known {
            tracing::warn!("some of the new next hops have not answered yet; they are used all the same");
        }
        let (file, routes) = (coming.file.display(), coming.config.routes.len());
        let outcome = self.put_in_force(coming.config);
        match &outcome {
            Ok(()) => tracing::info!(routes, "{file}: in force"),
            Err(error) => tracing::error!(%error, "{file}: refused; {STAYS}"),
        }
        self.reloaded(outcome.is_ok());
    }

    fn reloaded(&mut self, applied: bool) {
        self.observatory.update(|slow| {
            slow.reloads.last_refused = !applied;
            match applied {
                true => slow.reloads.applied += 1,
                false => slow.reloads.refused += 1,
            }
        });
        self.tell();
        self.service.ready(&self.observatory.health().to_string());
        release_memory(); // of the file and what was made of it
    }

    /// The file's configuration, if nothing stands in its way.
    fn admitted(&self, path: &Path) -> Result<Config, Refused> {
        let file = path.display();
        let new = Config::load(path).map_err(|errors| {
            for error in errors.to_string().lines() {
                tracing::error!("{error}");
            }
            tracing::error!("{file}: refused; {STAYS}");
            Refused
        })?;
        let fixed = self.config.needs_restart(&new);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            tracing::error!("{file}: refused, since these change only with a restart: {keys}; {STAYS}");
            return Err(Refused);
        }
        // before anybody is told of it: what the program has no room for must not be in force for a moment either
        let own = self.engine.own_addresses();
        let both = self.steered().and(&Steered::of(&new, new.routes.iter().copied()));
        if let Err(why) = both.fits(SteerCapacity::default(), &own) {
            tracing::error!("{file}: refused: {why}; {STAYS}");
            return Err(Refused);
        }
        Ok(new)
    }

    /// Workers know the way before anything new is steered to them, and what is new is steered before anything goes:
    /// what stays is never without either. The programs were found to have room for it; should one of them be of
    /// another opinion, all is as before again.
    fn put_in_force(&mut self, mut new: Config) -> Result<(), PortError> {
        let (before, old): (Vec<Route>, _) = (self.engine.file_routes().collect(), self.steered());
        let learners = self.sources.learners(&new);
        self.engine.set_imports(&new.imports);
        self.engine.load(&new.overlays, &mem::take(&mut new.routes), &learners);
        self.await_adoption();
        let steered = Steered::of(&new, self.engine.routes());
        if let Err(error) = self.with_programs(|role, program| steered.add(role, program)) {
            self.steer_only(&old);
            let learners = self.sources.learners(&self.config);
            self.engine.set_imports(&self.config.imports);
            self.engine.load(&self.config.overlays, &before, &learners);
            return Err(error);
        }
        self.steer_only(&steered);
        self.config = new;
        self.sources.follow(&self.config, &learners);
        self.heralds.follow(&self.config);
        Ok(())
    }

    /// What is steered by the configuration in force.
    fn steered(&self) -> Steered {
        Steered::of(&self.config, self.engine.routes())
    }

    /// Waits for every worker to use the new tables: they look before every burst, and are woken for it. One that the
    /// machine keeps from running is not waited for any longer.
    pub(super) fn await_adoption(&mut self) {
        for _ in 0..ADOPTION_LOOKS {
            if self.engine.is_adopted() {
                return;
            }
            std::thread::sleep(ADOPTION_PAUSE);
            self.engine.collect();
        }
    }

    fn steer_only(&self, steered: &Steered) {
        if let Err(error) = self.with_programs(|role, program| steered.retain(role, program)) {
            tracing::error!(%error, "more may be steered to the gateway than it serves");
        }
    }

    /// Does something to each port's program.
    pub(super) fn with_programs(
        &self,
        mut f: impl FnMut(Role, &mut Steering) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let mut programs = self.observatory.programs();
        self.config.ports.iter().zip(programs.iter_mut()).try_for_each(|(port, program)| f(port.role, program))
    }
}

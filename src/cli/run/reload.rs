//! Another config file is put in force while packets flow, or refused as a whole.

use std::path::Path;
use std::time::Duration;

use super::gateway::Gateway;
use super::steer::Steered;
use crate::config::{Config, Role};
use crate::port::{PortError, Steering};

/// How often, and how far apart, it is looked whether workers use new tables: 20 ms in all.
const ADOPTION_LOOKS: u32 = 200;
const ADOPTION_PAUSE: Duration = Duration::from_micros(100);

impl Gateway {
    /// Reads the file again. On any error the state before stays in force, the error is logged, and metrics show it.
    pub(super) fn reload(&mut self, path: &Path) {
        let applied = self.try_reload(path);
        self.observatory.update(|slow| {
            slow.reloads.last_refused = applied.is_err();
            match applied {
                Ok(()) => slow.reloads.applied += 1,
                Err(()) => slow.reloads.refused += 1,
            }
        });
        self.tell();
    }

    fn try_reload(&mut self, path: &Path) -> Result<(), ()> {
        let file = path.display();
        let new = Config::load(path).map_err(|errors| {
            for error in errors.to_string().lines() {
                tracing::error!("{error}");
            }
            tracing::error!("{file}: refused; the configuration before stays in force");
        })?;
        let fixed = self.config.needs_restart(&new);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            tracing::error!(
                "{file}: refused, since these change only with a restart: {keys}; the configuration before stays in force"
            );
            return Err(());
        }
        self.put_in_force(new).map_err(|error| {
            tracing::error!(%error, "{file}: refused; the configuration before stays in force");
        })?;
        let routes = self.config.routes.len();
        tracing::info!(routes, "{file}: in force");
        Ok(())
    }

    /// Workers know the way before anything new is steered to them, and what is new is steered before anything goes:
    /// what stays is never without either.
    fn put_in_force(&mut self, new: Config) -> Result<(), PortError> {
        let (old, steered) = (Steered::of(&self.config), Steered::of(&new));
        self.engine.load(&new.overlays, &new.routes);
        self.await_adoption();
        if let Err(error) = self.with_programs(|role, program| steered.add(role, program)) {
            self.steer_only(&old);
            self.engine.load(&self.config.overlays, &self.config.routes);
            return Err(error);
        }
        self.steer_only(&steered);
        self.config = new;
        Ok(())
    }

    /// Waits for every worker to use the new tables: they look before every burst, and are woken for it. One that the
    /// machine keeps from running is not waited for any longer.
    fn await_adoption(&mut self) {
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

//! Whether the gateway is well, in one sentence.

use core::fmt;
use std::time::{Duration, Instant};

use super::metrics::Slow;

/// The control plane looks after its workers four times a second: after so long something holds it up.
const LONG: Duration = Duration::from_secs(5);

/// How the gateway is. Next hops that do not answer and files that were refused are told, but it is well: it forwards
/// what can be forwarded, and a restart would mend nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// It forwards, and its control plane follows the world.
    pub well: bool,
    sentence: String,
}

impl Health {
    /// What is known of it now.
    pub fn of(slow: &Slow, now: Instant) -> Self {
        let idle = slow.tended.map(|at| now.saturating_duration_since(at));
        match idle {
            _ if !slow.ready => Self { well: false, sentence: "not forwarding: it is starting or stopping".into() },
            Some(idle) if idle <= LONG => Self { well: true, sentence: forwarding(slow) },
            Some(idle) => {
                let sentence = format!("the control plane has not looked after its workers for {} s", idle.as_secs());
                Self { well: false, sentence }
            }
            None => Self { well: false, sentence: "the control plane has not looked after its workers yet".into() },
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

fn forwarding(slow: &Slow) -> String {
    let status = &slow.status;
    let (routes, ready) = (status.routes, status.hops_ready);
    let all = ready + status.hops_unready.len();
    let refused = match slow.reloads.last_refused {
        true => "; the config file read last was refused, the one before is in force",
        false => "",
    };
    format!("forwarding: {routes} routes, {ready} of {all} next hops ready{refused}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::engine::Status;
    use crate::telemetry::metrics::Reloads;

    #[test]
    fn it_is_well_while_it_forwards_and_somebody_looks_after_it() {
        let now = Instant::now();
        let told = |slow: &Slow, later: Duration| {
            let health = Health::of(slow, now + later);
            (health.well, health.to_string())
        };
        let mut slow = Slow::default();
        assert_eq!(told(&slow, LONG), (false, "not forwarding: it is starting or stopping".into()));
        slow.ready = true;
        assert!(!told(&slow, Duration::ZERO).0, "nobody has looked after it yet");
        slow.tended = Some(now);
        slow.status = Status { routes: 3, hops_ready: 1, ..Status::default() };
        slow.status.hops_unready.insert("192.0.2.7".into(), "no answer".into());
        assert_eq!(told(&slow, LONG), (true, "forwarding: 3 routes, 1 of 2 next hops ready".into()));
        slow.reloads = Reloads { last_refused: true, ..Reloads::default() };
        let (well, sentence) = told(&slow, LONG);
        assert!(well && sentence.ends_with("ready; the config file read last was refused, the one before is in force"));
        let late = told(&slow, LONG + Duration::from_secs(1));
        assert_eq!(late, (false, "the control plane has not looked after its workers for 6 s".into()));
    }
}

//! Other programs at work during a trial. On a machine of two cores they take what is being measured; a trial they
//! disturb says nothing, and is repeated.

use std::fs;

use crate::Result;

/// CPU time in user mode so far, in clock ticks. Time in the kernel is not told apart: it is mostly the trial's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    everybody: u64,
    /// This process and its children, those that have ended included.
    ours: u64,
}

/// Reads the clocks.
pub(crate) fn read() -> Result<Reading> {
    let stat = fs::read_to_string("/proc/stat")?;
    let everybody = whole_machine(&stat).ok_or("/proc/stat has no line `cpu`")?;
    let own = std::process::id();
    let mut ours = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // gone since: nothing to count
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(p) = process(&text).filter(|p| p.parent == own || id == own) {
            ours += p.user + if id == own { p.children_user } else { 0 };
        }
    }
    Ok(Reading { everybody, ours })
}

impl Reading {
    /// Seconds of CPU time that other programs took between two readings.
    pub(crate) fn others_since(&self, then: &Self) -> f64 {
        let others = (self.everybody - then.everybody).saturating_sub(self.ours.saturating_sub(then.ours));
        others as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}

/// User and nice time of all cores.
fn whole_machine(stat: &str) -> Option<u64> {
    let mut fields = stat.lines().find_map(|l| l.strip_prefix("cpu "))?.split_whitespace();
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

struct ProcessTimes {
    parent: u32,
    user: u64,
    children_user: u64,
}

/// Fields 4, 14 and 16 of `/proc/PID/stat`; the second is a name in parentheses, with anything in it.
fn process(stat: &str) -> Option<ProcessTimes> {
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3)?.parse().ok();
    Some(ProcessTimes { parent: field(4)? as u32, user: field(14)?, children_user: field(16)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_their_fields() {
        assert_eq!(whole_machine("cpu  100 20 3 4\ncpu0 50 10 1 2\n"), Some(120));
        assert_eq!(whole_machine("intr 1"), None);
        // fields 1 to 17, each its own number but for the name and the state
        let p = process("1 (a) b) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17").unwrap();
        assert_eq!((p.parent, p.user, p.children_user), (4, 14, 16));
        assert!(process("1 (a) S 4").is_none());
    }

    #[test]
    fn what_is_ours_is_not_foreign() {
        let at = |everybody, ours| Reading { everybody, ours };
        let second = rustix::param::clock_ticks_per_second();
        assert_eq!(at(3 * second, 2 * second).others_since(&at(0, 0)), 1.0);
        assert_eq!(at(second, 2 * second).others_since(&at(0, 0)), 0.0);
    }
}

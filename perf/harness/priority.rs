//! The harness goes first: systems under test may fill both cores, and one that waits for a core takes its figures late.

use std::process::Command;

use crate::Result;

/// Above the gateway's workers, which have 1.
const PRIORITY: &str = "3";

/// Puts all threads of this process in front of what is measured. What it starts begins as any other process.
pub(crate) fn raise() -> Result<()> {
    let own = std::process::id().to_string();
    let words = ["--fifo", "--reset-on-fork", "--all-tasks", "--pid", PRIORITY, &own];
    let done = Command::new("chrt").args(words).output().map_err(|e| format!("chrt: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("chrt {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim()).into()),
    }
}

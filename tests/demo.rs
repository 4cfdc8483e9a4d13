//! The README's first command, as a user runs it: it ends well and leaves nothing behind.

#[path = "support/root.rs"]
mod root;

use root::root;
use std::process::Command;

/// Namespaces of demonstrations.
fn left() -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with("selv-demo-")).collect()
}

#[test]
fn the_demonstration_carries_everything_and_leaves_nothing() {
    if !root() {
        return;
    }
    let run =
        Command::new(env!("CARGO_BIN_EXE_selvedge")).args(["demo", "--plain", "--seconds", "3"]).output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(text.contains("all journeys carried everything they were given"), "{text}");
    assert_eq!(left(), [""; 0]);
}

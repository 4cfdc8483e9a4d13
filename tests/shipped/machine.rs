//! A machine with systemd for an init, in a namespace of the lab, over a copy of this machine's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use selvedge::lab::{Namespace, Process};

use super::netns::until;

/// How long systemd may take to be ready for orders.
const BOOT: Duration = Duration::from_secs(20);
/// How long a command of the README may take, in seconds: the first may have to build.
const PATIENCE: &str = "600";

/// The machine. It ends, with all that runs on it, when it is dropped.
pub(crate) struct Machine {
    // before the room: files go when nobody has them any more
    _unshare: Process,
    init: u32,
    _room: tempfile::TempDir,
}

impl Machine {
    /// Boots it in the network of a namespace.
    pub(crate) fn boot(ns: &Namespace) -> Self {
        let room = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]);
        command.arg(repository().join("tests/shipped/boot")).arg(room.path()).arg(repository()).stdin(Stdio::null());
        let unshare = ns.spawn(command).unwrap();
        let mut init = None;
        let started = || {
            init = child_of(unshare.id());
            init.is_some()
        };
        assert!(until(BOOT, started), "unshare has started nothing");
        let machine = Self { _unshare: unshare, init: init.unwrap(), _room: room };
        let ready = || {
            machine
                .output("systemctl is-system-running --wait | grep -e running -e degraded")
                .is_ok_and(|o| o.status.success())
        };
        assert!(until(BOOT, ready), "systemd does not answer");
        machine
    }

    /// Runs a line of shell in the repository; all it says if it succeeds, a panic if not.
    pub(crate) fn run(&self, line: &str) -> String {
        let Output { status, stdout, .. } = self.output(line).unwrap();
        let told = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "`{line}`: {status}\n{told}");
        told
    }

    /// How a line of shell ends; what it says, to standard error, too, is its standard output.
    pub(crate) fn output(&self, line: &str) -> std::io::Result<Output> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init))
            .args(["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net"]);
        command
            .args(["timeout", PATIENCE, "sh", "-ec", &format!("exec 2>&1; cd '{}'; {line}", repository().display())])
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .output()
    }

    /// Puts a file in the place of another at once, as seen from within.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = PathBuf::from(format!("/proc/{}/root{path}", self.init));
        let next = path.with_extension("next");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&next, text).unwrap();
        fs::rename(next, path).unwrap();
    }
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The only child of a process with one thread.
fn child_of(id: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?.split_whitespace().next()?.parse().ok()
}

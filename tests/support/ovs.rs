//! Open vSwitch with its userspace data path in a namespace: its database and its daemon, started, asked and ended.
//!
//! All its sockets, logs and files are in a directory of their own, apart from any other instance on this machine.
#![allow(dead_code)] // each crate uses its own part

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use selvedge::lab::{LabError, Namespace, Process};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// How long a daemon may take to open its socket.
const START: Duration = Duration::from_secs(20);
/// How long one may take to end.
const END: Duration = Duration::from_secs(5);

/// Where a switch lives.
struct Room {
    ns: Namespace,
    dir: PathBuf,
}

impl Room {
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn daemon(&self, program: &str, words: &[&str]) -> Result<Process, LabError> {
        let failed = |e| LabError::new(format!("logging what {program} says"), e);
        let log = File::create(self.dir.join(format!("{program}.log"))).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(words).env("OVS_RUNDIR", &self.dir).env("OVS_LOGDIR", &self.dir).env("OVS_DBDIR", &self.dir);
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        self.ns.spawn(command)
    }

    /// Waits until a socket is there.
    fn opens(&self, socket: &str) -> Result<(), LabError> {
        let (path, deadline) = (self.dir.join(socket), Instant::now() + START);
        while !path.exists() {
            if Instant::now() > deadline {
                return Err(LabError::refused("starting Open vSwitch", format!("{} is not opened", path.display())));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Standard output of a program that succeeds; what it says otherwise is the error.
    fn run(&self, program: &str, words: &[&str]) -> Result<String, LabError> {
        let doing = || format!("{program} {} in {}", words.join(" "), self.ns.name());
        let output = self.ns.run(|| Command::new(program).args(words).stdin(Stdio::null()).output())?;
        let output = output.map_err(|e| LabError::new(format!("{} (Debian: openvswitch-switch)", doing()), e))?;
        if !output.status.success() {
            return Err(LabError::refused(doing(), String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn vsctl(&self, line: &str) -> Result<String, LabError> {
        let db = format!("--db=unix:{}", self.path("db.sock"));
        let words: Vec<&str> = [db.as_str(), "--timeout=20"].into_iter().chain(line.split_whitespace()).collect();
        self.run("ovs-vsctl", &words)
    }
}

/// A running switch, without any bridge. Dropping it ends both processes.
pub(crate) struct Switch {
    room: Room,
    daemon: Process,
    database: Process,
}

impl Switch {
    /// Starts a switch in `ns`, its files in `dir`, which must not be there yet. `settings` are keys of its table
    /// `Open_vSwitch`, known to the daemon from the start on.
    pub(crate) fn start(ns: &Namespace, dir: &Path, settings: &[&str]) -> Result<Self, LabError> {
        fs::create_dir_all(dir).map_err(|e| LabError::new(format!("making {}", dir.display()), e))?;
        let room = Room { ns: ns.clone(), dir: dir.into() };
        let (file, socket) = (room.path("conf.db"), room.path("db.sock"));
        room.run("ovsdb-tool", &["create", &file, SCHEMA])?;
        let control = ["database.ctl", "switch.ctl"].map(|name| format!("--unixctl={}", room.path(name)));
        let database = room.daemon("ovsdb-server", &[&file, &format!("--remote=punix:{socket}"), &control[0]])?;
        room.opens("db.sock")?;
        room.vsctl("--no-wait init")?;
        for setting in settings {
            room.vsctl(&format!("--no-wait set Open_vSwitch . {setting}"))?;
        }
        let daemon = room.daemon("ovs-vswitchd", &[&format!("unix:{socket}"), &control[1], "-vfile:off"])?;
        room.opens("switch.ctl")?;
        Ok(Self { room, daemon, database })
    }

    /// The process with the data path.
    pub(crate) fn process(&self) -> &Process {
        &self.daemon
    }

    /// `ovs-vsctl` with the words of `line`; waits until the daemon has done it.
    pub(crate) fn vsctl(&self, line: &str) -> Result<String, LabError> {
        self.room.vsctl(line)
    }

    /// `ovs-appctl` of the daemon.
    pub(crate) fn appctl(&self, line: &str) -> Result<String, LabError> {
        let target = format!("--target={}", self.room.path("switch.ctl"));
        let words: Vec<&str> = [target.as_str(), "--timeout=20"].into_iter().chain(line.split_whitespace()).collect();
        self.room.run("ovs-appctl", &words)
    }

    /// Replaces the flows of a bridge, one a line.
    pub(crate) fn flows(&self, bridge: &str, flows: &str) -> Result<(), LabError> {
        let file = self.room.path(&format!("{bridge}.flows"));
        fs::write(&file, flows).map_err(|e| LabError::new(format!("writing {file}"), e))?;
        let management = format!("unix:{}", self.room.path(&format!("{bridge}.mgmt")));
        self.room.run("ovs-ofctl", &["-O", "OpenFlow14", "replace-flows", &management, &file]).map(drop)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for process in [&mut self.daemon, &mut self.database] {
            let _ = process.stop(END); // what does not end is killed
        }
    }
}

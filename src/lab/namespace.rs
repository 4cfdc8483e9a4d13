//! One network namespace: made, entered and taken away.
//!
//! A namespace lives as a bind mount under `/run/netns`, the place `ip netns` looks at, so that a person can step into
//! a running demonstration with `ip netns exec`.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Doing, LabError, Process};

/// Where named namespaces are mounted.
pub(crate) const ROOM: &str = "/run/netns";
/// How long processes in a namespace may take to leave after SIGTERM, before SIGKILL.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A handle on a named network namespace. It holds no descriptor: the [`super::Lab`] that made the namespace decides
/// when it ends, and a handle that outlives it only yields errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
    path: PathBuf,
}

impl Namespace {
    /// The handle of the namespace mounted at `/run/netns/<name>`, whether or not it exists.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { path: Path::new(ROOM).join(&name), name }
    }

    /// Makes a fresh namespace of that name, loopback up.
    pub(crate) fn create(name: impl Into<String>) -> Result<Self, LabError> {
        let ns = Self::named(name);
        let saying = || format!("making namespace {}", ns.name);
        prepare_room().doing(saying)?;
        File::options().write(true).create_new(true).open(&ns.path).doing(saying)?;
        // A thread of its own: it takes the new namespace with it when it ends, and this thread stays where it is.
        let made = thread::scope(|scope| {
            let body = || -> std::io::Result<()> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                mount_bind("/proc/thread-self/ns/net", &ns.path)?;
                Ok(())
            };
            scope.spawn(body).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        if made.is_err() {
            let _ = fs::remove_file(&ns.path);
        }
        made.doing(saying)?;
        ns.up("lo")?;
        Ok(ns)
    }

    /// The full name, as `ip netns exec` wants it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bind mount.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the namespace, to keep it or to move an interface into it.
    pub fn open(&self) -> Result<File, LabError> {
        File::open(&self.path).doing(|| format!("opening namespace {}", self.name))
    }

    /// Runs `work` on a thread inside the namespace and waits for it. Sockets made there stay in the namespace and may
    /// be used from anywhere. A panic of `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let ns = self.open()?;
        thread::scope(|scope| {
            let inside = || {
                move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network))
                    .doing(|| format!("entering namespace {}", self.name))?;
                Ok(work())
            };
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a child process inside the namespace; dropping the [`Process`] ends it.
    pub fn spawn(&self, mut command: Command) -> Result<Process, LabError> {
        // A child inherits the namespaces of the thread that starts it.
        let child = self.run(|| command.spawn())?;
        child.map(Process::new).doing(|| format!("starting {:?} in {}", command.get_program(), self.name))
    }

    /// Writes a kernel parameter of this namespace: `ns.sysctl("net.ipv4.ip_forward", "1")`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        // /proc/sys/net shows the namespace of the thread that looks.
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        self.run(|| fs::write(&path, value))?.doing(|| format!("setting {key}={value} in {}", self.name))
    }

    /// Ends every process in the namespace and removes its name. With the last process and socket gone the kernel
    /// takes down all interfaces in it. Removing what is not there is no error.
    pub(crate) fn remove(&self) -> Result<(), LabError> {
        self.evict();
        // Not a mount point: a creation that failed halfway, or a second removal.
        match unmount(&self.path, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e).doing(|| format!("unmounting namespace {}", self.name)),
        }
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).doing(|| format!("removing namespace {}", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Processes whose main thread is in this namespace, this process excepted.
    pub fn processes(&self) -> Vec<u32> {
        let Ok(here) = fs::metadata(&self.path) else { return Vec::new() };
        let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
        all.flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != std::process::id())
            .filter(|pid| {
                fs::metadata(format!("/proc/{pid}/ns/net"))
                    .is_ok_and(|there| (there.ino(), there.dev()) == (here.ino(), here.dev()))
            })
            .collect()
    }

    /// Asks the processes of the namespace to go, and after a while makes them.
    fn evict(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut signal = Signal::TERM;
        for round in 0..200 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                signal = Signal::KILL;
            }
            if round == 0 || signal == Signal::KILL {
                for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
                    let _ = kill_process(pid, signal);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Makes `/run/netns` a shared mount of its own, exactly as `ip netns add` does. Without that, a later `ip netns add`
/// would copy our mounts beneath a new one, where removing them by name no longer reaches.
fn prepare_room() -> std::io::Result<()> {
    fs::create_dir_all(ROOM)?;
    let lock = File::open(ROOM)?;
    lock.lock()?;
    let share = || mount_change(ROOM, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    if share().is_err() {
        // Not a mount point yet.
        mount_bind_recursive(ROOM, ROOM)?;
        share()?;
    }
    Ok(())
}

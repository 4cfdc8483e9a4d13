//! The lab itself: it names what it makes, and removes what it named.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::namespace::ROOM;
use super::{Doing, LabError, Namespace};

/// Where the locks lie that tell a living lab from the leftovers of a dead one.
const LOCKS: &str = "/run";
/// A lab locks its file at once; an unlocked one older than this belongs to nobody.
const NEWBORN: Duration = Duration::from_secs(5);

/// A set of namespaces that lives as long as this value. Names are `selv-<tag>-<pid>-<name>`.
///
/// Interfaces are made inside the namespaces and never pass through the caller's own, so nothing of a lab can collide
/// with the machine's network, and removing the namespaces removes everything.
#[derive(Debug)]
pub struct Lab {
    instance: String,
    lock: PathBuf,
    _held: File,
    made: Mutex<Vec<Namespace>>,
}

impl Lab {
    /// An empty lab.
    ///
    /// # Errors
    /// When `tag` is not made of lower-case letters and digits, or `/run` cannot be written to.
    pub fn new(tag: &str) -> Result<Self, LabError> {
        check_tag(tag)?;
        let pid = std::process::id();
        // The first lab of a tag has the plain name, the one people meet.
        let instance = match serial(tag) {
            0 => format!("selv-{tag}-{pid}"),
            n => format!("selv-{tag}-{pid}.{n}"),
        };
        let lock = lock_path(&instance);
        let saying = || format!("locking {}", lock.display());
        let held = File::create(&lock).doing(saying)?;
        held.lock().doing(saying)?;
        Ok(Self { instance, lock, _held: held, made: Mutex::default() })
    }

    /// What the names of all namespaces of this lab begin with.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// A new namespace, loopback up, IPv6 silent (no router solicitations among the packets a test counts), and with
    /// reverse-path filtering off whatever the machine's own setting.
    pub fn namespace(&self, name: &str) -> Result<Namespace, LabError> {
        let full = format!("{}-{name}", self.instance);
        // Recorded first: a creation that fails halfway is cleaned up too.
        self.record(Namespace::named(&full));
        let ns = Namespace::create(full)?;
        for (key, value) in [
            ("net.ipv6.conf.all.disable_ipv6", "1"),
            ("net.ipv6.conf.default.disable_ipv6", "1"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
            // Lets `traffic::ping` use a datagram socket, where the kernel checks and sorts the replies.
            ("net.ipv4.ping_group_range", "0 0"),
        ] {
            match ns.sysctl(key, value) {
                // A kernel without IPv6 is silent enough.
                Err(_) if key.contains("ipv6") => {}
                other => other?,
            }
        }
        Ok(ns)
    }

    /// Removes what labs of that tag left behind whose process is no longer alive. Returns the names removed.
    pub fn sweep(tag: &str) -> Result<Vec<String>, LabError> {
        check_tag(tag)?;
        let prefix = format!("selv-{tag}-");
        let mut removed = Vec::new();
        for name in names_in(ROOM) {
            let Some((instance, pid)) = owner(&name, &prefix) else { continue };
            if is_dead(&instance, pid) {
                Namespace::named(&name).remove()?;
                removed.push(name);
            }
        }
        for name in names_in(LOCKS).into_iter().filter(|name| name.ends_with(".lock")) {
            let Some((instance, pid)) = owner(&name, &prefix) else { continue };
            if is_dead(&instance, pid) {
                let _ = fs::remove_file(lock_path(&instance));
            }
        }
        removed.sort();
        Ok(removed)
    }

    fn record(&self, ns: Namespace) {
        self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(ns);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let made = self.made.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        for ns in made.iter().rev() {
            if let Err(e) = ns.remove() {
                eprintln!("lab: {e}");
            }
        }
        let _ = fs::remove_file(&self.lock);
    }
}

/// How many labs of that tag this process has made before.
fn serial(tag: &str) -> u32 {
    static MADE: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let count = made.entry(tag.to_string()).or_default();
    *count += 1;
    *count - 1
}

fn check_tag(tag: &str) -> Result<(), LabError> {
    if !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Ok(());
    }
    Err(LabError::refused(format!("naming a lab `{tag}`"), "a tag is made of lower-case letters and digits"))
}

fn lock_path(instance: &str) -> PathBuf {
    Path::new(LOCKS).join(format!("{instance}.lock"))
}

fn names_in(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The instance and process id in `selv-demo-17.1-gw` or `selv-demo-17.lock`.
fn owner(name: &str, prefix: &str) -> Option<(String, u32)> {
    let rest = name.strip_prefix(prefix)?;
    let rest = rest.strip_suffix(".lock").unwrap_or_else(|| rest.split('-').next().unwrap_or(rest));
    let pid = rest.split('.').next()?.parse().ok()?;
    Some((format!("{prefix}{rest}"), pid))
}

/// A dead process holds no lock. A process id alone would not do: it may have been given to somebody else since.
fn is_dead(instance: &str, pid: u32) -> bool {
    let pid_gone = !Path::new(&format!("/proc/{pid}")).exists();
    let Ok(lock) = File::open(lock_path(instance)) else { return pid_gone };
    if lock.try_lock().is_err() {
        return false;
    }
    let age = lock.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
    pid_gone || age.is_some_and(|age| age > NEWBORN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        let prefix = "selv-demo-";
        let cases = [
            ("selv-demo-17-gw", Some(("selv-demo-17", 17))),
            ("selv-demo-17.2-blue1-pod", Some(("selv-demo-17.2", 17))),
            ("selv-demo-17.lock", Some(("selv-demo-17", 17))),
            ("selv-demo-17.2.lock", Some(("selv-demo-17.2", 17))),
            ("selv-demo-x-gw", None),
            ("selv-demolition-17-gw", None),
            ("cni-17", None),
        ];
        for (name, expected) in cases {
            assert_eq!(owner(name, prefix), expected.map(|(i, p)| (i.to_string(), p)), "{name}");
        }
    }

    #[test]
    fn tags_with_a_dash_or_nothing_in_them_are_refused() {
        for bad in ["", "a-1", "Demo", "a/b", "a.b"] {
            assert!(Lab::new(bad).is_err() && Lab::sweep(bad).is_err(), "{bad}");
        }
    }
}

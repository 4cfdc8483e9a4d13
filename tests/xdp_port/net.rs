//! Three network namespaces in a row: `a` — gateway — `b`, joined by veth pairs, gone when the value is dropped.

#[path = "../support/root.rs"]
mod root;

use root::root;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, spawn};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use selvedge::wire::Mac;

pub(crate) const A_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
pub(crate) const B_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
/// The gateway's MACs on `v0` (to `a`) and `v1` (to `b`).
pub(crate) const GATEWAY_MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 1, 0]), Mac([2, 0, 0, 0, 1, 1])];

/// `a` is 10.1.0.2 and the gateway 10.1.0.1 between them; `b` is 10.2.0.2 and the gateway 10.2.0.1; `b` is also
/// 10.9.0.1, which `a` reaches through the gateway only.
pub(crate) struct Net {
    tag: String,
}

impl Net {
    /// None, with a line on standard output, where the environment says that there is no root; panics where the
    /// network cannot be built for another reason.
    pub(crate) fn new() -> Option<Self> {
        if !root() {
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Self { tag: format!("selv-p-{}-{number}", std::process::id()) };
        for place in ["a", "g", "b"] {
            ip(&format!("netns add {}", net.name(place)));
            net.ip(place, "link set lo up");
        }
        net.wire("a", A_MAC, 0);
        net.wire("b", B_MAC, 1);
        net.ip("a", "route add 10.9.0.0/16 via 10.1.0.1");
        net.ip("b", "addr add 10.9.0.1/32 dev lo");
        net.ip("b", "route add 10.1.0.0/24 via 10.2.0.1");
        Some(net)
    }

    fn wire(&self, place: &str, mac: Mac, n: usize) {
        let (subnet, gateway) = (n + 1, GATEWAY_MACS[n]);
        let peer = self.name(place);
        self.ip("g", &format!("link add v{n} address {gateway} type veth peer name p{n} address {mac} netns {peer}"));
        self.ip("g", &format!("addr add 10.{subnet}.0.1/24 dev v{n}"));
        self.ip(place, &format!("addr add 10.{subnet}.0.2/24 dev p{n}"));
        self.ip("g", &format!("link set v{n} up"));
        self.ip(place, &format!("link set p{n} up"));
        self.ip(place, &format!("neigh replace 10.{subnet}.0.1 lladdr {gateway} dev p{n}"));
        self.ip("g", &format!("neigh replace 10.{subnet}.0.2 lladdr {mac} dev v{n}"));
    }

    fn name(&self, place: &str) -> String {
        format!("{}-{place}", self.tag)
    }

    /// ip(8) within a namespace.
    pub(crate) fn ip(&self, place: &str, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.name(place)))
    }

    /// Runs `what` in a thread of the namespace.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        place: &str,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name(place))).unwrap();
        spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            what()
        })
    }

    /// Runs `what` in the namespace and waits for it.
    pub(crate) fn within<T: Send + 'static>(&self, place: &str, what: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(place, what).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for place in ["a", "b", "g"] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(place)]).output();
        }
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip(8) of iproute2");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

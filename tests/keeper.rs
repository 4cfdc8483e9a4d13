//! The neighbour keeper against a real kernel, in network namespaces of its own. Needs root.

#[path = "support/root.rs"]
mod root;

use root::root;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use selvedge::control::keeper::{Changes, Hop, HopKey, HopState, Keeper, LinkChange, Settings, Unready};
use selvedge::wire::Mac;

/// What the issue allows a change to take.
const SOON: Duration = Duration::from_secs(1);
const FAR: &str = "10.9.0.7";

/// A gateway's namespace with two ports (`up0`, `acc0`) to a router's (`r0`, `r1`) and one more interface (`oth0`).
struct Lab {
    gateway: String,
    router: String,
}

impl Lab {
    fn new(test: &str) -> Option<Self> {
        if !root() {
            return None;
        }
        let pid = std::process::id();
        let lab = Self { gateway: format!("selv-k-{pid}-{test}-gw"), router: format!("selv-k-{pid}-{test}-rt") };
        run(&["netns", "add", &lab.gateway]);
        run(&["netns", "add", &lab.router]);
        for (index, (near, far)) in [("up0", "r0"), ("acc0", "r1")].into_iter().enumerate() {
            let (net, gateway) = (index + 1, &lab.gateway);
            let (near_mac, far_mac) = (format!("02:00:00:00:0{net}:01"), format!("02:00:00:00:0{net}:02"));
            lab.gw(&format!(
                "link add {near} address {near_mac} type veth peer name {far} address {far_mac} netns {}",
                lab.router
            ));
            lab.gw(&format!("addr add 10.0.{net}.1/24 dev {near}"));
            lab.rt(&format!("addr add 10.0.{net}.2/24 dev {far}"));
            lab.gw(&format!("link set {near} up"));
            lab.rt(&format!("link set {far} up"));
            let knob = |name: &str, value: u32| {
                let setting = format!("net.ipv4.neigh.{near}.{name}={value}");
                execute(Command::new("ip").args(["netns", "exec", gateway, "sysctl", "-qw", &setting]));
            };
            knob("retrans_time_ms", 100);
            knob("delay_first_probe_time", 1);
        }
        lab.gw(&format!("link add oth0 type veth peer name r2 netns {}", lab.router));
        lab.rt("link set r2 up");
        lab.gw("addr add 10.0.3.1/24 dev oth0");
        lab.gw("link set oth0 up");
        lab.gw("route add 10.9.0.0/16 via 10.0.1.2");
        Some(lab)
    }

    /// `ip` in the gateway's namespace.
    fn gw(&self, command: &str) -> String {
        run(&[&["-n", &self.gateway], &*command.split(' ').collect::<Vec<_>>()].concat())
    }

    /// `ip` in the router's namespace.
    fn rt(&self, command: &str) -> String {
        run(&[&["-n", &self.router], &*command.split(' ').collect::<Vec<_>>()].concat())
    }

    fn ifindex(&self, name: &str) -> u32 {
        let line = self.gw(&format!("-o link show dev {name}"));
        line.split(':').next().and_then(|index| index.trim().parse().ok()).expect("an index")
    }

    fn neighbour(&self, addr: &str) -> String {
        self.gw(&format!("neigh show {addr}"))
    }

    /// Runs `test` in the gateway's namespace, on a thread with a runtime of its own.
    fn inside<F: AsyncFnOnce(&Lab) + Send>(&self, test: F) {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = std::fs::File::open(format!("/run/netns/{}", self.gateway)).expect("the namespace");
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
                    .expect("setns");
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("runtime")
                    .block_on(test(self));
            });
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    async fn keeper(&self, settings: Settings) -> Watched {
        let ports = [self.ifindex("up0"), self.ifindex("acc0")];
        let keeper = Keeper::start_with(&ports, settings).await.expect("the keeper starts");
        Watched { keeper, seen: Vec::new() }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.gateway, &self.router] {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

fn run(args: &[&str]) -> String {
    execute(Command::new("ip").args(args))
}

fn execute(command: &mut Command) -> String {
    let out = command.output().expect("iproute2 is installed");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A keeper and all it reported.
struct Watched {
    keeper: Keeper,
    seen: Vec<Changes>,
}

impl Watched {
    /// Lets the keeper work until `done` or the time is over.
    async fn until(&mut self, what: &str, within: Duration, mut done: impl FnMut(&Keeper) -> bool) -> Duration {
        let began = Instant::now();
        while !done(&self.keeper) {
            match tokio::time::timeout_at((began + within).into(), self.keeper.changed()).await {
                Ok(changes) => self.seen.push(changes),
                Err(_) => assert!(done(&self.keeper), "{what}: not within {within:?}; reported: {:#?}", self.seen),
            }
        }
        println!("{what}: {:?}", began.elapsed());
        began.elapsed()
    }

    async fn state(&mut self, what: &str, key: HopKey, state: impl Fn(&HopState) -> bool) {
        self.until(what, SOON, |keeper| state(&keeper.state(&key))).await;
        // What was reported last is what is.
        let last = self.seen.iter().rev().flat_map(|c| &c.hops).find(|(k, _)| *k == key).map(|(_, s)| s.clone());
        assert!(last.is_none_or(|last| state(&last)), "{what}: not reported: {:#?}", self.seen);
    }

    async fn mac(&mut self, what: &str, key: HopKey, mac: &str) {
        let mac: Mac = mac.parse().expect("a MAC");
        self.state(what, key, |state| state.as_ref().is_ok_and(|hop| hop.mac == mac)).await;
    }

    /// Lets the keeper work until the outside world satisfies `done`, looking every 20 ms.
    async fn world(&mut self, what: &str, within: Duration, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + within;
        while !done() {
            assert!(Instant::now() < deadline, "{what}: not within {within:?}");
            if let Ok(changes) = tokio::time::timeout(Duration::from_millis(20), self.keeper.changed()).await {
                self.seen.push(changes);
            }
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn routed(dst: &str) -> HopKey {
    HopKey::Routed { dst: ip(dst), from: ip("10.0.1.1") }
}

#[test]
fn a_hop_is_resolved_before_any_packet_and_follows_the_kernel() {
    let Some(lab) = Lab::new("follow") else { return };
    lab.inside(async |lab| {
        let mut w = lab.keeper(Settings::default()).await;
        let (up, acc) = (lab.ifindex("up0"), lab.ifindex("acc0"));
        let far = routed(FAR);
        let foreign = HopKey::Routed { dst: ip("10.9.0.8"), from: ip("192.0.2.1") };
        let near = HopKey::Attached { ifindex: acc, addr: ip("10.0.2.2") };
        w.keeper.watch([far, near, foreign]);
        w.mac("resolved", far, "02:00:00:00:01:02").await;
        w.mac("resolved from a source not ours", foreign, "02:00:00:00:01:02").await;
        w.mac("resolved natively", near, "02:00:00:00:02:02").await;
        let hop = Hop {
            ifindex: up,
            gateway: ip("10.0.1.2"),
            mac: "02:00:00:00:01:02".parse().unwrap(),
            source_mac: "02:00:00:00:01:01".parse().unwrap(),
            mtu: 1500,
        };
        assert_eq!(w.keeper.state(&far), Ok(hop));

        lab.gw("neigh replace 10.0.1.2 lladdr 02:00:00:00:0a:0a nud reachable dev up0");
        w.mac("another MAC", far, "02:00:00:00:0a:0a").await;
        lab.gw("route replace 10.9.0.0/16 via 10.0.2.2");
        w.mac("another gateway", far, "02:00:00:00:02:02").await;
        assert_eq!(w.keeper.state(&far).unwrap().ifindex, acc);
        lab.gw("route replace 10.9.0.0/16 via 10.0.2.2 mtu 1400");
        w.state("a route with an MTU", far, |s| s.as_ref().is_ok_and(|hop| hop.mtu == 1400)).await;
        lab.gw("link set acc0 mtu 1300");
        w.state("a link's MTU", far, |s| s.as_ref().is_ok_and(|hop| hop.mtu == 1300)).await;
        lab.gw("link set acc0 address 02:00:00:00:0b:0b");
        let mac: Mac = "02:00:00:00:0b:0b".parse().unwrap();
        w.state("a link's MAC", near, |s| s.as_ref().is_ok_and(|hop| hop.source_mac == mac)).await;
        assert!(w.seen.iter().flat_map(|c| &c.links).any(|l| matches!(l, LinkChange::Changed(f) if f.mac == mac)));
        // A policy rule takes precedence over the main table.
        lab.gw("route add default via 10.0.1.2 table 77");
        lab.gw("rule add from 10.0.1.1 table 77");
        w.state("a rule", far, |s| s.as_ref().is_ok_and(|hop| hop.ifindex == up)).await;
        let addresses = &w.keeper.link(up).unwrap().addresses;
        assert!(addresses.contains(&(ip("10.0.1.1"), 24)), "{addresses:?}");
    });
}

#[test]
fn links_go_down_come_up_and_vanish() {
    let Some(lab) = Lab::new("links") else { return };
    lab.inside(async |lab| {
        let mut w = lab.keeper(Settings::default()).await;
        let up = lab.ifindex("up0");
        let (far, near) = (routed(FAR), HopKey::Attached { ifindex: up, addr: ip("10.0.1.2") });
        w.keeper.watch([far, near]);
        w.mac("resolved", far, "02:00:00:00:01:02").await;

        lab.rt("link set r0 down");
        // The kernel itself takes up to a second to announce the loss of a carrier (net/core/link_watch.c).
        w.until("no carrier", 2 * SOON, |k| k.state(&near) == Err(Unready::LinkDown)).await;
        lab.rt("link set r0 up");
        w.mac("carrier again", near, "02:00:00:00:01:02").await;
        w.mac("carrier again, routed", far, "02:00:00:00:01:02").await;
        lab.gw("link set up0 down");
        w.state("down", near, |s| *s == Err(Unready::LinkDown)).await;
        w.state("down, routed", far, |s| *s == Err(Unready::NoRoute)).await;
        assert!(!w.keeper.link(up).unwrap().up);
        lab.gw("link set up0 up");
        lab.gw("route replace 10.9.0.0/16 via 10.0.1.2");
        w.mac("up", near, "02:00:00:00:01:02").await;
        w.mac("up, routed", far, "02:00:00:00:01:02").await;
        w.world("probed again", SOON, || lab.neighbour("10.0.1.2").contains("REACHABLE")).await;
        lab.gw("link del up0");
        w.until("vanished", SOON, |keeper| keeper.link(up).is_none()).await;
        let gone = LinkChange::Vanished { ifindex: up, name: "up0".to_owned() };
        assert!(w.keeper.state(&near) == Err(Unready::LinkDown));
        w.state("vanished, routed", far, |s| *s == Err(Unready::NoRoute)).await;
        assert!(w.seen.iter().flat_map(|c| &c.links).any(|l| *l == gone), "{:#?}", w.seen);
    });
}

#[test]
fn a_flush_is_survived_and_an_unreachable_host_named() {
    let Some(lab) = Lab::new("flush") else { return };
    lab.inside(async |lab| {
        let mut w = lab.keeper(Settings::default()).await;
        let (up, far) = (lab.ifindex("up0"), routed(FAR));
        let nobody = HopKey::Attached { ifindex: up, addr: ip("10.0.1.99") };
        w.keeper.watch([far, nobody]);
        w.mac("resolved", far, "02:00:00:00:01:02").await;
        w.state("unreachable", nobody, |s| *s == Err(Unready::Unreachable)).await;
        assert!(w.seen.iter().flat_map(|c| &c.hops).any(|h| *h == (nobody, Err(Unready::Resolving))));

        w.seen.clear();
        for round in ["neigh flush dev up0", "neigh del 10.0.1.2 dev up0"] {
            lab.gw(round);
            w.world(round, SOON, || lab.neighbour("10.0.1.2").contains("REACHABLE")).await;
        }
        let hops: Vec<_> = w.seen.iter().flat_map(|c| &c.hops).filter(|(key, _)| *key == far).collect();
        assert!(hops.iter().all(|(_, state)| state.is_ok()), "{hops:?}");
        lab.rt("addr add 10.0.1.99/24 dev r0");
        // It is asked for every second.
        let there = |k: &Keeper| k.state(&nobody).is_ok();
        w.until("reachable after all", 2 * SOON, there).await;
        lab.rt("link set r0 arp off");
        lab.gw("neigh flush dev up0");
        w.state("a router that died", far, |s| *s == Err(Unready::Unreachable)).await;
    });
}

#[test]
fn a_router_that_silently_changes_its_mac_is_found_out() {
    let Some(lab) = Lab::new("silent") else { return };
    lab.inside(async |lab| {
        let setting = "net.ipv4.neigh.up0.base_reachable_time_ms=300";
        execute(Command::new("sysctl").args(["-qw", setting]));
        let mut w = lab.keeper(Settings::default()).await;
        let far = routed(FAR);
        w.keeper.watch([far]);
        w.mac("resolved", far, "02:00:00:00:01:02").await;
        lab.rt("link set r0 address 02:00:00:00:0c:0c");
        let mac: Mac = "02:00:00:00:0c:0c".parse().unwrap();
        // Reachable time, one second of delay, probes, at most three seconds between two keep-alives.
        let new = |k: &Keeper| k.state(&far).is_ok_and(|hop| hop.mac == mac);
        w.until("found out", Duration::from_secs(10), new).await;
    });
}

#[test]
fn what_is_no_way_to_a_peer_is_told_apart() {
    let Some(lab) = Lab::new("refuse") else { return };
    lab.inside(async |lab| {
        lab.gw("route add blackhole 10.7.0.0/16");
        lab.gw("route add unreachable 10.6.0.0/16");
        lab.gw("route add prohibit 10.5.0.0/16");
        let mut w = lab.keeper(Settings::default()).await;
        let other = lab.ifindex("oth0");
        let not_a_port = Err(Unready::NotAPort { ifindex: other, name: Some("oth0".to_owned()) });
        let cases = [
            (routed("10.0.3.9"), not_a_port.clone()),
            (HopKey::Attached { ifindex: other, addr: ip("10.0.3.9") }, not_a_port),
            (routed("10.7.0.1"), Err(Unready::NotUnicast)),
            (routed("10.6.0.1"), Err(Unready::NotUnicast)),
            (routed("10.5.0.1"), Err(Unready::NotUnicast)),
            (routed("10.0.1.1"), Err(Unready::NotUnicast)),
            (routed("10.0.1.255"), Err(Unready::NotUnicast)),
            (routed("224.0.0.9"), Err(Unready::NotUnicast)),
            (routed("192.0.2.9"), Err(Unready::NoRoute)),
        ];
        w.keeper.watch(cases.iter().map(|(key, _)| *key));
        for (key, expected) in cases {
            w.state(&key.to_string(), key, |state| *state == expected).await;
        }
        let e = Keeper::start(&[9999]).await.err().expect("no such port");
        assert!(e.to_string().contains("9999"), "{e}");
    });
}

#[test]
fn the_administrators_entries_are_left_alone_and_nothing_is_left_behind() {
    let Some(lab) = Lab::new("admin") else { return };
    lab.inside(async |lab| {
        lab.gw("neigh add 10.0.1.50 lladdr 02:00:00:00:05:50 nud permanent dev up0");
        lab.gw("neigh add 10.0.1.2 lladdr 02:00:00:00:01:02 nud stale extern_learn dev up0");
        let mut w = lab.keeper(Settings::default()).await;
        let up = lab.ifindex("up0");
        let attached = |addr| HopKey::Attached { ifindex: up, addr: ip(addr) };
        w.keeper.watch([attached("10.0.1.50"), attached("10.0.1.2"), attached("10.0.1.60")]);
        w.mac("permanent", attached("10.0.1.50"), "02:00:00:00:05:50").await;
        // A stale entry is probed although nothing uses it.
        w.world("probed", 5 * SOON, || lab.neighbour("10.0.1.2").contains("REACHABLE")).await;
        assert!(lab.neighbour("10.0.1.2").contains("extern_learn"), "{}", lab.neighbour("10.0.1.2"));
        // One that becomes permanent while it is being asked for every second.
        lab.gw("neigh replace 10.0.1.60 lladdr 02:00:00:00:05:60 nud permanent dev up0");
        w.mac("made permanent", attached("10.0.1.60"), "02:00:00:00:05:60").await;
        let mut rounds = 0..75;
        w.world("time passes", 5 * SOON, || rounds.next().is_none()).await;
        for addr in ["10.0.1.50", "10.0.1.60"] {
            assert!(lab.neighbour(addr).contains("PERMANENT"), "{}", lab.neighbour(addr));
        }
        drop(w);
        let left = lab.gw("neigh show dev up0");
        let ours = left.lines().filter(|l| !l.starts_with("10.0.1.50 ") && !l.starts_with("10.0.1.60 "));
        assert!(ours.clone().all(|l| !l.contains("PERMANENT") && !l.contains("managed")), "{left}");
    });
}

#[test]
fn announcements_lost_to_an_overrun_are_made_good() {
    let Some(lab) = Lab::new("overrun") else { return };
    lab.inside(async |lab| {
        let mut w = lab.keeper(Settings { receive_buffer: 4096 }).await;
        let (up, far) = (lab.ifindex("up0"), routed(FAR));
        let attached = |addr| HopKey::Attached { ifindex: up, addr: ip(addr) };
        let keys = [far, attached("10.0.1.2"), attached("10.0.1.70"), attached("10.0.1.80")];
        lab.gw("neigh replace 10.0.1.80 lladdr 02:00:00:00:08:80 nud permanent dev up0");
        w.keeper.watch(keys);
        w.mac("resolved", far, "02:00:00:00:01:02").await;

        let mut batch = String::new();
        for i in 0..4000_u32 {
            let net = Ipv4Addr::from_bits(0x0a64_0000 + i * 256);
            batch += &format!("route add {net}/24 via 10.0.1.2\n");
        }
        for i in 0..200 {
            batch += &format!("neigh replace 10.0.2.{} lladdr 02:00:00:01:00:{i:02x} nud reachable dev acc0\n", i + 3);
        }
        batch += "neigh replace 10.0.1.70 lladdr 02:00:00:00:07:70 nud permanent dev up0\n";
        batch += "neigh del 10.0.1.80 dev up0\n";
        batch += "route replace 10.9.0.0/16 via 10.0.2.2\nlink set up0 mtu 1280\n";
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), batch).expect("a file");
        // The keeper's own thread runs this: it hears nothing until all is over.
        let began = Instant::now();
        run(&["-n", &lab.gateway, "-batch", file.path().to_str().expect("a path")]);
        println!("the batch: {:?}", began.elapsed());
        w.mac("the route", far, "02:00:00:00:02:02").await;
        w.mac("a neighbour", attached("10.0.1.70"), "02:00:00:00:07:70").await;
        w.state("a link", attached("10.0.1.2"), |s| s.as_ref().is_ok_and(|hop| hop.mtu == 1280)).await;
        w.until("a deleted neighbour", SOON, |k| k.state(&attached("10.0.1.80")) == Err(Unready::Unreachable)).await;
        assert!(w.keeper.overruns() > 0, "the buffer never overran");
        lab.gw("route replace 10.9.0.0/16 via 10.0.1.2");
        w.mac("heard again afterwards", far, "02:00:00:00:01:02").await;
    });
}

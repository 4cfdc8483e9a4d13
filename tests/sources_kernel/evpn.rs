//! FRR's EVPN programs the device, between two namespaces: prefixes (type 5) by a layer 3 segment, hosts (type 2) by one
//! of layer 2. A gateway in the one forwards along what is programmed there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use selvedge::lab::traffic::ping;
use selvedge::lab::{Lab, Namespace, Process};
use tempfile::TempDir;

use super::followed::{Followed, device, inside, way};
use super::{root, run_all};

/// BGP sessions come up within some seconds.
const CONVERGED: Duration = Duration::from_secs(20);

/// A router of the fabric: what makes two of them differ is one number, 1 or 2.
struct Router {
    ns: Namespace,
    number: u8,
    daemons: Vec<Process>,
    _room: TempDir,
}

impl Drop for Router {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.stop(Duration::from_secs(1));
        }
    }
}

/// Segment 100 carries routed packets by bridge br100, segment 10 frames of the hosts on bridge br10.
fn devices(ns: &Namespace, n: u8) {
    ns.run(|| {
        run_all(&[&format!("ip addr add 192.0.2.{n}/24 dev up0"), "ip link set up0 up"]);
        for (vni, mac) in [(100, "02:00:00:00:00"), (10, "02:00:00:00:10")] {
            run_all(&[
                &format!("ip link add br{vni} type bridge"),
                &format!("ip link set br{vni} addrgenmode none address {mac}:0{n}"),
                &format!("ip link add vxlan{vni} type vxlan id {vni} local 192.0.2.{n} dstport 4789 nolearning"),
                &format!("ip link set vxlan{vni} addrgenmode none master br{vni}"),
                &format!("ip link set br{vni} up"),
                &format!("ip link set vxlan{vni} up"),
            ]);
        }
        run_all(&[
            &format!("ip addr add 10.245.0.{n}/24 dev br10"),
            "ip link add pods type veth peer name pods-end",
            "ip link set pods up",
            "ip link set pods-end up",
            &format!("ip addr add 10.244.{n}.1/24 dev pods"),
        ]);
    })
    .unwrap();
}

impl Router {
    fn start(ns: Namespace, number: u8) -> Self {
        devices(&ns, number);
        let room = tempfile::Builder::new().prefix("frr").tempdir().unwrap();
        // the daemons give up root for a user of their own
        let chown = Command::new("chown").arg("frr").arg(room.path()).status().unwrap();
        assert!(chown.success(), "the package frr is installed");
        let other = 3 - number;
        let networks = [format!("10.244.{number}.0/24"), format!("198.51.{number}.0/24")];
        let networks: String = networks.iter().map(|network| format!("  network {network}\n")).collect();
        let zebra = format!("hostname r{number}\nvni 100\n");
        let bgp = format!(
            "router bgp 6500{number}\n bgp router-id 192.0.2.{number}\n no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n timers bgp 1 3\n neighbor 192.0.2.{other} remote-as 6500{other}\n \
             neighbor 192.0.2.{other} timers connect 1\n address-family ipv4 unicast\n{networks} exit-address-family\n \
             address-family l2vpn evpn\n  neighbor 192.0.2.{other} activate\n  \
             advertise-all-vni\n  advertise ipv4 unicast\n exit-address-family\n"
        );
        let mut router = Self { ns, number, daemons: Vec::new(), _room: room };
        router.daemon("zebra", &zebra);
        let socket = router.room().join("zserv.api");
        for _ in 0..200 {
            if socket.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        router.daemon("bgpd", &bgp);
        router
    }

    fn room(&self) -> &Path {
        self._room.path()
    }

    /// Starts a daemon with files and sockets of its own.
    fn daemon(&mut self, name: &str, config: &str) {
        let at = |file: &str| self.room().join(file);
        let config_file = at(&format!("{name}.conf"));
        fs::write(&config_file, config).unwrap();
        let mut command = Command::new(format!("/usr/lib/frr/{name}"));
        command.arg("-f").arg(config_file).arg("-i").arg(at(&format!("{name}.pid"))).arg("-z").arg(at("zserv.api"));
        command.arg("--vty_socket").arg(self.room()).args(["-P", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = self.ns.spawn(command).unwrap();
        self.daemons.push(process);
    }

    /// A host on the router's own segment, known by its MAC address.
    fn host(&self, pod: &Namespace) {
        let n = self.number;
        self.ns
            .run(|| {
                run_all(&[
                    &format!("ip link add host0 type veth peer name eth0 netns {}", pod.name()),
                    "ip link set host0 addrgenmode none master br10",
                    "ip link set host0 up",
                ]);
            })
            .unwrap();
        pod.run(|| {
            run_all(&[
                "ip link set eth0 address 02:00:00:00:00:99",
                &format!("ip addr add 10.245.0.{n}9/24 dev eth0"),
                "ip link set eth0 up",
            ]);
        })
        .unwrap();
        let seen = ping(&self.ns, [10, 245, 0, 10 * n + 9], 3, 56).unwrap();
        assert!(seen.received > 0, "{seen:?}");
    }
}

#[test]
fn what_frr_learns_by_evpn_is_followed() {
    if !root() {
        return;
    }
    let lab = Lab::new("kevpn").unwrap();
    let [a, b, pod, client] = ["a", "b", "pod", "client"].map(|name| lab.namespace(name).unwrap());
    a.run(|| {
        run_all(&[
            &format!("ip link add up0 type veth peer name up0 netns {}", b.name()),
            &format!("ip link add acc0 type veth peer name eth0 netns {}", client.name()),
            "ip addr add 198.51.1.1/24 dev acc0",
            "ip link set acc0 up",
        ]);
    })
    .unwrap();
    client
        .run(|| {
            run_all(&[
                "ip addr add 198.51.1.2/24 dev eth0",
                "ip link set eth0 up",
                "ip route add default via 198.51.1.1",
            ]);
        })
        .unwrap();
    let _near = Router::start(a.clone(), 1);
    let far = Router::start(b.clone(), 2);
    far.host(&pod);
    inside(&a, async || {
        let mut prefixes = Followed::start(&device("vxlan100", 100, 4789)).await;
        let mut hosts = Followed::start(&device("vxlan10", 10, 4789)).await;
        let (prefix, host) = ("10.244.2.0/24 dev vxlan100", "10.245.0.29 dev br10");
        let router = way("192.0.2.2", "02:00:00:00:00:02");
        prefixes.until("a prefix (type 5)", CONVERGED, |s| s.ways(prefix) == [router]).await;
        let itself = way("192.0.2.2", "02:00:00:00:00:99");
        hosts.until("a host (type 2)", CONVERGED, |s| s.ways(host) == [itself]).await;
        b.run(|| run_all(&["ip addr del 10.244.2.1/24 dev pods"])).unwrap();
        prefixes.until("it is withdrawn", CONVERGED, |s| s.object(prefix).is_none()).await;
        b.run(|| run_all(&["ip addr add 10.244.2.1/24 dev pods"])).unwrap();
        prefixes.until("it is back", CONVERGED, |s| s.ways(prefix) == [router]).await;
    });
    forwards(&a, &client);
}

/// The host beside the near router reaches the prefix of the far one, and is reached, through the gateway: the kernel
/// there forwards nothing.
fn forwards(a: &Namespace, client: &Namespace) {
    a.sysctl("net.ipv4.ip_forward", "0").unwrap();
    let far = [10, 244, 2, 1];
    let before = ping(client, far, 1, 56).unwrap();
    assert_eq!(before.received, 0, "nobody forwards");
    let room = tempfile::tempdir().unwrap();
    let (config, log) = (room.path().join("gateway.toml"), room.path().join("log"));
    let text = format!(
        "[workers]\ncount = 1\n[metrics]\nenabled = false\n[state]\ndirectory = \"{}\"\n\
         [[port]]\ninterface = \"up0\"\nrole = \"underlay\"\n[[port]]\ninterface = \"acc0\"\nrole = \"access\"\n\
         [[overlay]]\nname = \"fabric\"\nvni = 100\nlocal = \"192.0.2.1\"\nmac = \"02:00:00:00:00:01\"\n\
         [[source]]\nname = \"frr\"\noverlay = \"fabric\"\nkind = \"kernel\"\ndevice = \"vxlan100\"\n\
         [[native]]\nprefix = \"198.51.1.0/24\"\nport = \"acc0\"\nnext_hop = \"198.51.1.2\"\n",
        room.path().display()
    );
    fs::write(&config, text).unwrap();
    let said = fs::File::create(&log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
    command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
    command.stdout(said.try_clone().unwrap()).stderr(said);
    let mut gateway = a.spawn(command).unwrap();
    let reached = (0..40).any(|_| ping(client, far, 3, 56).unwrap().complete());
    assert!(reached, "not reached; the gateway said:\n{}", fs::read_to_string(&log).unwrap());
    assert!(gateway.stop(Duration::from_secs(5)).unwrap().success());
}

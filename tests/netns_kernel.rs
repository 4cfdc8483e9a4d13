//! What is not the gateway's is the kernel's: connections to the gateway's own addresses, ARP, ping and other UDP go on
//! as if the gateway were not there.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use selvedge::lab::traffic::{LoadOptions, UdpLoad, ping, tcp_transfer};
use selvedge::lab::{Namespace, Topology};

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts, run_in, until};

/// Where the echo servers in the gateway's namespace listen; 22 may be somebody's.
const SSH: u16 = 2222;

/// A TCP server that says everything back, on all addresses of the namespace. It ends with the test.
fn serve(ns: &Namespace) {
    let listener = ns.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, SSH))).unwrap().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// A connection to such a server, as a person at a terminal would use it.
struct Session {
    stream: TcpStream,
    said: u8,
}

impl Session {
    fn open(from: &Namespace, to: IpAddr) -> Self {
        let patience = Duration::from_secs(2);
        let connect = || TcpStream::connect_timeout(&SocketAddr::from((to, SSH)), patience);
        let stream = from.run(connect).unwrap().unwrap_or_else(|e| panic!("{} to {to}: {e}", from.name()));
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, said: 0 }
    }

    /// Types something and waits for the echo.
    fn say(&mut self, when: &str) {
        self.said += 1;
        let line = [self.said; 700];
        let mut back = [0; 700];
        self.stream.write_all(&line).unwrap();
        self.stream.read_exact(&mut back).unwrap_or_else(|e| panic!("{when}, to {:?}: {e}", self.stream.peer_addr()));
        assert_eq!(line, back, "{when}");
    }
}

/// From a node over the underlay port, and from the native host over the access port.
fn sessions(t: &Topology) -> [Session; 2] {
    [Session::open(&t.blue.nodes[0].ns, t.gateway_vtep), Session::open(&t.native.ns, t.gateway_access.into())]
}

/// ARP, ping and UDP to the addresses of the gateway's ports.
fn kernel_answers(t: &Topology, when: &str) {
    for (ns, address) in [(&t.blue.nodes[0].ns, t.gateway_vtep), (&t.native.ns, t.gateway_access.into())] {
        run_in(ns, &["ip", "neigh", "flush", "dev", "eth0"]);
        let echo = ping(ns, address, 2, 1000).unwrap();
        assert!(echo.complete(), "{when}: {} to {address}: {echo:?}", ns.name());
        let neighbours = run_in(ns, &["ip", "neigh", "show", &address.to_string(), "dev", "eth0"]);
        assert!(neighbours.contains("lladdr 02:00:00:00:00:0"), "{when}: {neighbours}");
    }
}

#[test]
fn sessions_survive_start_load_and_stop() {
    let Some(mut net) = Net::new("sessions") else { return };
    serve(&net.t.gateway);
    let t = net.t.clone();
    let mut old = sessions(&t);
    let all = |sessions: &mut [Session], when: &str| sessions.iter_mut().for_each(|s| s.say(when));
    all(&mut old, "before the start");
    net.start();
    all(&mut old, "after the start");
    kernel_answers(&t, "running");
    let [blue, green, native] = hosts(&t);
    let load = LoadOptions { rate: 4000, flows: 8, payload: 600, duration: Duration::from_secs(5) };
    let loads =
        [(blue, green), (native, blue)].map(|(from, to)| UdpLoad::start(&from.ns, &to.ns, to.address, load).unwrap());
    assert!(until(Duration::from_secs(2), || loads.iter().all(|l| l.counts().received > 100)));
    let mut new = sessions(&t);
    for _ in 0..20 {
        all(&mut old, "under load");
        all(&mut new, "new, under load");
    }
    kernel_answers(&t, "under load");
    for counts in loads.map(UdpLoad::stop) {
        assert_eq!((counts.corrupt, counts.duplicate), (0, 0), "{counts:?}");
    }
    // Bulk to the gateway's own address, too: native hosts copy files to it.
    let bulk = tcp_transfer(&t.native.ns, &t.gateway, t.gateway_access, 2 << 20).unwrap();
    assert!(bulk.hash_ok, "{bulk:?}");
    let bulk = tcp_transfer(&t.gateway, &t.blue.nodes[0].ns, t.blue.nodes[0].vtep, 2 << 20).unwrap();
    assert!(bulk.hash_ok, "{bulk:?}");
    net.ledger();
    net.stop();
    all(&mut old, "after the stop");
    all(&mut new, "new, after the stop");
    kernel_answers(&t, "after the stop");
}

#[test]
fn sessions_survive_a_crash() {
    let Some(mut net) = Net::running("crash") else { return };
    serve(&net.t.gateway);
    let mut open = sessions(&net.t);
    open.iter_mut().for_each(|s| s.say("running"));
    net.kill();
    open.iter_mut().for_each(|s| s.say("after the crash"));
    net.start();
    open.iter_mut().for_each(|s| s.say("running again"));
    net.finish();
}

#[test]
fn strangers_are_turned_away_and_counted() {
    let Some(net) = Net::running("strangers") else { return };
    let t = &net.t;
    let node = &t.blue.nodes[0];
    let stranger = IpAddr::from([192, 0, 2, 99]);
    node.ns.address("eth0", stranger, 24).unwrap();
    let socket = |from: IpAddr| node.ns.run(|| UdpSocket::bind((from, 0))).unwrap().unwrap();
    // I flag, VNI 1; whoever is no peer gets no further parsing
    let packet = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &[0; 60]].concat();
    let from_stranger = socket(stranger);
    for _ in 0..25 {
        from_stranger.send_to(&packet, (t.gateway_vtep, t.blue.udp_port)).unwrap();
    }
    // A node of blue is a stranger to green.
    let packet = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &[0; 60]].concat();
    for _ in 0..5 {
        socket(node.vtep).send_to(&packet, (t.gateway_vtep, t.green.udp_port)).unwrap();
    }
    let drops = || net.scrape().by("selvedge_dropped_packets_total", "reason");
    assert!(until(Duration::from_secs(1), || drops()["unknown_peer"] >= 30.0), "{:?}", drops());
    let counted = drops();
    assert_eq!(counted["unknown_peer"], 30.0, "{counted:?}");
    assert_eq!(counted.values().sum::<f64>(), 30.0, "{counted:?}");
    // The same host and another port: the kernel's.
    let server = t.gateway.run(|| UdpSocket::bind((t.gateway_vtep, 0))).unwrap().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    from_stranger.send_to(b"for the kernel", server.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 64];
    let (n, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..n], from.ip()), (&b"for the kernel"[..], stranger));
    net.finish();
}

#[test]
fn a_native_host_learns_the_mtu_of_the_overlay() {
    let Some(net) = Net::running("pmtu") else { return };
    let [blue, _, native] = hosts(&net.t);
    // The kernel forbids fragmentation as long as it discovers the path: the first echo is refused.
    let first = ping(&native.ns, blue.address, 1, 1472).unwrap();
    assert_eq!(first.received, 0, "{first:?}");
    let route = run_in(&native.ns, &["ip", "route", "get", &blue.address.to_string()]);
    assert!(route.contains("mtu 1450"), "{route}");
    // Now it fragments to what fits, and all arrives.
    let second = ping(&native.ns, blue.address, 3, 1472).unwrap();
    assert!(second.complete(), "{second:?}");
    let samples = net.finish();
    assert_eq!(samples.sum("selvedge_replied_packets_total", &[]), 1.0);
}

//! XDP ports on real (virtual) interfaces: sockets, steering and what they leave to the kernel. Needs root.

#[path = "xdp_port/checksums.rs"]
mod checksums;
#[path = "xdp_port/net.rs"]
mod net;
#[path = "xdp_port/reasons.rs"]
mod reasons;
#[path = "xdp_port/tags.rs"]
mod tags;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use net::{A_MAC, B_MAC, GATEWAY_MACS, Net};
use selvedge::port::host::{Interface, interface_index, kernel_release, xdp_features};
use selvedge::port::{
    AttachMode, Backing, Burst, Options, Pool, Port, PortError, QueueSpec, RingSizes, Roles, SteerCapacity,
    SteerReason, Steering, Umem, Waiter, Woken, XdpPort, ZeroCopy,
};
use selvedge::wire::{Mac, VlanTags};

const SIZES: RingSizes = RingSizes { rx: 256, tx: 128, fill: 256, completion: 256 };
const ACCESS: Roles = Roles { underlay: false, access: true, proxy: false, tags: VlanTags::NONE };
const UNDERLAY: Roles = Roles { underlay: true, access: false, proxy: false, tags: VlanTags::NONE };
const PATIENCE: Duration = Duration::from_secs(5);

/// The gateway: a port on `v0` and one on `v1`, with one UMEM, both steered.
struct Gateway {
    pool: Pool,
    ports: Vec<XdpPort>,
    steering: Vec<Steering>,
    burst: Burst,
    waiter: Waiter,
}

fn open(pool: &mut Pool, options: Options) -> Result<Vec<XdpPort>, PortError> {
    let specs: Vec<QueueSpec> = ["v0", "v1"].map(|name| QueueSpec::new(interface_index(name).unwrap(), 0)).to_vec();
    XdpPort::open_all(pool, &specs, &SIZES, options)
}

fn steer(name: &str, mac: Mac, roles: Roles, sockets: &[(u32, BorrowedFd<'_>)]) -> Result<Steering, PortError> {
    let ifindex = interface_index(name).unwrap();
    Steering::attach(ifindex, mac, roles, AttachMode::Native, SteerCapacity::default(), sockets)
}

fn pool() -> Pool {
    Pool::new(Umem::new(1024, 2048, Backing::Pages).unwrap()).unwrap()
}

impl Gateway {
    fn new() -> Self {
        let mut pool = pool();
        let ports = open(&mut pool, Options::default()).unwrap();
        let mut steering = vec![
            steer("v0", GATEWAY_MACS[0], ACCESS, &[(0, ports[0].socket())]).unwrap(),
            steer("v1", GATEWAY_MACS[1], UNDERLAY, &[(0, ports[1].socket())]).unwrap(),
        ];
        steering[0].set_prefixes(&["10.9.0.0/16".parse().unwrap()]).unwrap();
        steering[1].set_vteps(&[("10.2.0.1".parse().unwrap(), 4789)]).unwrap();
        Self { pool, ports, steering, burst: Burst::new(64), waiter: Waiter::new().unwrap() }
    }

    fn census(&self) {
        let held: u32 = self.ports.iter().map(|p| p.held().rx + p.held().tx).sum();
        assert_eq!(self.pool.free_count() + held + self.burst.len() as u32, self.pool.total());
    }

    /// Moves `count` packets from one port to the other, each changed by `change`.
    fn forward(&mut self, from: usize, to: usize, count: usize, change: impl Fn(&mut selvedge::wire::Packet<'_>)) {
        let Self { pool, ports, burst, .. } = self;
        let (mut done, begun) = (0, Instant::now());
        while done < count {
            assert!(begun.elapsed() < PATIENCE, "{done} of {count} packets came: {:?}", self.steering[from].counters());
            let fds = ports[from].fd();
            self.waiter.wait(fds, Some(Duration::from_millis(20))).unwrap();
            ports[from].rx(pool, burst);
            burst.frames_mut().for_each(|frame| change(&mut pool.packet(frame)));
            while !burst.is_empty() {
                done += ports[to].tx(pool, burst);
                ports[to].service(pool);
            }
            ports[from].service(pool);
        }
        self.census();
        self.settle();
    }

    /// Services the ports until nothing is to be sent any more.
    fn settle(&mut self) {
        let begun = Instant::now();
        while self.ports.iter().any(|p| p.held().tx > 0) {
            assert!(begun.elapsed() < PATIENCE);
            self.ports.iter_mut().for_each(|p| p.service(&mut self.pool));
            self.census();
        }
    }

    fn count(&self, port: usize, reason: SteerReason) -> u64 {
        self.steering[port].counters().unwrap().get(reason)
    }
}

/// Outer headers to `b` around whatever the packet is: Ethernet, IPv4, UDP without checksum, VXLAN with VNI 1.
fn encapsulate(packet: &mut selvedge::wire::Packet<'_>) {
    let inner = packet.len() as u16;
    let outer = packet.prepend::<50>().unwrap();
    outer[..6].copy_from_slice(&B_MAC.0);
    outer[6..12].copy_from_slice(&GATEWAY_MACS[1].0);
    outer[12..26].copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
    outer[16..18].copy_from_slice(&(inner + 36).to_be_bytes());
    outer[26..34].copy_from_slice(&[10, 2, 0, 1, 10, 2, 0, 2]);
    let sum: u32 = outer[14..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    outer[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    outer[34..38].copy_from_slice(&[0xc0, 0, 0x12, 0xb5]);
    outer[38..40].copy_from_slice(&(inner + 16).to_be_bytes());
    outer[40..50].copy_from_slice(&[0, 0, 8, 0, 0, 0, 0, 0, 1, 0]);
}

fn listen(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0xa5; 4096];
    let len = socket.recv(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

#[test]
fn packets_are_wrapped_on_the_way_out_and_unwrapped_on_the_way_in() {
    let Some(net) = Net::new() else { return };
    let a = net.within("a", || listen("10.1.0.2:5000"));
    let b = net.within("b", || listen("10.2.0.2:4789"));
    let gateway = net.within("g", Gateway::new);
    assert!(net.ip("g", "link show v0").contains("xdp"));

    // Out: what comes from `a` arrives at `b` within 50 bytes of headers.
    for i in 0..100u8 {
        a.send_to(&[i; 200], "10.9.0.1:7").unwrap();
    }
    let mut gateway = net.within("g", move || {
        let mut gateway = gateway;
        gateway.forward(0, 1, 100, encapsulate);
        gateway
    });
    let mut last = Vec::new();
    for i in 0..100u8 {
        last = receive(&b);
        assert_eq!((last.len(), last[..8].to_vec()), (8 + 14 + 28 + 200, vec![8, 0, 0, 0, 0, 0, 1, 0]));
        assert_eq!(last[8 + 14 + 28..], [i; 200]);
    }
    assert_eq!(last[8..14], GATEWAY_MACS[0].0, "the inner frame is as it came");
    assert_eq!(gateway.count(0, SteerReason::RedirectedAccess), 100);

    // In: `b` sends the same back with addresses turned round, and `a` gets what was within.
    let mut inner = last;
    inner[8..14].copy_from_slice(&A_MAC.0);
    let (source, destination): ([u8; 4], [u8; 4]) =
        (inner[34..38].try_into().unwrap(), inner[38..42].try_into().unwrap());
    inner[34..38].copy_from_slice(&destination);
    inner[38..42].copy_from_slice(&source);
    inner[42..48].copy_from_slice(&[0, 7, 0x13, 0x88, 0, 208]);
    inner[48..50].fill(0); // no checksum
    for _ in 0..100 {
        b.send_to(&inner, "10.2.0.1:4789").unwrap();
    }
    gateway.forward(1, 0, 100, |packet| packet.strip(50).unwrap());
    for _ in 0..100 {
        assert_eq!(receive(&a), [99; 200]);
    }
    assert_eq!(gateway.count(1, SteerReason::RedirectedUnderlay), 100);
    for port in &gateway.ports {
        let stats = port.ring_stats();
        assert_eq!((stats.rx_dropped, stats.rx_invalid, stats.tx_invalid, port.refused()), (0, 0, 0, 0));
    }

    drop(gateway);
    assert!(!net.ip("g", "link show").contains("xdp"), "dropped means detached");
}

#[test]
fn the_kernel_keeps_what_is_not_the_gateways() {
    let Some(net) = Net::new() else { return };
    let (gateway, listener) = net.within("g", || (Gateway::new(), TcpListener::bind("10.1.0.1:22").unwrap()));
    let client = net.spawn("a", || {
        let mut stream = TcpStream::connect("10.1.0.1:22").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[7; 100_000]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        back.len()
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    stream.write_all(&all).unwrap();
    drop(stream);
    assert_eq!((all.len(), client.join().unwrap()), (100_000, 100_000));
    assert!(gateway.count(0, SteerReason::PassNotOurs) > 10);
    assert_eq!(gateway.count(0, SteerReason::RedirectedAccess), 0);

    // Another UDP port of the VTEP's address, a multicast packet, ARP.
    let b = net.within("b", || listen("10.2.0.2:0"));
    let there = net.within("g", || listen("10.2.0.1:4790"));
    b.send_to(b"hello", "10.2.0.1:4790").unwrap();
    assert_eq!(receive(&there), b"hello");
    b.send_to(b"hello", "224.0.0.251:5353").unwrap();
    net.ip("b", "neigh del 10.2.0.1 dev p1");
    b.send_to(b"again", "10.2.0.1:4790").unwrap();
    assert_eq!(receive(&there), b"again");
    assert!(gateway.count(1, SteerReason::PassNotOurs) >= 2);
    assert!(gateway.count(1, SteerReason::PassOtherMac) >= 1);
    assert!(gateway.count(1, SteerReason::PassNotIp) >= 1);
    // Fragments: the first one is for the worker to name, the others show no port.
    b.send_to(&[0; 4000], "10.2.0.1:4789").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(gateway.count(1, SteerReason::PassFragment), 2);
    assert_eq!(gateway.count(1, SteerReason::RedirectedUnderlay), 1);
}

#[test]
fn a_queue_without_a_socket_is_counted() {
    let Some(net) = Net::new() else { return };
    let mut steering = net.within("g", || steer("v0", GATEWAY_MACS[0], ACCESS, &[]).unwrap());
    let a = net.within("a", || listen("10.1.0.2:0"));
    let prefixes = ["10.9.0.0/16", "10.9.3.0/24"].map(|p| p.parse().unwrap());
    a.send_to(b"x", "10.9.0.1:7").unwrap();
    steering.set_prefixes(&prefixes).unwrap();
    a.send_to(b"x", "10.9.0.1:7").unwrap();
    steering.retain_prefixes(&prefixes[1..]).unwrap();
    assert_eq!(steering.loaded(), (0, 1));
    a.send_to(b"x", "10.9.0.1:7").unwrap();
    a.send_to(b"x", "10.9.3.1:7").unwrap();
    steering.remove_prefixes(&prefixes).unwrap();
    a.send_to(b"x", "10.9.3.1:7").unwrap();
    steering.set_prefixes(&prefixes).unwrap();
    steering.set_mac(A_MAC).unwrap();
    a.send_to(b"x", "10.9.3.1:7").unwrap();
    let counters = steering.counters().unwrap();
    assert_eq!(counters.get(SteerReason::PassNoSocket), 2);
    assert_eq!(counters.get(SteerReason::PassNotOurs), 3);
    assert_eq!(counters.get(SteerReason::PassOtherMac), 1);
}

#[test]
fn failures_name_the_interface_and_leave_nothing_behind() {
    let Some(net) = Net::new() else { return };
    net.within("g", || {
        let mut pool = pool();
        let strict = Options { zero_copy: ZeroCopy::On, ..Options::default() };
        let e = open(&mut pool, strict).err().unwrap().to_string();
        assert!(e.starts_with("v0 queue 0: ") && e.contains("xdp.zero_copy"), "{e}");
        let none = QueueSpec::new(interface_index("v1").unwrap(), 7);
        let e = XdpPort::open_all(&mut pool, &[none], &SIZES, Options::default()).err().unwrap();
        assert_eq!((e.interface(), e.queue()), ("v1", Some(7)));
        assert_eq!(pool.free_count(), pool.total());

        let first = open(&mut pool, Options::default()).unwrap();
        let e = open(&mut self::pool(), Options::default()).err().unwrap().to_string();
        assert!(e.contains("another process"), "{e}");
        drop(first);
        // At once, as a restarted gateway would.
        let mut pool = self::pool();
        let ports = open(&mut pool, Options::default()).unwrap();
        assert!(ports.iter().all(|p| !p.zero_copy()));

        let sockets = [(0, ports[0].socket())];
        let held = steer("v0", GATEWAY_MACS[0], ACCESS, &sockets).unwrap();
        let e = steer("v0", GATEWAY_MACS[0], ACCESS, &sockets).err().unwrap().to_string();
        assert!(e.starts_with("v0: attaching") && e.contains("another XDP program"), "{e}");
        drop(held);
        drop(steer("v0", GATEWAY_MACS[0], ACCESS, &sockets).unwrap());
    });
}

#[test]
fn an_mtu_the_driver_has_no_xdp_for_is_an_error_with_a_remedy() {
    let Some(net) = Net::new() else { return };
    net.ip("a", "link set p0 mtu 9000"); // veth looks at its peer's
    let attached = net.within("g", || steer("v0", GATEWAY_MACS[0], ACCESS, &[]));
    let e = attached.err().unwrap().to_string();
    assert!(e.contains("lower its MTU"), "{e}");
}

#[test]
fn every_queue_has_its_socket_and_generic_mode_works_too() {
    let Some(net) = Net::new() else { return };
    net.ip("g", "link add v2 numrxqueues 2 numtxqueues 2 type veth peer name p2 numrxqueues 2 numtxqueues 2");
    net.ip("g", &format!("link set p2 address {A_MAC}"));
    net.ip("g", "link set v2 up");
    net.ip("g", "link set p2 up");
    net.within("g", || {
        let [v2, p2] = ["v2", "p2"].map(|name| Interface::query(name).unwrap());
        assert_eq!((v2.rx_queues(), p2.rx_queues()), (2, 2));
        let mut pool = pool();
        let specs = [(&v2, 0), (&v2, 1), (&p2, 0), (&p2, 1)];
        let specs = specs.map(|(interface, queue)| QueueSpec::new(interface.index, queue));
        let mut ports = XdpPort::open_all(&mut pool, &specs, &SIZES, Options::default()).unwrap();
        for mode in [AttachMode::Native, AttachMode::Generic] {
            let sockets = [(0, ports[0].socket()), (1, ports[1].socket())];
            let mut steering =
                Steering::attach(v2.index, v2.mac, ACCESS, mode, SteerCapacity::default(), &sockets).unwrap();
            steering.set_prefixes(&["10.9.0.0/16".parse().unwrap()]).unwrap();
            let mut burst = Burst::new(64);
            for queue in [2, 3] {
                let mut packet = [v2.mac.0, A_MAC.0].concat();
                packet.extend([8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 2, 10, 9, 0, 1]);
                packet.resize(60, 0);
                (0..5).for_each(|_| burst.push(pool.alloc_with(&packet).unwrap()).unwrap());
                assert_eq!(ports[queue].tx(&mut pool, &mut burst), 5);
                ports[queue].service(&mut pool);
            }
            let begun = Instant::now();
            let mut came = [0; 2];
            while came != [5, 5] && (mode == AttachMode::Native || came != [10, 0]) {
                // generic veth forgets queues
                assert!(begun.elapsed() < PATIENCE, "{mode:?}: {came:?}, {:?}", steering.counters());
                for (port, came) in ports.iter_mut().zip(&mut came) {
                    *came += port.rx(&mut pool, &mut burst);
                }
                ports.iter_mut().for_each(|port| port.service(&mut pool));
            }
            burst.free_into(&mut pool);
            assert_eq!(steering.counters().unwrap().get(SteerReason::RedirectedAccess), 10);
        }
        let held: u32 = ports.iter().map(|p| p.held().rx + p.held().tx).sum();
        assert_eq!(pool.free_count() + held, pool.total());
    });
}

#[test]
fn one_call_sends_what_came_by_all_ports() {
    let Some(net) = Net::new() else { return };
    let release: Vec<u32> = kernel_release().split('.').map_while(|n| n.parse().ok()).collect();
    if release < vec![6, 17] {
        println!("SKIPPED: Linux before 6.17 sends 32 frames a call");
        return;
    }
    net.within("g", || {
        let mut pool = pool();
        let options = Options { burst: 50, ..Options::default() };
        let port = &mut open(&mut pool, options).unwrap()[1];
        let mut burst = Burst::new(100);
        (0..100).for_each(|_| burst.push(pool.alloc_with(&[0xff; 60]).unwrap()).unwrap());
        assert_eq!((port.tx(&mut pool, &mut burst), port.unsent()), (100, 100));
        port.service(&mut pool); // sends
        assert_eq!(port.unsent(), 0);
        let begun = Instant::now();
        while port.held().tx > 0 {
            assert!(begun.elapsed() < PATIENCE);
            assert_eq!(port.ring_stats().tx_ring_empty, 1, "no call but the first");
            port.service(&mut pool); // reaps
        }
    });
}

#[test]
fn a_small_budget_is_made_up_for_by_more_calls() {
    let Some(net) = Net::new() else { return };
    net.within("g", || {
        let mut pool = pool();
        // two ports of ten frames each: no more than what every kernel sends a call
        let options = Options { burst: 10, ..Options::default() };
        let port = &mut open(&mut pool, options).unwrap()[1];
        assert_eq!(port.tx_budget(), 32);
        let mut burst = Burst::new(100);
        (0..100).for_each(|_| burst.push(pool.alloc_with(&[0xff; 60]).unwrap()).unwrap());
        assert_eq!(port.tx(&mut pool, &mut burst), 100);
        port.service(&mut pool);
        assert_eq!(port.unsent(), 0);
    });
}

#[test]
fn a_burst_larger_than_the_tx_ring_goes_out_in_order() {
    let Some(net) = Net::new() else { return };
    let b = net.within("b", || listen("10.2.0.2:4789"));
    net.within("g", || {
        let mut gateway = Gateway::new();
        let mut burst = Burst::new(200);
        for i in 0..200u16 {
            let mut frame = gateway.pool.alloc_with(&i.to_be_bytes().repeat(20)).unwrap();
            encapsulate(&mut gateway.pool.packet(&mut frame));
            burst.push(frame).unwrap();
        }
        assert_eq!(gateway.ports[1].tx(&mut gateway.pool, &mut burst), 128);
        assert_eq!((gateway.ports[1].held().tx, gateway.ports[1].unsent(), burst.len()), (128, 128, 72));
        while !burst.is_empty() {
            gateway.ports[1].service(&mut gateway.pool);
            gateway.ports[1].tx(&mut gateway.pool, &mut burst);
        }
        gateway.settle();
        // An empty frame cannot be sent, and is not lost either.
        let empty = gateway.pool.alloc().unwrap();
        burst.push(empty).unwrap();
        assert_eq!(gateway.ports[1].tx(&mut gateway.pool, &mut burst), 1);
        assert_eq!((gateway.ports[1].refused(), gateway.ports[1].held().tx), (1, 0));
        gateway.census();
    });
    for i in 0..200u16 {
        assert_eq!(receive(&b)[8..10], i.to_be_bytes());
    }
}

#[test]
fn the_host_tells_of_its_interfaces_and_sleepers_are_woken() {
    let Some(net) = Net::new() else { return };
    let a = net.within("a", || listen("10.1.0.2:0"));
    net.within("g", move || {
        let v0 = Interface::query("v0").unwrap();
        assert_eq!((v0.driver.as_str(), v0.mac, v0.mtu, v0.up), ("veth", GATEWAY_MACS[0], 1500, true));
        assert!(v0.rx_queues() >= 1 && v0.channels.is_some());
        let features = xdp_features(v0.index).unwrap();
        assert!(features.basic && features.redirect && !features.zero_copy, "{features:?}");

        let mut gateway = Gateway::new();
        let nap = Some(Duration::from_millis(20));
        let fds = |g: &Gateway| g.ports.iter().map(|p| p.socket().try_clone_to_owned().unwrap()).collect::<Vec<_>>();
        let fds = fds(&gateway);
        let mut wait = |timeout| gateway.waiter.wait(fds.iter().map(std::os::fd::AsFd::as_fd), timeout).unwrap();
        assert_eq!(wait(nap), Woken::Timeout);
        a.send_to(b"x", "10.9.0.1:7").unwrap();
        assert_eq!(wait(Some(PATIENCE)), Woken::Port);
        let waker = gateway.waiter.waker();
        assert_eq!(gateway.ports[0].rx(&mut gateway.pool, &mut gateway.burst), 1);
        gateway.census();
        gateway.burst.free_into(&mut gateway.pool);
        let waking = std::thread::spawn(move || waker.wake());
        assert_eq!(gateway.waiter.wait([], Some(PATIENCE)).unwrap(), Woken::Waker);
        waking.join().unwrap();
    });
}

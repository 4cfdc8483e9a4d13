//! The underlay changes under a running gateway: routes, neighbours, links and addresses. Traffic follows within a
//! second, and metrics say what is the matter meanwhile.

#[path = "support/netns.rs"]
mod netns;
#[path = "support/steady.rs"]
mod steady;

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netns::{Net, run_in, until};
use selvedge::control::engine::{Engine, EnginePort};
use selvedge::control::keeper::Keeper;
use selvedge::control::{Route, Target};
use selvedge::lab::{Host, Namespace, Node};
use selvedge::tables::{Addresses, Dscp, Fit, Overlay, OverlayId, TablesWriter, handover};
use selvedge::wire::{Mac, Prefix, Vni};
use steady::{SOON, drops, flows, load};

/// Datagrams a second of the loads that measure: each one lost is a millisecond.
const PACE: u32 = 1_000;

/// How long nothing arrived from one host at another because of an event: a second at most.
fn outage(from: &Host, to: &Host, what: &str, event: impl FnOnce()) -> Duration {
    let load = load(from, to, PACE);
    assert!(until(SOON, || load.counts().received > 50), "{what}: nothing flows before");
    event();
    let arrived = load.counts().received;
    assert!(until(2 * SOON, || load.counts().received > arrived + 100), "{what}: nothing flows after");
    sleep(Duration::from_millis(200));
    let counts = load.stop();
    let outage = Duration::from_millis(counts.lost * 1000 / u64::from(PACE));
    println!("{what}: {outage:?}");
    assert!(outage <= SOON, "{what}: {counts:?}");
    assert_eq!((counts.duplicate, counts.corrupt), (0, 0), "{what}: {counts:?}");
    outage
}

/// Next hops the metrics call unready, with the reason.
fn unready(net: &Net) -> Vec<(String, String)> {
    let samples = net.scrape();
    let hops: Vec<_> = samples.select("selvedge_next_hop_unready", &[]).map(|s| &s.labels).collect();
    assert_eq!(samples.sum("selvedge_next_hops", &[("state", "unready")]), hops.len() as f64);
    hops.into_iter().map(|labels| (labels["hop"].clone(), labels["reason"].clone())).collect()
}

fn no_neighbour(net: &Net) -> f64 {
    net.scrape().sum("selvedge_dropped_packets_total", &[("reason", "no_neighbour")])
}

fn set_mac(ns: &Namespace, link: &str, mac: &str) {
    run_in(ns, &["ip", "link", "set", link, "address", mac]);
}

/// Makes a host tell its neighbours at once when its address changes, as live migration and bonding do.
fn announces(ns: &Namespace, link: &str) {
    ns.sysctl(&format!("net.ipv4.conf.{link}.arp_notify"), "1").unwrap();
    // and those who hear it believe an announcement however soon it follows the one before
    ns.sysctl(&format!("net.ipv4.neigh.{link}.locktime"), "0").unwrap();
}

/// The VTEP of green1 behind routers; the gateway may reach it by blue2 or by green2.
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

/// Puts green1 behind routers, and the gateway on the way by the first of them.
fn behind_routers(net: &mut Net) {
    let t = net.t.clone();
    let green1 = &t.green.nodes[0];
    green1.ns.address("lo", FAR, 32).unwrap();
    let far = Prefix::host(FAR.into());
    for router in routers(&net.t.clone()) {
        for link in ["all", "eth0"] {
            router.ns.sysctl(&format!("net.ipv4.conf.{link}.send_redirects"), "0").unwrap();
        }
        router.ns.route(far, green1.vtep).unwrap();
    }
    t.gateway.route(far, routers(&t)[0].vtep).unwrap();
    net.edit(&format!("vtep = \"{}\"", green1.vtep), &format!("vtep = \"{FAR}\""));
}

fn routers(t: &selvedge::lab::Topology) -> [Node; 2] {
    [t.blue.nodes[1].clone(), t.green.nodes[1].clone()]
}

#[test]
fn a_route_to_a_peer_that_changes_is_followed() {
    let Some(mut net) = Net::new("route") else { return };
    behind_routers(&mut net);
    net.start();
    let t = net.t.clone();
    let (far, [first, second]) = (Prefix::host(FAR.into()), routers(&t));
    let pod = &t.green.nodes[0].pod;
    outage(&t.native, pod, "the route leads to another router, the first is dead", || {
        first.ns.sysctl("net.ipv4.ip_forward", "0").unwrap();
        t.gateway.route(far, second.vtep).unwrap();
    });
    first.ns.sysctl("net.ipv4.ip_forward", "1").unwrap();
    outage(&t.native, pod, "the route is gone for 300 ms", || {
        run_in(&t.gateway, &["ip", "route", "del", &far.to_string()]);
        let reason = |why: &str| unready(&net).iter().any(|(hop, r)| hop.starts_with("203.0.113.5") && r.contains(why));
        assert!(until(SOON, || reason("no route")), "{:?}", unready(&net));
        sleep(Duration::from_millis(200));
        t.gateway.route(far, first.vtep).unwrap();
    });
    assert!(until(SOON, || unready(&net).is_empty()), "{:?}", unready(&net));
    assert!(no_neighbour(&net) > 100.0, "what was lost was counted");
    outage(&t.native, pod, "the route leads out of the access port for 300 ms", || {
        t.gateway.route(far, t.native.address).unwrap();
        let wrong = |(hop, why): &(String, String)| hop.starts_with("203.0.113.5") && why.contains("an access port");
        assert!(until(SOON, || unready(&net).iter().any(wrong)), "{:?}", unready(&net));
        sleep(Duration::from_millis(200));
        t.gateway.route(far, first.vtep).unwrap();
    });
    let nowhere = [("no_neighbour".to_string(), no_neighbour(&net))];
    assert_eq!(drops(&net.scrape()), nowhere);
    net.finish();
}

#[test]
fn neighbours_that_change_their_address_are_followed() {
    let Some(mut net) = Net::running("neighbour") else { return };
    let t = net.t.clone();
    let blue1 = &t.blue.nodes[0];
    announces(&blue1.ns, "eth0");
    t.gateway.sysctl("net.ipv4.neigh.ul0.locktime", "0").unwrap();
    outage(&t.native, &blue1.pod, "a node has another MAC address and says so", || {
        set_mac(&blue1.ns, "eth0", "02:00:00:01:f4:99");
    });
    let right = blue1.ns.mac("eth0").unwrap();
    outage(&t.native, &blue1.pod, "a neighbour entry is wrong for 300 ms", || {
        t.gateway.neighbour("ul0", blue1.vtep, Mac([2, 0, 0, 0, 0xde, 0xad])).unwrap();
        sleep(Duration::from_millis(300));
        t.gateway.neighbour("ul0", blue1.vtep, right).unwrap();
    });
    let native = t.native.ns.mac("eth0").unwrap();
    announces(&t.native.ns, "eth0");
    t.gateway.sysctl("net.ipv4.neigh.ac0.locktime", "0").unwrap();
    outage(&blue1.pod, &t.native, "the native host has another MAC address and says so", || {
        set_mac(&t.native.ns, "eth0", "02:00:00:09:00:99");
    });
    assert_ne!(native, t.native.ns.mac("eth0").unwrap());
    net.process();
    net.finish();
}

#[test]
fn the_gateways_ports_may_change_their_own_address() {
    let Some(net) = Net::running("ownmac") else { return };
    let t = net.t.clone();
    let blue1 = &t.blue.nodes[0];
    for (port, mac) in [("ul0", "02:00:00:00:00:99"), ("ac0", "02:00:00:00:00:98")] {
        announces(&t.gateway, port);
        for ns in [&blue1.ns, &t.native.ns] {
            ns.sysctl("net.ipv4.neigh.eth0.locktime", "0").unwrap();
        }
        outage(&blue1.pod, &t.native, &format!("{port} has another MAC address (decap)"), || {
            set_mac(&t.gateway, port, mac);
        });
        outage(&t.native, &blue1.pod, &format!("{port} keeps it (encap)"), || {});
        let other = |net: &Net| {
            net.scrape().sum("selvedge_xdp_packets_total", &[("port", port), ("verdict", "redirected_underlay")])
                + net.scrape().sum("selvedge_xdp_packets_total", &[("port", port), ("verdict", "redirected_access")])
        };
        assert!(other(&net) > 100.0);
    }
    // the nodes have learnt the source of frames only from the frames themselves
    let told = run_in(&t.fabric, &["bridge", "fdb", "show", "br", "br0", "dynamic"]);
    let learnt = told.lines().any(|l| l.starts_with("02:00:00:00:00:99") && l.contains("dev gw"));
    assert!(learnt, "frames do not come from the port's new address:\n{told}");
    net.finish();
}

#[test]
fn a_port_that_changes_its_address_while_the_gateway_starts_is_known_by_the_new_one() {
    let Some(mut net) = Net::new("startmac") else { return };
    let t = net.t.clone();
    announces(&t.gateway, "ac0");
    t.native.ns.sysctl("net.ipv4.neigh.eth0.locktime", "0").unwrap();
    // a start that waits for somebody who is not there
    net.edit("vtep = \"192.0.2.11\"", "vtep = \"192.0.2.99\"");
    net.launch();
    assert!(until(5 * SOON, || net.programs().len() == 2), "it does not start");
    set_mac(&t.gateway, "ac0", "02:00:00:00:00:98");
    assert!(!net.log().contains("forwarding"), "it is ready already");
    assert!(until(3 * SOON, || net.log().contains("forwarding")), "it is not ready");
    assert!(flows(&t.native, &t.green.nodes[0].pod));
    net.finish();
}

/// Behind an access port a route of the map may hold an address of the host itself, on whatever link that is.
#[test]
fn the_hosts_own_addresses_stay_the_hosts() {
    let Some(mut net) = Net::new("ownaddr") else { return };
    let t = net.t.clone();
    let pod = &t.blue.nodes[0].pod;
    let [a, b, c, _] = pod.address.octets();
    let own = |n: u8| Ipv4Addr::new(a, b, c, n);
    let answers = |n: u8| selvedge::lab::traffic::ping(&t.native.ns, own(n), 1, 56).unwrap().complete();
    t.gateway.address("lo", own(200), 32).unwrap();
    net.start();
    let epoch = net.scrape().sum("selvedge_tables_epoch", &[]);
    assert!(flows(&t.native, pod) && answers(200), "there before the start");
    assert!(!answers(201));
    t.gateway.address("lo", own(201), 32).unwrap();
    // a ping that nobody answers takes a second by itself
    assert!(until(2 * SOON, || answers(201)), "there since");
    let redirected = || net.scrape().sum("selvedge_xdp_packets_total", &[("verdict", "redirected_access")]);
    run_in(&t.gateway, &["ip", "addr", "del", &format!("{}/32", own(200)), "dev", "lo"]);
    sleep(Duration::from_millis(300));
    let before = redirected();
    assert!(!answers(200) && redirected() > before, "the overlay's again");
    assert!(flows(&t.native, pod));
    assert_eq!(net.scrape().sum("selvedge_tables_epoch", &[]), epoch, "that is nothing to workers");
    net.finish();
}

#[test]
fn links_that_go_down_come_back() {
    let Some(net) = Net::running("links") else { return };
    let t = net.t.clone();
    let blue1 = &t.blue.nodes[0];
    let down = |why: &str| unready(&net).iter().any(|(_, reason)| reason.contains(why));
    let before = no_neighbour(&net);
    outage(&t.native, &blue1.pod, "the underlay port is down for 300 ms", || {
        t.gateway.down("ul0").unwrap();
        // the kernel has taken the route back with it
        assert!(until(SOON, || down("no route")), "{:?}", unready(&net));
        sleep(Duration::from_millis(300));
        t.gateway.up("ul0").unwrap();
    });
    assert!(no_neighbour(&net) > before + 100.0, "what was lost was counted");
    assert!(until(SOON, || unready(&net).is_empty()), "{:?}", unready(&net));
    outage(&blue1.pod, &t.native, "the access port is down for 300 ms", || {
        t.gateway.down("ac0").unwrap();
        assert!(until(SOON, || down("down")), "{:?}", unready(&net));
        sleep(Duration::from_millis(300));
        t.gateway.up("ac0").unwrap();
    });
    outage(&t.native, &blue1.pod, "the underlay port has no carrier for 300 ms", || {
        t.fabric.down("gw").unwrap();
        assert!(until(SOON, || down("carrier")), "{:?}", unready(&net));
        sleep(Duration::from_millis(300));
        t.fabric.up("gw").unwrap();
    });
    assert!(until(SOON, || unready(&net).is_empty()), "{:?}", unready(&net));
    net.finish();
}

#[test]
fn a_node_that_dies_is_told_and_one_that_returns_is_found() {
    let Some(net) = Net::new("node") else { return };
    let mut net = net;
    for (knob, value) in
        [("base_reachable_time_ms", "400"), ("retrans_time_ms", "100"), ("delay_first_probe_time", "1")]
    {
        net.t.gateway.sysctl(&format!("net.ipv4.neigh.ul0.{knob}"), value).unwrap();
    }
    net.start();
    let t = net.t.clone();
    let blue1 = &t.blue.nodes[0];
    let load = load(&t.native, &blue1.pod, PACE);
    assert!(until(SOON, || load.counts().received > 50));
    t.fabric.down("blue1").unwrap();
    let dead =
        |net: &Net| unready(net).iter().any(|(hop, why)| hop.starts_with("192.0.2.11 ") && why.contains("answer"));
    let began = Instant::now();
    assert!(until(Duration::from_secs(8), || dead(&net)), "{:?}", unready(&net));
    println!("a dead node is known as such after {:?}", began.elapsed());
    let counted = no_neighbour(&net);
    assert!(until(SOON, || no_neighbour(&net) > counted + 50.0), "packets to it are counted");
    let arrived = load.counts().received;
    t.fabric.up("blue1").unwrap();
    let began = Instant::now();
    assert!(until(Duration::from_millis(1500), || load.counts().received > arrived), "it is not found again");
    println!("a node that returns gets packets after {:?}", began.elapsed());
    drop(load);
    assert!(until(SOON, || unready(&net).is_empty()), "{:?}", unready(&net));
    net.finish();
}

/// The path MTU a host has learnt.
fn path_mtu(host: &Host, to: Ipv4Addr) -> u32 {
    let told = run_in(&host.ns, &["ip", "route", "get", &to.to_string()]);
    told.split(" mtu ").nth(1).and_then(|m| m.split_whitespace().next()?.parse().ok()).unwrap_or(1500)
}

#[test]
fn the_mtu_of_the_underlay_is_followed_down_and_up() {
    let Some(mut net) = Net::new("mtu") else { return };
    let t = net.t.clone();
    // what it was at the start must not be the most it will ever be
    t.gateway.mtu("ul0", 1420).unwrap();
    net.start();
    let pod = &t.blue.nodes[0].pod;
    let big = |size: usize| selvedge::lab::traffic::ping(&t.native.ns, pod.address, 1, size).unwrap().complete();
    let forget = || drop(run_in(&t.native.ns, &["ip", "route", "flush", "cache"]));
    assert!(!big(1450 - 28) && big(1370 - 28) && path_mtu(&t.native, pod.address) == 1370);
    t.gateway.mtu("ul0", 1400).unwrap();
    sleep(Duration::from_millis(500));
    assert!(!big(1370 - 28));
    assert_eq!(path_mtu(&t.native, pod.address), 1350, "1400 less the encapsulation");
    assert!(big(1350 - 28));
    t.gateway.mtu("ul0", 1500).unwrap();
    sleep(Duration::from_millis(500));
    forget();
    assert!(big(1450 - 28));
    net.finish();
}

/// What [`Engine::load`] publishes is complete where the kernel already knows the way: no packet finds a gap.
#[test]
fn a_new_peer_behind_a_known_router_is_ready_in_the_first_version() {
    let Some(net) = Net::new("first") else { return };
    let t = net.t.clone();
    let overlay = Overlay {
        name: "blue".into(),
        vni: Vni::new(1).unwrap(),
        udp_port: 8472,
        local: t.gateway_vtep,
        mac: Mac([2, 0, 0, 0, 0x53, 1]),
        addresses: Addresses::default(),
        mtu: None,
        dscp: Dscp::Pipe(0),
        source_check: true,
        fit: Fit::default(),
        gbp: false,
        inner_vlan: 0,
        zero_checksum: false,
    };
    let route = |n: u8, vtep: IpAddr| Route {
        prefix: format!("10.100.{n}.0/24").parse().unwrap(),
        target: Target::Vtep { overlay: OverlayId(0), vtep, mac: Mac([2, 0, 0, 0, 1, n]), zero_checksum: false },
    };
    t.gateway.route("203.0.113.0/24".parse().unwrap(), t.blue.nodes[0].vtep).unwrap();
    let ifindex = t.gateway.index("ul0").unwrap();
    let test = async || {
        let keeper = Keeper::start(&[ifindex]).await.unwrap();
        let mut writer = TablesWriter::new(vec![], vec![]);
        let (publisher, mut workers) = handover::channel(1, writer.publish());
        let ports = vec![EnginePort { ifindex, mtu: None, underlay: true, proxy: false }];
        let mut engine = Engine::new(keeper, writer, publisher, ports, Box::new(|| ()));
        let overlays = [overlay];
        engine.load(&overlays, &[route(1, t.blue.nodes[0].vtep)], &[]);
        while !engine.is_settled() {
            let changes = engine.changed().await;
            engine.absorb(&changes);
        }
        engine.load(&overlays, &[route(1, t.blue.nodes[0].vtep), route(2, FAR.into())], &[]);
        assert!(workers[0].refresh());
        let ready = workers[0].tables().peers().filter(|(_, peer)| peer.way.is_some()).count();
        assert_eq!(ready, 2, "both are behind a neighbour that is known");
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    t.gateway.run(|| runtime().block_on(test())).unwrap();
}

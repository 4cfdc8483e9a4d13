//! Configs on hosts that are written down.

use super::plan::{Attach, Finding, Plan, Severity};
use super::{Config, HostFacts, InterfaceFacts};
use crate::port::host::{Capabilities, VlanDevice};
use crate::tables::PortId;
use crate::wire::{Mac, eth};

const SAMPLE: &str = include_str!("../../config/two-arm.toml");

fn config(spoil: &[(&str, &str)]) -> Config {
    let mut text = SAMPLE.replace("count = 2", "count = 2\n[xdp]\n");
    for (find, replace) in spoil {
        assert!(text.contains(find), "{find}");
        text = text.replace(find, replace);
    }
    Config::parse(&text, "f").unwrap_or_else(|e| panic!("{e}"))
}

fn interface(name: &str, ifindex: u32, address: &str) -> InterfaceFacts {
    InterfaceFacts {
        name: name.into(),
        ifindex,
        mac: Mac([2, 0, 0, 0, 0, ifindex as u8]),
        mtu: 1500,
        up: true,
        driver: "ice".into(),
        rx_queues: 2,
        tx_queues: 2,
        xdp_native: Some(true),
        xsk_zero_copy: Some(true),
        xdp_sg: Some(false),
        zero_copy_segments: None,
        lro: Some(false),
        gro: Some(true),
        rx_vlan: Some(true),
        tx_checksum: Some(true),
        xsk_tx_checksum: Some(false),
        rx_checksum: Some(true),
        vlan: None,
        addresses: [address, "fe80::1"].map(|a| a.parse().unwrap()).to_vec(),
    }
}

fn host() -> HostFacts {
    HostFacts {
        kernel: (6, 18),
        caps: Capabilities {
            net_admin: true,
            net_raw: true,
            bpf: true,
            perfmon: true,
            sys_admin: false,
            ipc_lock: true,
            sys_resource: true,
        },
        memlock: Some(8 << 20),
        hugepages_free: 64,
        hugepages_total: 72,
        cores_online: vec![0, 1, 2, 3],
        cores_allowed: vec![1, 3],
        interfaces: vec![interface("eth0", 2, "192.0.2.1"), interface("eth1", 3, "198.51.100.2")],
    }
}

fn shown(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("{f}\n")).collect()
}

#[test]
fn a_host_that_can_gets_a_plan_without_strings_but_names() {
    let (plan, findings) = Plan::new(&config(&[]), &host());
    let plan = plan.unwrap_or_else(|| panic!("{}", shown(&findings)));
    assert!(findings.iter().all(|f| f.severity == Severity::Ok), "{}", shown(&findings));
    assert_eq!((plan.cores, plan.zero_copy, plan.hugepages), (vec![1, 3], true, true));
    assert_eq!(plan.overlay_mtu, [1450]);
    let p = &plan.ports[1];
    assert_eq!((p.id, p.name.as_str(), p.ifindex, p.queues, p.attach), (PortId(1), "eth1", 3, 2, Attach::Native));
    assert_eq!((p.mtu.get(), p.mac), (1500, Mac([2, 0, 0, 0, 0, 3])));
}

/// A change to the config, a change to the host, the worst severity, and what must be said.
type Case = (&'static [(&'static str, &'static str)], fn(&mut HostFacts), Severity, &'static [&'static str]);

const CASES: &[Case] = &[
    (&[], |h| h.kernel = (5, 14), Severity::Error, &["kernel 5.14 is too old", "bpf_link needs 5.9", "5.10"]),
    (&[], |h| h.caps.net_raw = false, Severity::Error, &["CAP_NET_RAW is missing", "--cap-add NET_RAW"]),
    (&[], |h| h.caps.bpf = false, Severity::Error, &["CAP_BPF is missing", "CAP_SYS_ADMIN does as well"]),
    (&[], |h| h.caps.perfmon = false, Severity::Error, &["CAP_PERFMON is missing", "CAP_SYS_ADMIN does as well"]),
    (&[], |h| (h.caps.bpf, h.caps.perfmon, h.caps.sys_admin) = (false, false, true), Severity::Ok, &["✓ capabilities"]),
    (
        &[],
        |h| h.caps.ipc_lock = false,
        Severity::Error,
        &["128 MiB of packet memory", "the limit is 8 MiB", "CAP_IPC_LOCK"],
    ),
    (&[], |h| (h.caps.ipc_lock, h.memlock) = (false, None), Severity::Ok, &[]),
    (
        &[],
        |h| h.interfaces[1].name = "eth11".into(),
        Severity::Error,
        &["eth1: there is no such interface", "did you mean `eth11`?", "name one of: eth0, eth11"],
    ),
    (&[], |h| h.interfaces[0].up = false, Severity::Error, &["eth0: is down", "mend: ip link set dev eth0 up"]),
    (&[], |h| h.interfaces[0].mac = Mac::ZERO, Severity::Error, &["only Ethernet"]),
    (
        &[],
        |h| h.interfaces[0].rx_queues = 8,
        Severity::Error,
        &["eth0: 8 RX queues, but 2 workers", "mend: ethtool -L eth0 combined 2"],
    ),
    (
        &[],
        |h| (h.interfaces[0].rx_queues, h.interfaces[0].driver) = (1, "veth".into()),
        Severity::Error,
        &["mend: ethtool -L eth0 rx 2 tx 2"],
    ),
    (&[], |h| h.interfaces[1].tx_queues = 1, Severity::Error, &["eth1: 1 TX queues are too few for 2 workers"]),
    (
        &[],
        |h| h.cores_allowed = vec![3],
        Severity::Error,
        &["2 workers need 2 cores, and this process may use 1", "mend: workers.count = 1"],
    ),
    (&[], |h| h.cores_allowed.clear(), Severity::Error, &["may use 0", "taskset"]),
    (
        &[("count = 2", "cores = [1, 0]")],
        |_| {},
        Severity::Error,
        &["lists core 0, but this process may not run on it", "some of the cores 1, 3"],
    ),
    (&[("count = 2", "cores = [3, 9]")], |_| {}, Severity::Error, &["lists core 9, but it is not online"]),
    (&[("count = 2", "cores = [3, 1]")], |_| {}, Severity::Ok, &["workers on cores 3, 1"]),
    (
        &[("count = 2", ""), ("queues = 2", "")],
        |h| h.interfaces[0].rx_queues = 4,
        Severity::Error,
        &["mend: ethtool -L eth0 combined 2"],
    ),
    (
        &[("count = 2", "")],
        |h| {
            h.interfaces[0].rx_queues = 1;
            h.interfaces[1].rx_queues = 1
        },
        Severity::Error,
        &["1 RX queues, but the config expects 2"],
    ),
    (
        &[("[xdp]", "[xdp]\nmode = \"native\"")],
        |h| h.interfaces[1].xdp_native = Some(false),
        Severity::Error,
        &["eth1: driver `ice` has no native XDP", "xdp.mode = \"auto\""],
    ),
    (
        &[],
        |h| h.interfaces[1].xdp_native = Some(false),
        Severity::Warning,
        &["eth1: XDP in generic mode", "TSO", "GRO is on", "mend: ethtool -K eth1 gro off"],
    ),
    (
        &[("[xdp]", "[xdp]\nzero_copy = \"on\"")],
        |h| h.interfaces[0].xsk_zero_copy = Some(false),
        Severity::Error,
        &["eth0: driver `ice` cannot share memory"],
    ),
    (
        &[("[xdp]", "[xdp]\nzero_copy = \"on\"")],
        |h| h.interfaces[0].xsk_zero_copy = None,
        Severity::Warning,
        &["shows only when"],
    ),
    (
        &[("[xdp]", "[xdp]\ntx_checksum = \"on\"")],
        |_| {},
        Severity::Error,
        &["eth1: checksums cannot be left to the device", "driver `ice` takes none from zero-copy sockets"],
    ),
    (
        &[("hugepages = \"auto\"", "hugepages = \"on\"")],
        |h| h.hugepages_free = 5,
        Severity::Error,
        &["64 hugepages of 2 MiB are needed for 128 MiB", "5 are free", "mend: sysctl -w vm.nr_hugepages=131"],
    ),
    (&[], |h| h.hugepages_free = 5, Severity::Ok, &["on small pages (64 hugepages"]),
    (
        &[],
        |h| h.interfaces[0].mtu = 9000,
        Severity::Error,
        &[
            "a frame of MTU 9000 is 9018 bytes",
            "room for 1792",
            "memory.chunk_size = 4096 and ip link set dev eth0 mtu 3506, or ip link set dev eth0 mtu 1774",
        ],
    ),
    (
        &[],
        |h| h.interfaces[0].mtu = 3000,
        Severity::Error,
        &["memory.chunk_size = 4096, or ip link set dev eth0 mtu 1774"],
    ),
    (
        &[("hugepages = \"auto\"", "chunk_size = 4096\nhugepages = \"off\"")],
        |h| h.interfaces[0].mtu = 3600,
        Severity::Warning,
        &["beyond the 3506"],
    ),
    (
        &[],
        |h| h.interfaces[1].addresses = vec!["fd00::1".parse().unwrap()],
        Severity::Warning,
        &["eth1: has no IPv4 address, so hosts there get no ICMP errors", "mend: ip addr add"],
    ),
    (
        &[],
        |h| jumbo(h, 9000),
        Severity::Ok,
        &["MTU 9000 (in up to 6 chunks; at most 9216)", "eth1: ice, 2 RX queues, MTU 1500 (at most 1774"],
    ),
    (
        &[],
        |h| h.interfaces[0].xdp_sg = Some(true),
        Severity::Ok,
        &["MTU 1500 (in one chunk, which holds 1774; at most 9216"],
    ),
    (
        &[("[xdp]", "[xdp]\nmulti_buffer = \"off\"")],
        |h| jumbo(h, 9000),
        Severity::Error,
        &["packets in several: xdp.multi_buffer is \"off\"", "mend: xdp.multi_buffer = \"auto\", or memory.chunk_size"],
    ),
    (
        &[],
        |h| {
            jumbo(h, 9000);
            h.kernel = (6, 5);
        },
        Severity::Error,
        &["packets in several: kernel 6.5 has none, 6.6 has", "mend: boot a kernel"],
    ),
    (
        &[],
        |h| {
            jumbo(h, 9000);
            h.interfaces[0].xdp_native = Some(false);
        },
        Severity::Error,
        &["there are none in generic mode"],
    ),
    (&[], |h| h.interfaces[0].mtu = 9000, Severity::Error, &["packets in several: driver `ice` has none"]),
    (
        &[("[xdp]", "[xdp]\nmulti_buffer = \"on\"")],
        |h| h.interfaces[0].xdp_sg = Some(true),
        Severity::Error,
        &["eth1: packets in several chunks cannot be had, since driver `ice` has none"],
    ),
    (
        &[],
        |h| jumbo(h, 10_000),
        Severity::Warning,
        &["eth0: an MTU of 10000 is beyond 9216", "mend: ip link set dev eth0 mtu 9216"],
    ),
    (
        &[("[xdp]", "[xdp]\nzero_copy = \"on\"")],
        |h| {
            jumbo(h, 9000);
            h.interfaces[0].zero_copy_segments = Some(5);
        },
        Severity::Error,
        &["packets take up to 6 chunks", "sends at most 5", "memory.chunk_size = 4096"],
    ),
    (
        &[("interface = \"eth0\"", "interface = \"eth0\"\nmtu = 1500")],
        |h| h.interfaces[0].mtu = 3000,
        Severity::Warning,
        &["Larger frames are lost"],
    ),
    (&[], |h| h.interfaces[0].mtu = 300, Severity::Error, &["less than the 576"]),
    (
        &[("vni = 4096", "vni = 4096\nmtu = 1500")],
        |_| {},
        Severity::Warning,
        &[
            "inner packets of 1500 bytes are 1550",
            "larger ones than 1450",
            "mend: mtu = 1450 for the overlay, or ip link set dev eth0 mtu 1550",
        ],
    ),
    (&[("vni = 4096", "vni = 4096\nmtu = 1450")], |_| {}, Severity::Ok, &[]),
    (
        &[("address = \"10.244.0.1\"", "")],
        |_| {},
        Severity::Warning,
        &[
            "has no address in it",
            "no ICMP errors",
            "path MTU discovery",
            "mend: address = \"…\" for overlay pods, with an unused address of it",
        ],
    ),
    (
        &[("[\"10.244.1.0/24\"]", "[\"10.244.1.0/24\", \"fd00:244:1::/64\"]")],
        |_| {},
        Severity::Warning,
        &[
            "no IPv6 address in it, so its IPv6 pods get no ICMP errors",
            "address = [\"10.244.0.1\", \"…\"] for overlay pods",
        ],
    ),
    (
        &[("\"10.244.0.1\"", "\"fd00:244::1\"")],
        |_| {},
        Severity::Warning,
        &["no IPv4 address in it, so its IPv4 pods get", "address = [\"…\", \"fd00:244::1\"] for overlay pods"],
    ),
    (
        &[("\"10.244.0.1\"", "[\"10.244.0.1\", \"fd00:244::1\"]\nmtu = 1279")],
        |h| h.interfaces[0].mtu = 1400,
        Severity::Warning,
        &[
            "1279 bytes of inner packet are less than the 1280",
            "RFC 8200",
            "mend: mtu = 1280 or more for the overlay\n",
        ],
    ),
    (
        &[("\"10.244.0.1\"", "[\"10.244.0.1\", \"fd00:244::1\"]")],
        |h| h.interfaces[0].mtu = 1329,
        Severity::Warning,
        &["1279 bytes of inner packet are less than the 1280", "mend: ip link set dev eth0 mtu 1330\n"],
    ),
    (&[("\"10.244.0.1\"", "[\"10.244.0.1\", \"fd00:244::1\"]")], |h| h.interfaces[0].mtu = 1330, Severity::Ok, &[]),
    (&[], |h| h.interfaces[0].mtu = 1329, Severity::Ok, &[]),
    (&[], |h| h.interfaces[0].lro = Some(true), Severity::Error, &["LRO is on", "mend: ethtool -K eth0 lro off"]),
    (
        &[],
        |h| h.interfaces[0].addresses.clear(),
        Severity::Warning,
        &["no underlay port has the local address 192.0.2.1", "answer ARP", "mend: ip addr add 192.0.2.1/32 dev eth0"],
    ),
    (
        &[],
        |h| {
            let a = h.interfaces[0].addresses.remove(0);
            h.interfaces[1].addresses.push(a)
        },
        Severity::Warning,
        &["it is on access port eth1"],
    ),
];

/// A first interface with this MTU and a driver that has packets in several buffers.
fn jumbo(host: &mut HostFacts, mtu: u32) {
    (host.interfaces[0].mtu, host.interfaces[0].xdp_sg) = (mtu, Some(true));
}

#[test]
fn packets_have_several_chunks_where_an_mtu_takes_it() {
    let planned = |host: &HostFacts| {
        let plan = Plan::new(&config(&[]), host).0.unwrap();
        (plan.multi_buffer, plan.zero_copy, plan.ports[0].mtu.get())
    };
    let mut host = host();
    host.interfaces[0].xdp_sg = Some(true);
    assert_eq!(planned(&host), (false, true, 1500));
    jumbo(&mut host, 9000);
    assert_eq!(planned(&host), (true, true, 9000));
    host.interfaces[0].zero_copy_segments = Some(5);
    assert_eq!(planned(&host), (true, false, 9000), "the driver takes no six buffers zero-copy");
    jumbo(&mut host, 65_000);
    assert_eq!(planned(&host), (true, false, 9216));
    // one chunk holds it, and the driver takes two pages for it
    let chunks = config(&[("hugepages = \"auto\"", "chunk_size = 4096\nhugepages = \"off\"")]);
    for (mtu, several) in [(3506, false), (3600, true)] {
        jumbo(&mut host, mtu);
        assert_eq!(Plan::new(&chunks, &host).0.unwrap().multi_buffer, several, "{mtu}");
    }
}

#[test]
fn each_obstacle_is_named_and_can_be_mended() {
    for (spoil, change, worst, said) in CASES {
        let mut host = host();
        change(&mut host);
        let (plan, findings) = Plan::new(&config(spoil), &host);
        let text = shown(&findings);
        assert_eq!(findings.iter().map(|f| f.severity).max(), Some(*worst), "{said:?}\n{text}");
        assert_eq!(plan.is_some(), *worst < Severity::Error, "{text}");
        assert!(findings.iter().all(|f| (f.severity == Severity::Ok) == f.mend.is_none()), "{text}");
        for part in *said {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }
}

/// A change to the sample, the MTU of the underlay, and what must be said.
type SixCase = (&'static [(&'static str, &'static str)], u32, &'static [&'static str]);

#[test]
fn an_ipv6_underlay_takes_more_of_the_mtu_and_needs_its_address() {
    let cases: &[SixCase] = &[
        (&[], 1500, &[]),
        (
            &[("vni = 4096", "vni = 4096\nmtu = 1450")],
            1500,
            &[
                "1450 bytes are 1520 with 70 of encapsulation",
                "larger ones than 1430",
                "mtu = 1430 for the overlay, or ip link set dev eth0 mtu 1520",
            ],
        ),
        (&[], 1349, &["1279 bytes of inner packet", "mend: ip link set dev eth0 mtu 1350\n"]),
        (
            &[("\"2001:db8::1\"", "\"2001:db8::2\"")],
            1500,
            &[
                "no underlay port has the local address 2001:db8::2, so the kernel does not answer neighbour solicitations",
                "ip addr add 2001:db8::2/128 dev eth0",
            ],
        ),
        (
            &[("\"2001:db8::1\"", "\"2001:db8::2\"")],
            1200,
            &["mend: ip link set dev eth0 mtu 1350; then ip addr add 2001:db8::2/128 dev eth0"],
        ),
    ];
    let mut host = host();
    host.interfaces[0].addresses = vec!["2001:db8::1".parse().unwrap(), "fe80::1".parse().unwrap()];
    for (spoil, mtu, said) in cases {
        let mut text = include_str!("../../config/dual-stack.toml").to_owned();
        for (find, replace) in *spoil {
            assert!(text.contains(find), "{find}");
            text = text.replacen(find, replace, 1);
        }
        host.interfaces[0].mtu = *mtu;
        let config = Config::parse(&text, "f").unwrap_or_else(|e| panic!("{e}"));
        let (plan, findings) = Plan::new(&config, &host);
        let shown = shown(&findings);
        let inner = plan.unwrap_or_else(|| panic!("{shown}")).overlay_mtu;
        let fine = findings.iter().all(|f| f.severity == Severity::Ok);
        assert_eq!((fine, inner == [1430]), (said.is_empty(), *mtu == 1500), "{shown}");
        for part in *said {
            assert!(shown.contains(part), "no `{part}` in\n{shown}");
        }
    }
}

#[test]
fn workers_follow_the_queues_when_the_file_leaves_it_open() {
    let open = config(&[("count = 2", ""), ("queues = 2", "")]);
    let mut host = host();
    host.interfaces.iter_mut().for_each(|i| i.rx_queues = 1);
    assert_eq!(Plan::new(&open, &host).0.unwrap().cores, [1]);
    host.interfaces.iter_mut().for_each(|i| i.rx_queues = 16);
    let (plan, findings) = Plan::new(&open, &host);
    let text = shown(&findings);
    assert!(plan.is_none() && text.contains("16 workers need 16 cores"), "{text}");
    assert!(text.contains("mend: ethtool -L eth0 combined 2; ethtool -L eth1 combined 2"), "{text}");
}

#[test]
fn one_driver_without_zero_copy_makes_all_copy() {
    let mut host = host();
    host.interfaces[1].xsk_zero_copy = None;
    assert!(!Plan::new(&config(&[]), &host).0.unwrap().zero_copy);
}

#[test]
fn the_smaller_mtu_is_obeyed() {
    let small = config(&[
        ("interface = \"eth0\"", "interface = \"eth0\"\nmtu = 1400"),
        ("vni = 4096", "vni = 4096\nmtu = 1300"),
    ]);
    let plan = Plan::new(&small, &host()).0.unwrap();
    assert_eq!((plan.ports[0].mtu.get(), plan.ports[1].mtu.get()), (1400, 1500));
    assert_eq!(plan.overlay_mtu, [1300]);
}

/// `eth0.100` on `eth0`, and `eth1.7` on `eth1.300`, a service VLAN on `eth1`.
fn host_of_vlans() -> HostFacts {
    let mut host = host();
    let vlan = |name: &str, ifindex, parent, tpid, vid, address| InterfaceFacts {
        driver: "802.1Q VLAN Support".into(),
        rx_queues: 1,
        tx_queues: 1,
        xdp_native: Some(false),
        xsk_zero_copy: Some(false),
        vlan: Some(VlanDevice { parent: Some(parent), tpid, vid }),
        ..interface(name, ifindex, address)
    };
    host.interfaces.push(vlan("eth0.100", 4, 2, eth::VLAN, 100, "192.0.2.1"));
    host.interfaces.push(vlan("eth1.300", 5, 3, eth::QINQ, 300, "198.51.100.3"));
    host.interfaces.push(vlan("eth1.7", 6, 5, eth::VLAN, 7, "198.51.100.2"));
    for device in &mut host.interfaces[..2] {
        (device.rx_vlan, device.mtu) = (Some(false), 1504);
        device.addresses.clear();
    }
    host
}

/// The sample with both ports on VLANs.
fn config_of_vlans() -> Config {
    config(&[("\"eth0\"", "\"eth0.100\""), ("\"eth1\"", "\"eth1.7\"")])
}

#[test]
fn a_port_that_is_a_vlan_has_its_program_on_the_device_below() {
    let (plan, findings) = Plan::new(&config_of_vlans(), &host_of_vlans());
    let text = shown(&findings);
    let plan = plan.unwrap_or_else(|| panic!("{text}"));
    assert!(findings.iter().all(|f| f.severity == Severity::Ok), "{text}");
    assert!(text.contains("✓ eth0.100: VLAN 100 on eth0; XDP goes on eth0\n"), "{text}");
    assert!(text.contains("✓ eth1.7: VLAN 7 within service VLAN 300 on eth1; XDP goes on eth1\n"), "{text}");
    let ports = plan.ports.iter().map(|p| (p.name.as_str(), p.ifindex, p.device, p.tags.count(), p.mac, p.queues));
    let macs = [4, 6].map(|n| Mac([2, 0, 0, 0, 0, n]));
    assert_eq!(ports.collect::<Vec<_>>(), [("eth0.100", 4, 2, 1, macs[0], 2), ("eth1.7", 6, 3, 2, macs[1], 2)]);
    assert!(plan.zero_copy && plan.ports.iter().all(|p| p.attach == Attach::Native && p.mtu.get() == 1500));
    let untagged = Plan::new(&config(&[]), &host()).0.unwrap();
    assert!(untagged.ports.iter().all(|p| p.device == p.ifindex && p.tags.is_empty()));
}

#[test]
fn each_obstacle_below_a_vlan_is_named_and_can_be_mended() {
    type Change = fn(&mut HostFacts);
    let cases: &[(Change, Severity, &[&str])] = &[
        (
            |h| h.interfaces[0].rx_vlan = Some(true),
            Severity::Error,
            &["eth0: takes VLAN tags off received frames (rxvlan)", "mend: ethtool -K eth0 rxvlan off\n"],
        ),
        (
            |h| (h.interfaces[0].rx_vlan, h.interfaces[0].driver) = (Some(true), "veth".into()),
            Severity::Warning,
            &["eth0: a veth pair leaves VLAN tags beside the frame", "ethtool -K PEER txvlan off"],
        ),
        (
            |h| h.interfaces[1].mtu = 1500,
            Severity::Warning,
            &["eth1: its MTU of 1500 is too little for the frames of eth1.7", "mend: ip link set dev eth1 mtu 1504\n"],
        ),
        (|h| h.interfaces[0].mtu = 1500, Severity::Ok, &[]),
        (|h| h.interfaces[0].up = false, Severity::Error, &["eth0: is down", "mend: ip link set dev eth0 up\n"]),
        (|h| h.interfaces[2].up = false, Severity::Error, &["eth0.100: is down", "ip link set dev eth0.100 up\n"]),
        (
            |h| h.interfaces[1].rx_queues = 8,
            Severity::Error,
            &["eth1: 8 RX queues, but 2 workers", "mend: ethtool -L eth1 combined 2\n"],
        ),
        (|h| h.interfaces[0].lro = Some(true), Severity::Error, &["eth0: LRO is on"]),
        (
            |h| h.interfaces[0].mtu = 3507,
            Severity::Warning,
            &["eth0: MTU 3507 is beyond the 3506", "ip link set dev eth0 mtu"],
        ),
        (
            |h| h.interfaces[2].vlan.as_mut().unwrap().parent = None,
            Severity::Error,
            &["eth0.100: the device below eth0.100", "not in this network namespace"],
        ),
        (
            |h| h.interfaces[2].vlan.as_mut().unwrap().vid = 0,
            Severity::Error,
            &["eth0.100: eth0.100 has VLAN identifier 0", "from 1 to 4094"],
        ),
        (
            |h| h.interfaces[1].vlan = Some(VlanDevice { parent: Some(2), tpid: eth::VLAN, vid: 9 }),
            Severity::Error,
            &["eth1.7: its frames have more than 2 VLAN tags"],
        ),
        (
            |h| h.interfaces[4].vlan.as_mut().unwrap().parent = Some(2),
            Severity::Error,
            &["eth0.100 and eth1.7 are both on eth0, which has room for one XDP program", "a device of its own"],
        ),
    ];
    for (change, worst, said) in cases {
        let mut host = host_of_vlans();
        change(&mut host);
        let (plan, findings) = Plan::new(&config_of_vlans(), &host);
        let text = shown(&findings);
        assert_eq!(findings.iter().map(|f| f.severity).max(), Some(*worst), "{said:?}\n{text}");
        assert_eq!(plan.is_some(), *worst < Severity::Error, "{text}");
        for part in *said {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }
    // a VLAN and the device below it
    let both = config(&[("\"eth1\"", "\"eth0.100\"")]);
    let text = shown(&Plan::new(&both, &host_of_vlans()).1);
    assert!(text.contains("eth0 and eth0.100 are both on eth0"), "{text}");
}

#[test]
fn a_host_of_which_nothing_is_known_can_do_nothing_and_panics_at_nothing() {
    let (plan, findings) = Plan::new(&config(&[]), &HostFacts::default());
    assert!(plan.is_none() && findings.len() >= 6, "{}", shown(&findings));
}

//! Whole files in, types or complaints out.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::errors::Problems;
use super::reader::{Place, Section};
use super::*;
use crate::control::Target;
use crate::tables::{Dscp, OverlayId, PortId};

const GATEWAY: &str = include_str!("../../config/gateway.toml");
const ONE_ARM: &str = include_str!("../../config/one-arm.toml");
const TWO_ARM: &str = include_str!("../../config/two-arm.toml");
const DUAL_STACK: &str = include_str!("../../config/dual-stack.toml");
const FLANNEL_ETCD: &str = include_str!("../../config/flannel-etcd.toml");
const FLANNEL_KUBERNETES: &str = include_str!("../../config/flannel-kubernetes.toml");
const SOURCES: &str = include_str!("../../config/sources.toml");

fn errors(text: &str) -> String {
    Config::parse(text, "f.toml").unwrap_err().to_string()
}

#[test]
fn the_samples_are_valid() {
    let c = Config::parse(GATEWAY, "gateway.toml").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((c.ports.len(), c.overlays.len(), c.routes.len()), (2, 1, 4));
    let c = Config::parse(ONE_ARM, "one-arm.toml").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((c.ports.len(), c.overlays.len(), c.routes.len()), (1, 2, 4));
    assert_eq!(c.workers.cores, Cores::Auto);
    let c = Config::parse(TWO_ARM, "two-arm.toml").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((c.ports.len(), c.overlays[0].dscp, c.workers.cores), (2, Dscp::Uniform, Cores::Count(2)));
    assert_eq!((c.ports[1].role, c.ports[1].queues), (Role::Access, Some(2)));
    assert!(matches!(c.routes[0].target, Target::Vtep { overlay: OverlayId(0), .. }));
    let hop = "198.51.100.254".parse().unwrap();
    assert_eq!(c.routes[3].target, Target::Native { port: PortId(1), next_hop: hop });
    assert_eq!(c.metrics, Some("127.0.0.1:9472".parse().unwrap()));
    let c = Config::parse(SOURCES, "sources.toml").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((c.sources.len(), c.sources[0].preference, c.state.to_str()), (4, 100, Some("/var/lib/selvedge")));
    let c = Config::parse(FLANNEL_ETCD, "flannel-etcd.toml").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(c.sources[0].advertise, Some(Advertise::Imported));
    assert_eq!(c.sources[1].advertise, Some(Advertise::These(vec!["10.244.0.0/16".parse().unwrap()])));
    let c = Config::parse(FLANNEL_KUBERNETES, "flannel-kubernetes.toml").unwrap_or_else(|e| panic!("{e}"));
    let origin = "kubernetes /etc/selvedge/west.kubeconfig context west flannel.alpha.coreos.com/";
    assert_eq!((c.sources.len(), c.sources[1].kind.origin().as_str()), (2, origin));
    assert!(c.sources.iter().all(|source| source.advertise == Some(Advertise::Imported)));
    for (from, to, says) in [
        ("context = \"west\"", "context = 7", "`7` is not a string"),
        ("kubeconfig = \"/etc/selvedge/west.kubeconfig\"", "", "`kubeconfig` says which"),
        ("context = \"west\"", "annotations = \"flannel\"", "a domain such as flannel.alpha.coreos.com"),
        ("context = \"west\"", "net_conf = \"kube-flannel\"", "a namespace and a name"),
        ("context = \"west\"", "gateway = \"-west\"", "neither begins nor ends"),
    ] {
        let told = errors(&FLANNEL_KUBERNETES.replace(from, to));
        assert!(told.contains(says), "{told}");
    }
    let c = Config::parse(DUAL_STACK, "dual-stack.toml").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((c.ports.len(), c.overlays.len(), c.routes.len()), (2, 1, 8));
    let o = &c.overlays[0];
    assert_eq!(o.local, "2001:db8::1".parse::<core::net::IpAddr>().unwrap());
    assert_eq!(o.addresses.iter().map(|a| a.to_string()).collect::<Vec<_>>(), ["10.244.0.1", "fd00:244::1"]);
    assert!(!o.zero_checksum && c.ports[1].proxy);
}

/// Runs the reader over one row of each table and asks it what it asked for.
fn known_keys() -> BTreeMap<&'static str, Vec<&'static str>> {
    let text = "[[port]]\n[[overlay]]\n[[peer]]\n[[native]]\n[[source]]\nkind='flannel-etcd'\n[[source]]\nkind='flannel-kube'\n";
    let (table, _) = toml::de::DeTable::parse_recoverable(text);
    let mut problems = Problems::default();
    Section::new(Place::Root, table.get_ref(), 0..0, &mut problems).through(raw::file);
    let mut out: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (section, key) in problems.asked {
        out.entry(section).or_default().push(key);
    }
    out
}

#[test]
fn every_key_is_documented_in_the_sample() {
    let known = known_keys();
    assert_eq!(known.values().map(Vec::len).sum::<usize>(), 11 + 1 + 6 + 7 + 5 + 2 + 5 + 15 + 5 + 3 + 1 + 10 + 8 + 5);
    let mut documented: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut section = "";
    for line in GATEWAY.lines().chain(SOURCES.lines()) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            documented.entry(section).or_default().push(key);
        }
    }
    for (section, keys) in known {
        for key in keys {
            match section {
                "" => assert!(documented.contains_key(key), "no [{key}] in gateway.toml"),
                _ => assert!(documented[section].contains(&key), "{section}.{key} is not in gateway.toml"),
            }
        }
    }
}

#[test]
fn what_the_sample_shows_as_defaults_are_the_defaults() {
    let defaults = Config::parse(GATEWAY, "f").unwrap();
    let mut shown = String::new();
    for line in GATEWAY.lines() {
        let key = line.strip_prefix("# ").and_then(|l| l.split_once(" = ")).map(|(k, _)| k);
        match key {
            // No one value is the default of these.
            Some("count" | "cores" | "queues" | "mtu" | "inner_vlan") | None => shown.push_str(line),
            // Only an overlay over IPv6 has it, and the sample's is not.
            Some("zero_checksum") => shown.push_str(line),
            Some(_) => shown.push_str(&line[2..]),
        }
        shown.push('\n');
    }
    assert_ne!(shown, GATEWAY);
    assert_eq!(Config::parse(&shown, "f").unwrap_or_else(|e| panic!("{e}")), defaults);
}

#[test]
fn defaults_are_those_of_an_empty_table() {
    let c = Config::parse(ONE_ARM, "f").unwrap();
    let workers = WorkerConfig {
        cores: Cores::Auto,
        poll: Poll::Adaptive,
        realtime: Switch::Auto,
        burst: 128,
        cache_entries: 65_536,
    };
    assert_eq!(c.workers, workers);
    assert_eq!((c.memory.frames, c.memory.chunk_size, c.memory.hugepages), (32_768, 2048, Switch::Auto));
    let m = &c.memory;
    assert_eq!([m.rx_ring, m.fill_ring, m.tx_ring, m.completion_ring], [4096, 4096, 2048, 2048]);
    assert_eq!(
        c.xdp,
        XdpConfig {
            mode: XdpMode::Auto,
            zero_copy: Switch::Auto,
            multi_buffer: Switch::Auto,
            tx_checksum: Switch::Auto,
            busy_poll_us: 0
        }
    );
    assert!(
        c.overlays[0].source_check
            && !c.overlays[0].gbp
            && c.overlays[0].inner_vlan == 0
            && c.overlays[0].dscp == Dscp::Pipe(0)
    );
}

/// The valid file that the table below spoils: `(find, replace, what must be said)`.
const BASE: &str = r#"[workers]
count = 2
[memory]
frames = 16384
[xdp]
mode = "auto"
[metrics]
address = "127.0.0.1:9472"
[[port]]
interface = "eth0"
role = "underlay"
[[port]]
interface = "eth1"
role = "access"
[[overlay]]
name = "blue"
vni = 100
local = "192.0.2.1"
mac = "02:00:00:00:00:01"
address = "10.244.0.1"
[[overlay]]
name = "red"
vni = 200
local = "192.0.2.1"
mac = "02:00:00:00:00:02"
[[peer]]
overlay = "blue"
vtep = "192.0.2.11"
mac = "02:00:00:00:00:0b"
prefixes = ["10.244.1.0/24", "10.244.2.0/24"]
[[peer]]
overlay = "red"
vtep = "192.0.2.21"
mac = "02:00:00:00:00:15"
prefixes = ["10.245.1.0/24"]
[[native]]
prefix = "10.0.0.0/24"
port = "eth1"
next_hop = "198.51.100.1"
"#;

const SPOILED: &[(&str, &str, &[&str])] = &[
    ("count = 2", "count = 0", &["f.toml:2:9: error: workers.count: `0` is not", "1 to 1024"]),
    ("count = 2", "count = \"2\"", &["`\"2\"` is not a number of workers (an integer from 1 to 1024)"]),
    ("count = 2", "count = 99999999999999999999", &["`99999999999999999999` is not"]),
    (
        "count = 2",
        "count = 2\ncores = [0, 1]",
        &["3:9", "workers.cores: excludes `workers.count`", "f.toml:2:9: workers.count"],
    ),
    ("count = 2", "cores = [0, 1, 0]", &["2:16", "core 0 twice"]),
    ("count = 2", "cores = []", &["`[]` is not an array of at least one core"]),
    ("count = 2", "cores = [1024, \"a\"]", &["workers.cores[0]: `1024`", "workers.cores[1]: `\"a\"`"]),
    ("count = 2", "burst = 257", &["workers.burst: `257` is not a burst (an integer from 1 to 256)"]),
    ("count = 2", "cache_entries = 1000", &["a power of two from 1024 to 1048576"]),
    ("count = 2", "poll = \"buzy\"", &["one of \"adaptive\", \"busy\""]),
    ("count = 2", "realtime = true", &["one of \"auto\", \"on\", \"off\""]),
    ("count = 2", "cuont = 2", &["2:1", "workers.cuont: unknown key in [workers]; did you mean `count`?"]),
    (
        "count = 2",
        "colour = 2",
        &["unknown key in [workers]; its keys are count, cores, poll, realtime, burst, cache_entries"],
    ),
    (
        "[workers]\ncount",
        "workers = 1\n[x]\ncount",
        &["`1` is not a table; write [workers]", "unknown key in the file"],
    ),
    ("[workers]", "[worker]", &["1:2", "worker: unknown key in the file; did you mean `workers`?"]),
    (
        "frames = 16384",
        "frames = 4096",
        &[
            "2 ports × (memory.fill_ring 4096 + memory.tx_ring 2048) + workers.burst 128 is 12416; the least legal value is 16384",
        ],
    ),
    ("frames = 16384", "frames = 10000", &["a power of two from 512 to 1048576"]),
    ("frames = 16384", "chunk_size = 3000", &["2048 or 4096 bytes"]),
    ("frames = 16384", "hugepages = true", &["memory.hugepages: `true` is not one of \"auto\", \"on\", \"off\""]),
    ("frames = 16384", "rx_ring = 32", &["a ring size (a power of two from 64 to 16384)"]),
    ("mode = \"auto\"", "busy_poll_us = 10001", &["0 to 10000"]),
    (
        "mode = \"auto\"",
        "mode = \"generic\"\nzero_copy = \"on\"",
        &["7:13", "xdp.zero_copy: cannot be \"on\"", "6:8: xdp.mode"],
    ),
    ("127.0.0.1:9472", "localhost", &["metrics.address: `\"localhost\"` is not a socket address"]),
    (
        "interface = \"eth1\"",
        "interface = \"eth0\"",
        &["interface `eth0` is given twice", "13:13", "10:13: port[0].interface", "did you mean `eth0`?"],
    ),
    ("interface = \"eth1\"", "interface = \"a-name-too-long-for-it\"", &["port[1].interface", "1 to 15"]),
    ("role = \"underlay\"", "role = \"access\"", &["no port has the role \"underlay\""]),
    (
        "role = \"underlay\"",
        "role = \"under\"",
        &["port[0].role (eth0): `\"under\"` is not one of \"underlay\", \"access\""],
    ),
    ("role = \"underlay\"", "", &["9:1", "port[0].role (eth0): missing; [[port]] needs `role`"]),
    ("role = \"underlay\"", "role = \"underlay\"\nqueues = 4", &["4 queues here, but workers says 2", "2:9: workers"]),
    ("role = \"underlay\"", "role = \"underlay\"\nmtu = 575", &["576 to 9216"]),
    (
        "role = \"underlay\"",
        "role = \"underlay\"\nproxy = true",
        &[
            "12:9: error: port[0].proxy (eth0): cannot be `true` on an underlay port",
            "role \"access\"",
            "11:8: port[0].role",
        ],
    ),
    ("role = \"access\"", "role = \"access\"\nproxy = 1", &["port[1].proxy (eth1): `1` is not `true` or `false`"]),
    (
        "name = \"red\"",
        "name = \"blue\"",
        &["overlay `blue` is given twice", "overlay[0].name", "not the name of an overlay of this file"],
    ),
    ("name = \"red\"", "name = \"Red\"", &["overlay[1].name", "a-z, 0-9 and -"]),
    ("vni = 200", "vni = 16777216", &["overlay[1].vni (red): `16777216` is not a VNI (an integer from 0 to 16777215)"]),
    (
        "vni = 200",
        "vni = 100",
        &["23:7", "VNI 100 on 192.0.2.1 and UDP port 4789 is given twice", "17:7: overlay[0].vni (blue)"],
    ),
    ("vni = 200", "vni = 200\nudp_port = 0", &["a UDP port (an integer from 1 to 65535)"]),
    ("vni = 200", "vni = 200\ndscp = 64", &["0 to 63, or \"uniform\""]),
    ("vni = 200", "vni = 200\nmss_clamp = 1400", &["`1400` is not `true` or `false`"]),
    ("vni = 200", "vni = 200\nfragment = \"no\"", &["`\"no\"` is not `true` or `false`"]),
    ("vni = 200", "vni = 200\ngbp = 1", &["`1` is not `true` or `false`"]),
    ("vni = 200", "vni = 200\ninner_vlan = 4095", &["`4095` is not a VLAN (an integer from 1 to 4094)"]),
    ("vni = 200", "vni = 200\ninner_vlan = 0", &["`0` is not a VLAN (an integer from 1 to 4094)"]),
    ("vni = 200", "vni = 200\nsource_check = 1", &["`1` is not `true` or `false`"]),
    ("vni = 200", "vni = 200\nvni = 300", &["duplicate key"]),
    ("local = \"192.0.2.1\"", "local = \"0.0.0.0\"", &["a unicast address"]),
    ("\"02:00:00:00:00:02\"", "\"01:00:5e:00:00:02\"", &["the MAC address of one station"]),
    ("\"02:00:00:00:00:02\"", "\"02-00\"", &["six hex octets"]),
    ("\"10.244.0.1\"", "\"192.0.2.11\"", &["192.0.2.11 is the VTEP address of a peer", "peer[0].vtep"]),
    (
        "overlay = \"red\"",
        "overlay = \"read\"",
        &["peer[1].overlay: `read` is not the name of an overlay of this file; did you mean `red`?"],
    ),
    ("\"192.0.2.21\"", "\"192.0.2.1\"", &["192.0.2.1 is our own VTEP address", "overlay[0].local (blue)"]),
    ("\"192.0.2.21\"", "\"224.0.0.1\"", &["peer[1].vtep: `\"224.0.0.1\"` is not a unicast"]),
    (
        "\"02:00:00:00:00:15\"",
        "\"02:00:00:00:00:02\"",
        &["our own MAC address in this overlay", "overlay[1].mac (red)"],
    ),
    (
        "\"red\"\nvtep = \"192.0.2.21\"",
        "\"blue\"\nvtep = \"192.0.2.11\"",
        &["VTEP 192.0.2.11 has MAC 02:00:00:00:00:15 here and 02:00:00:00:00:0b elsewhere", "peer[0].mac"],
    ),
    (
        "[\"10.245.1.0/24\"]",
        "[\"10.244.1.0/24\"]",
        &["peer[1].prefixes[0]: 10.244.1.0/24 is given twice", "peer[0].prefixes[0]"],
    ),
    (
        "[\"10.245.1.0/24\"]",
        "[\"10.244.0.0/16\"]",
        &["10.244.1.0/24 of overlay `blue` lies in 10.244.0.0/16 of overlay `red`", "10.244.2.0/24 of overlay"],
    ),
    ("[\"10.245.1.0/24\"]", "[\"10.245.1.7/24\"]", &["host bits of zero (\"10.245.1.0/24\")"]),
    ("[\"10.245.1.0/24\"]", "\"10.245.1.0/24\"", &["an array of at least one prefix"]),
    (
        "[\"10.245.1.0/24\"]",
        "[\"127.0.0.0/8\", \"224.0.0.0/4\", \"x\"]",
        &["`\"127.0.0.0/8\"` is not a unicast", "`\"224.0.0.0/4\"`", "a slash and a length"],
    ),
    ("prefix = \"10.0.0.0/24\"", "prefix = \"10.244.1.0/24\"", &["native[0].prefix: 10.244.1.0/24 is given twice"]),
    ("port = \"eth1\"", "port = \"eth0\"", &["`eth0` is an underlay port", "port[0].role"]),
    ("port = \"eth1\"", "port = \"eth2\"", &["`eth2` is not the name of a port of this file; did you mean"]),
    ("\"198.51.100.1\"", "\"255.255.255.255\"", &["native[0].next_hop", "a unicast address"]),
    ("[[native]]", "[native]", &["a table is not an array of tables; write [[native]]"]),
    ("vni = 200", "vni = ", &["error: ", "23:"]),
];

#[test]
fn each_mistake_is_named_with_place_value_and_remedy() {
    Config::parse(BASE, "f.toml").unwrap_or_else(|e| panic!("{e}"));
    for (find, replace, said) in SPOILED {
        assert!(BASE.contains(find), "{find}");
        let shown = errors(&BASE.replacen(find, replace, 1));
        for part in *said {
            assert!(shown.contains(part), "{replace}: no `{part}` in\n{shown}");
        }
    }
}

#[test]
fn nested_prefixes_are_legal_within_an_overlay_and_against_native_routes() {
    for (find, replace) in [
        ("\"10.244.2.0/24\"", "\"10.244.0.0/16\""),
        ("prefix = \"10.0.0.0/24\"", "prefix = \"10.0.0.0/8\""),
        ("prefix = \"10.0.0.0/24\"", "prefix = \"10.244.1.128/25\""),
        ("prefix = \"10.0.0.0/24\"", "prefix = \"0.0.0.0/1\""),
        ("[\"10.245.1.0/24\"]", "[\"0.0.0.0/0\"]"),
        ("vni = 200", "vni = 100\nudp_port = 8472"),
    ] {
        let result = Config::parse(&BASE.replacen(find, replace, 1), "f.toml");
        // A default route of an overlay holds the prefixes of every other one.
        assert_eq!(result.is_err(), replace.contains("/0\""), "{replace}");
    }
}

/// As many ports, two of them those of the base.
fn with_ports(count: usize, memory: &str) -> String {
    let more = (2..count).map(|n| format!("[[port]]\ninterface = \"veth{n}\"\nrole = \"access\"\n"));
    BASE.replace("frames = 16384", memory) + &more.collect::<String>()
}

#[test]
fn a_worker_can_sleep_on_so_many_ports_and_no_more() {
    let with = |count| with_ports(count, "frames = 1048576");
    assert_eq!(Config::parse(&with(64), "f.toml").unwrap_or_else(|e| panic!("{e}")).ports.len(), 64);
    let shown = errors(&with(65));
    assert!(shown.contains("error: port: 65 are given, 64 are possible"), "{shown}");
}

#[test]
fn the_default_memory_is_enough_for_five_ports() {
    let with = |count| with_ports(count, "");
    Config::parse(&with(5), "f.toml").unwrap_or_else(|e| panic!("{e}"));
    assert!(errors(&with(6)).contains("6 ports"));
}

#[test]
fn the_least_legal_number_of_frames_is_legal() {
    let text = BASE.replace("frames = 16384", "frames = 4096\ntx_ring = 512\nfill_ring = 1024");
    Config::parse(&text, "f.toml").unwrap_or_else(|e| panic!("{e}"));
    let shown = errors(&text.replace("4096", "2048"));
    assert!(shown.contains("the least legal value is 4096"), "{shown}");
}

#[test]
fn an_empty_file_lacks_a_port_and_an_overlay() {
    let shown = errors("");
    assert!(shown.contains("port: missing") && shown.contains("overlay: missing") && shown.ends_with("2 errors"));
}

const MANY: &str = r#"[workers]
cuont = 2
burst = 0
[memory]
frames = 4096
[[port]]
interface = "eth0"
role = "underlay"
[[port]]
interface = "eth0"
role = "acess"
[[overlay]]
name = "blue"
vni = 16777216
local = "192.0.2.1"
mac = "ff:ff:ff:ff:ff:ff"
[[peer]]
overlay = "bleu"
vtep = "192.0.2.1"
mac = 7
prefixes = ["10.244.1.7/24", "10.244.2.0/24", "10.244.2.0/24"]
"#;

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_file() {
    let e = Config::parse(MANY, "f.toml").unwrap_err();
    let keys: Vec<_> = e.iter().map(|e| (e.at.line, e.at.column, e.key.as_str())).collect();
    let expected = [
        (2, 1, "workers.cuont"),
        (3, 9, "workers.burst"),
        (5, 10, "memory.frames"), // the rings of two ports are too many, whatever the burst
        (10, 13, "port[1].interface"),
        (11, 8, "port[1].role (eth0)"),
        (14, 7, "overlay[0].vni (blue)"),
        (16, 7, "overlay[0].mac (blue)"),
        (18, 11, "peer[0].overlay"),
        (19, 8, "peer[0].vtep"),
        (20, 7, "peer[0].mac"),
        (21, 13, "peer[0].prefixes[0]"),
        (21, 47, "peer[0].prefixes[2]"),
    ];
    assert_eq!(keys, expected, "{e}");
    let shown = e.to_string();
    let block = "f.toml:18:11: error: peer[0].overlay: `bleu` is not the name of an overlay of this file; did you mean \
                 `blue`?\n   18 | overlay = \"bleu\"\n      |           ^^^^^^\n";
    assert!(shown.contains(block), "{shown}");
    assert!(shown.contains("workers.burst of at least 1 is 12289; the least legal value is 16384"), "{shown}");
    assert!(shown.ends_with("\nf.toml: 12 errors"), "{shown}");
}

#[test]
fn syntax_errors_keep_their_place_and_text_that_is_none_is_refused() {
    let shown = errors("[workers]\ncount = = 2\n[[port]\n");
    assert!(shown.contains("f.toml:2:9: error: ") && shown.contains("f.toml:3:"), "{shown}");
    let shown = Config::from_bytes(b"a = 1\nb = \"\xff\"\n", "f.toml").unwrap_err().to_string();
    assert!(shown.contains("f.toml:2:6: error: byte 0xff is not UTF-8"), "{shown}");
    let shown = Config::load(Path::new("/nonexistent/gateway.toml")).unwrap_err().to_string();
    assert!(shown.starts_with("/nonexistent/gateway.toml: error: cannot be read: No such file"), "{shown}");
    let shown = Config::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(shown.contains("larger than 64 MiB"), "{shown}");
}

#[test]
fn a_restart_is_needed_for_what_is_built_at_the_start() {
    let old = Config::parse(BASE, "f").unwrap();
    assert!(old.needs_restart(&old).is_empty());
    let hot = BASE.replace("vni = 200", "vni = 201\nsource_check = false").replace("10.0.0.0/24", "10.9.0.0/24");
    assert!(old.needs_restart(&Config::parse(&hot, "f").unwrap()).is_empty());
    let cold = BASE
        .replace("count = 2", "burst = 32")
        .replace("16384", "32768")
        .replace("9472", "9473")
        .replace("role = \"access\"", "role = \"access\"\nmtu = 1400");
    let keys = old.needs_restart(&Config::parse(&cold, "f").unwrap());
    assert_eq!(keys, ["workers.count", "workers.burst", "memory.frames", "metrics.address", "port[1].mtu"]);
    for (line, key) in [("count = 4", "workers.count"), ("cores = [0, 1]", "workers.cores")] {
        let other = Config::parse(&BASE.replace("count = 2", line), "f").unwrap();
        assert_eq!(
            (old.needs_restart(&other), other.needs_restart(&old)),
            (vec![key.into()], vec!["workers.count".into()])
        );
    }
}

/// As many rows as are promised to be quick; fewer where nothing is optimised.
const ROWS: u32 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };

#[test]
fn a_hundred_thousand_peers_take_no_time() {
    let mut text = BASE.to_owned();
    for i in 0..ROWS {
        let [_, a, b, c] = i.to_be_bytes();
        let _ = write!(
            text,
            "[[peer]]\noverlay = \"red\"\nvtep = \"172.{a}.{b}.{c}\"\nmac = \"06:00:00:{a:02x}:{b:02x}:{c:02x}\"\n\
             prefixes = [\"100.{}.{b}.{c}/32\"]\n",
            64 + a
        );
    }
    let start = Instant::now();
    assert_eq!(Config::parse(&text, "f").unwrap_or_else(|e| panic!("{e}")).routes.len(), ROWS as usize + 4);
    let took = start.elapsed();
    println!("{ROWS} peers: {took:?}");
    assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 }), "{took:?}");
}

#[test]
fn depth_does_not_exhaust_the_stack() {
    for text in [
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
    ] {
        assert!(!errors(&text).is_empty());
    }
}

#[test]
fn a_hundred_thousand_mistakes_take_little_time() {
    let mut text = BASE.replace("name = \"red\"", "name = \"read\"");
    for _ in 0..ROWS {
        text += "[[peer]]\noverlay = \"red\"\nvtep = \"172.16.0\"\nmc = 1\nprefixes = [\"100.64.0.0/32\"]\n";
    }
    let start = Instant::now();
    let errors = Config::parse(&text, "f").unwrap_err();
    let shown = errors.to_string();
    let took = start.elapsed();
    println!("{} mistakes: {took:?}", errors.len());
    assert!(errors.len() >= ROWS as usize * 4 && shown.len() > errors.len() * 40);
    assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 6 }), "{took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_mutation_of_a_sample_panics(
        which in 0usize..5,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..12),
    ) {
        let mut bytes = [GATEWAY, ONE_ARM, TWO_ARM, DUAL_STACK, BASE][which].as_bytes().to_vec();
        for (at, byte, how) in edits {
            let i = at.index(bytes.len());
            match how {
                0 => bytes[i] = byte,
                1 => bytes.insert(i, b"[]\"={}.,\n#'0"[usize::from(byte) % 12]),
                2 => drop(bytes.remove(i)),
                _ => bytes[i] = b'0' + byte % 75,
            }
        }
        match Config::from_bytes(&bytes, "f") {
            Ok(config) => prop_assert!(config.needs_restart(&config).is_empty()),
            Err(e) => {
                prop_assert!(e.len() > 0);
                prop_assert!(!e.to_string().chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }

    #[test]
    fn no_text_at_all_panics(text in "\\PC{0,200}") {
        let _ = Config::parse(&text, "f").map_err(|e| e.to_string());
    }
}

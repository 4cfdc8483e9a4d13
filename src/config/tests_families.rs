//! Files with addresses of both families.

use super::*;
use crate::control::Target;

/// An overlay over IPv4 and one over IPv6, with pods of both families each.
const BASE: &str = r#"[[port]]
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
address = ["10.244.0.1", "fd00:244::1"]
[[overlay]]
name = "red"
vni = 200
local = "2001:db8::1"
mac = "02:00:00:00:00:02"
address = "fd00:245::1"
[[peer]]
overlay = "blue"
vtep = "192.0.2.11"
mac = "02:00:00:00:00:0b"
prefixes = ["10.244.1.0/24", "fd00:244:1::/64"]
[[peer]]
overlay = "red"
vtep = "2001:db8::21"
mac = "02:00:00:00:00:15"
prefixes = ["10.245.1.0/24", "fd00:245:1::/64"]
[[native]]
prefix = "10.0.0.0/24"
port = "eth1"
next_hop = "198.51.100.1"
[[native]]
prefix = "::/0"
port = "eth1"
next_hop = "fe80::1"
"#;

const SPOILED: &[(&str, &str, &[&str])] = &[
    (
        "\"2001:db8::1\"",
        "\"fe80::1\"",
        &["overlay[1].local (red): `\"fe80::1\"` is not a unicast address", "link-local"],
    ),
    ("\"2001:db8::1\"", "\"ff02::1\"", &["overlay[1].local (red)", "not ::, loopback, multicast"]),
    ("\"2001:db8::1\"", "\"::\"", &["overlay[1].local (red): `\"::\"` is not a unicast address"]),
    ("\"2001:db8::1\"", "\"::ffff:192.0.2.7\"", &["overlay[1].local (red)", "IPv4 within IPv6"]),
    (
        "\"2001:db8::1\"",
        "\"2001:db8:1\"",
        &["is not an IP address (a string, such as \"192.0.2.1\" or \"2001:db8::1\")"],
    ),
    (
        "\"fd00:245::1\"",
        "[]",
        &["overlay[1].address (red): `[]` is not an address, or an array of one IPv4 and one IPv6"],
    ),
    ("\"fd00:245::1\"", "[\"fd00:245::1\", 7]", &["overlay[1].address[1] (red): `7` is not an IP address"]),
    (
        "\"fd00:245::1\"",
        "[\"fd00:245::1\", \"10.245.0.1\", \"fd00:245::2\"]",
        &[
            "18:41: error: overlay[1].address (red): fd00:245::2 is a second IPv6 address",
            "18:12: overlay[1].address (red)",
        ],
    ),
    ("\"10.244.0.1\", \"fd00:244::1\"", "\"10.244.0.1\", \"10.244.0.2\"", &["10.244.0.2 is a second IPv4 address"]),
    ("\"fd00:245::1\"", "\"2001:db8::21\"", &["2001:db8::21 is the VTEP address of a peer", "peer[1].vtep"]),
    (
        "\"2001:db8::21\"",
        "\"192.0.2.21\"",
        &[
            "26:8: error: peer[1].vtep: 192.0.2.21 is an IPv4 address, but overlay `red` is over IPv6: its `local` is 2001:db8::1",
            "name the peer's IPv6 address",
            "16:9: overlay[1].local (red)",
        ],
    ),
    ("\"192.0.2.11\"", "\"2001:db8::11\"", &["2001:db8::11 is an IPv6 address, but overlay `blue` is over IPv4"]),
    ("\"2001:db8::21\"", "\"2001:db8::1\"", &["2001:db8::1 is our own VTEP address"]),
    ("[\"10.245.1.0/24\", ", "[\"fd00:244:1::/64\", ", &["fd00:244:1::/64 is given twice", "peer[0].prefixes[1]"]),
    (
        "\"fd00:245:1::/64\"",
        "\"fd00:244:1:0:1::/80\"",
        &["fd00:244:1:0:1::/80 of overlay `red` lies in fd00:244:1::/64 of overlay `blue`"],
    ),
    ("\"fd00:245:1::/64\"", "\"fd00:245:1::7/64\"", &["host bits of zero (\"fd00:245:1::/64\")"]),
    ("\"fd00:245:1::/64\"", "\"fd00:245:1::/129\"", &["a length from 0 to 32, or to 128 for IPv6"]),
    ("\"fd00:245:1::/64\"", "\"10.245.0.0/33\"", &["a length from 0 to 32, or to 128 for IPv6"]),
    ("\"fd00:245:1::/64\"", "\"fe80::/64\"", &["`\"fe80::/64\"` is not a unicast prefix", "link-local"]),
    ("\"fd00:245:1::/64\"", "\"ff00::/8\"", &["`\"ff00::/8\"` is not a unicast prefix"]),
    ("\"fd00:245:1::/64\"", "\"::1/128\"", &["`\"::1/128\"` is not a unicast prefix"]),
    ("\"fd00:245:1::/64\"", "\"::ffff:10.0.0.0/104\"", &["IPv4 within IPv6"]),
    (
        "\"fe80::1\"",
        "\"198.51.100.1\"",
        &[
            "native[1].next_hop: 198.51.100.1 is an IPv4 address, but ::/0 is an IPv6 prefix; name the neighbour's IPv6 address",
            "native[1].prefix",
        ],
    ),
    (
        "\"198.51.100.1\"",
        "\"fe80::1\"",
        &["native[0].next_hop: fe80::1 is an IPv6 address, but 10.0.0.0/24 is an IPv4"],
    ),
    (
        "\"fe80::1\"",
        "\"::1\"",
        &["native[1].next_hop: `\"::1\"` is not a unicast address (not ::, loopback, multicast, or"],
    ),
    ("\"fe80::1\"", "\"2001:db8::1\"", &["2001:db8::1 is our own VTEP address; a next hop is another node"]),
    (
        "vni = 100",
        "vni = 100\nzero_checksum = true",
        &[
            "10:17: error: overlay[0].zero_checksum (blue)",
            "over IPv4 the outer UDP checksum is always sent as zero",
            "11:9: overlay[0].local",
        ],
    ),
    (
        "vtep = \"192.0.2.11\"",
        "vtep = \"192.0.2.11\"\nzero_checksum = false",
        &["peer[0].zero_checksum: is a choice over IPv6 only", "21:8: peer[0].vtep"],
    ),
    ("vni = 200", "vni = 200\nzero_checksum = 0", &["overlay[1].zero_checksum (red): `0` is not `true` or `false`"]),
    (
        "[[native]]",
        "[[peer]]\noverlay = \"red\"\nvtep = \"2001:db8::21\"\nmac = \"02:00:00:00:00:15\"\nprefixes = [\"fd00:246::/64\"]\n\
         zero_checksum = true\n[[native]]",
        &["peer[2].zero_checksum: true for VTEP 2001:db8::21 here, and false elsewhere", "26:8: peer[1].zero_checksum"],
    ),
];

#[test]
fn each_mistake_about_families_is_named_with_place_value_and_remedy() {
    Config::parse(BASE, "f.toml").unwrap_or_else(|e| panic!("{e}"));
    for (find, replace, said) in SPOILED {
        assert!(BASE.contains(find), "{find}");
        let shown = Config::parse(&BASE.replacen(find, replace, 1), "f.toml").unwrap_err().to_string();
        for part in *said {
            assert!(shown.contains(part), "{replace}: no `{part}` in\n{shown}");
        }
    }
}

#[test]
fn families_mix_within_an_overlay_and_not_in_its_outer_headers() {
    let c = Config::parse(BASE, "f").unwrap_or_else(|e| panic!("{e}"));
    let shown: Vec<_> = c.routes.iter().map(|r| r.prefix.to_string()).collect();
    let prefixes = ["10.244.1.0/24", "fd00:244:1::/64", "10.245.1.0/24", "fd00:245:1::/64", "10.0.0.0/24", "::/0"];
    assert_eq!(shown, prefixes);
    for (find, replace) in [
        ("\"::/0\"", "\"2000::/3\""),
        ("\"fe80::1\"", "\"2001:db8:9::1\""),
        ("\"fd00:245:1::/64\"", "\"fd00:245::/32\", \"fd00:245:1::/64\", \"fd00:245:1::7/128\""),
        ("[\"10.244.0.1\", \"fd00:244::1\"]", "[\"fd00:244::1\"]"),
        ("vni = 200", "vni = 100"),
    ] {
        assert!(BASE.contains(find), "{find}");
        Config::parse(&BASE.replacen(find, replace, 1), "f").unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn peers_leave_out_checksums_as_their_overlay_does_unless_they_say_otherwise() {
    let zeros = |overlay: &str, peer: &str| {
        let text = BASE
            .replace("vni = 200", &format!("vni = 200\n{overlay}"))
            .replace("vtep = \"2001:db8::21\"", &format!("vtep = \"2001:db8::21\"\n{peer}"));
        let c = Config::parse(&text, "f").unwrap_or_else(|e| panic!("{e}"));
        let Target::Vtep { zero_checksum, .. } = c.routes[3].target else { panic!("{:?}", c.routes[3]) };
        (c.overlays[1].zero_checksum, zero_checksum)
    };
    assert_eq!(zeros("", ""), (false, false));
    assert_eq!(zeros("zero_checksum = true", ""), (true, true));
    assert_eq!(zeros("zero_checksum = true", "zero_checksum = false"), (true, false));
    assert_eq!(zeros("", "zero_checksum = true"), (false, true));
}

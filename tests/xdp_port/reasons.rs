//! A packet for each thing the XDP program can do with one.

use std::net::Ipv6Addr;
use std::process::Command;
use std::time::Instant;

use selvedge::port::SteerReason::*;
use selvedge::port::host::interface_index;
use selvedge::port::{
    AttachMode, Burst, Options, Pool, Port, QueueSpec, Roles, SteerCapacity, SteerReason, Steering, XdpPort,
};
use selvedge::wire::{Mac, VlanTags};

use super::net::{A_MAC, GATEWAY_MACS, Net};
use super::{PATIENCE, SIZES, pool};

const VTEP: [u8; 4] = [10, 1, 0, 1];
const POD: [u8; 4] = [10, 9, 0, 1];
const OWN: [u8; 4] = [10, 9, 0, 254];

const VTEP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const POD6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 0xfe);
const NOBODY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Solicited-node address of `POD6` and of many others, and where frames for it go.
const SOLICITED: (Ipv6Addr, Mac) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1), Mac([0x33, 0x33, 0xff, 0, 0, 1]));

const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;

/// An Ethernet frame of at least 60 bytes.
fn ethernet(to: Mac, ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to.0[..], &A_MAC.0, &ethertype, payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn to_gateway(ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
    ethernet(GATEWAY_MACS[0], ethertype, payload)
}

/// The ports of a UDP header, and as much of the rest as nobody reads.
fn udp(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![0x12, 0xb5, high, low, 0, 8, 0, 0]
}

/// IPv4 of `words` 32-bit words with `flags` and offset, then a UDP header to `port`.
fn v4(words: u8, flags: [u8; 2], protocol: u8, destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut ip = vec![0x40 | words, 0, 0, 46, 0, 0, flags[0], flags[1], 64, protocol, 0, 0, 10, 1, 0, 2];
    ip.extend(destination);
    ip.resize(usize::from(words.max(5)) * 4, 1); // options: no operation
    ip.extend(udp(port));
    to_gateway([8, 0], &ip)
}

/// IPv6 with what follows its header.
fn v6(next: u8, hops: u8, destination: Ipv6Addr, rest: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x60, 0, 0, 0, 0, rest.len() as u8, next, hops];
    ip.extend(LINK_LOCAL.octets());
    ip.extend(destination.octets());
    ip.extend(rest);
    ip
}

fn six(next: u8, destination: Ipv6Addr, rest: &[u8]) -> Vec<u8> {
    to_gateway([0x86, 0xdd], &v6(next, 64, destination, rest))
}

/// A fragment header for `offset` bytes, more of them to follow, and what stands behind it.
fn fragment(next: u8, offset: u16, rest: &[u8]) -> Vec<u8> {
    let [high, low] = (offset | 1).to_be_bytes();
    [&[next, 0, high, low, 0, 0, 0, 7], rest].concat()
}

/// An ARP message about `target`.
fn arp(to: Mac, operation: u8, target: [u8; 4]) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, operation];
    arp.extend([&A_MAC.0[..], &[10, 1, 0, 2], &[0; 6], &target].concat());
    ethernet(to, [8, 6], &arp)
}

/// ICMPv6 of a type with code 0 about `target`.
fn about(kind: u8, target: Ipv6Addr) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..]].concat()
}

/// A neighbour solicitation.
fn solicit(to: Mac, hops: u8, target: Ipv6Addr) -> Vec<u8> {
    ethernet(to, [0x86, 0xdd], &v6(ICMPV6, hops, SOLICITED.0, &about(135, target)))
}

pub(super) type Case = (&'static str, Vec<u8>, SteerReason);

pub(super) fn ipv4_cases() -> Vec<Case> {
    let whole = || v4(5, [0, 0], UDP, VTEP, 4789);
    let vlan = || [&whole()[..12], &[0x81, 0, 0, 5, 8, 0], &[0; 42]].concat();
    let cut = |len| whole()[..len].to_vec();
    vec![
        ("to a VTEP", whole(), RedirectedUnderlay),
        ("with IP options", v4(6, [0, 0], UDP, VTEP, 4789), RedirectedUnderlay),
        ("with don't fragment", v4(5, [0x40, 0], UDP, VTEP, 4789), RedirectedUnderlay),
        ("a first fragment", v4(5, [0x20, 0], UDP, VTEP, 4789), RedirectedUnderlay),
        ("another fragment", v4(5, [0, 9], UDP, VTEP, 4789), PassFragment),
        ("another port", v4(5, [0, 0], UDP, VTEP, 8472), PassNotOurs),
        ("TCP", v4(5, [0, 0], TCP, VTEP, 4789), PassNotOurs),
        ("to a pod", v4(5, [0, 0], TCP, POD, 80), RedirectedAccess),
        ("UDP to a pod", v4(15, [0, 0], UDP, POD, 80), RedirectedAccess),
        ("a fragment to a pod", v4(5, [0x20, 9], UDP, POD, 80), RedirectedAccess),
        ("to the host itself, inside a pod prefix", v4(5, [0, 0], TCP, OWN, 22), PassNotOurs),
        ("to nobody", v4(5, [0, 0], 1, [10, 8, 0, 1], 0), PassNotOurs),
        ("a short IP header", v4(4, [0, 0], UDP, VTEP, 4789), PassTruncated),
        ("a cut UDP header", cut(41), PassTruncated),
        ("a cut IP header", cut(33), PassTruncated),
        ("a VLAN tag", vlan(), PassNotIp),
        ("another station", [&[2; 6][..], &whole()[6..]].concat(), PassOtherMac),
        ("broadcast", [&[0xff; 6][..], &whole()[6..]].concat(), PassOtherMac),
    ]
}

pub(super) fn ipv6_cases() -> Vec<Case> {
    let whole = || six(UDP, VTEP6, &udp(4789));
    let first = |len: usize| six(FRAGMENT, VTEP6, &fragment(UDP, 0, &udp(4789)))[..len].to_vec();
    vec![
        ("to a VTEP", whole(), RedirectedUnderlay),
        ("a first fragment", first(70), RedirectedUnderlay),
        ("another fragment", six(FRAGMENT, VTEP6, &fragment(UDP, 8, &udp(4789))), PassFragment),
        ("a fragment of TCP", six(FRAGMENT, VTEP6, &fragment(TCP, 0, &udp(4789))), PassNotOurs),
        (
            "behind hop-by-hop options",
            six(0, VTEP6, &[&[UDP, 0, 1, 4, 0, 0, 0, 0], &udp(4789)[..]].concat()),
            PassNotOurs,
        ),
        ("another port", six(UDP, VTEP6, &udp(8472)), PassNotOurs),
        ("TCP", six(TCP, VTEP6, &udp(4789)), PassNotOurs),
        ("to a pod", six(TCP, POD6, &udp(80)), RedirectedAccess),
        ("to a pod once more", six(TCP, POD6, &udp(80)), RedirectedAccess),
        ("a fragment to a pod", six(FRAGMENT, POD6, &fragment(UDP, 8, &[])), RedirectedAccess),
        ("to the host itself, inside a pod prefix", six(TCP, OWN6, &udp(22)), PassNotOurs),
        ("to nobody", six(TCP, NOBODY6, &udp(80)), PassNotOurs),
        ("to nobody once more", six(TCP, NOBODY6, &udp(80)), PassNotOurs),
        ("to a link-local address", six(TCP, LINK_LOCAL, &udp(80)), PassNotOurs),
        ("to a group, but our MAC", six(TCP, SOLICITED.0, &udp(80)), PassNotOurs),
        ("a cut IP header", whole()[..53].to_vec(), PassTruncated),
        ("a cut UDP header", whole()[..61].to_vec(), PassTruncated),
        ("a cut fragment header", first(61), PassTruncated),
        ("a cut UDP header of a fragment", first(69), PassTruncated),
        ("another station", [&[2; 6][..], &whole()[6..]].concat(), PassOtherMac),
        ("all nodes", [&[0x33, 0x33, 0, 0, 0, 1][..], &whole()[6..]].concat(), PassOtherMac),
    ]
}

/// Who has …? With what becomes of it where nobody is to answer for pods.
pub(super) fn neighbour_cases() -> Vec<(Case, SteerReason)> {
    let (ours, group) = (GATEWAY_MACS[0], SOLICITED.1);
    let broadcast = || arp(Mac::BROADCAST, 1, POD);
    let icmp = |to, kind, target| ethernet(to, [0x86, 0xdd], &v6(ICMPV6, 255, SOLICITED.0, &about(kind, target)));
    let spoilt = |at: usize, value: u8| {
        let mut frame = solicit(group, 255, POD6);
        frame[at] = value;
        frame
    };
    let cases = vec![
        ("ARP for a pod", broadcast(), RedirectedNeighbour),
        ("ARP for a pod, of somebody who knows us", arp(ours, 1, POD), RedirectedNeighbour),
        ("ARP for the host itself", arp(Mac::BROADCAST, 1, OWN), PassNotIp),
        ("ARP for nobody", arp(Mac::BROADCAST, 1, [10, 8, 0, 1]), PassNotIp),
        ("ARP to another station", arp(Mac([2; 6]), 1, POD), PassNotIp),
        ("an ARP reply", arp(Mac::BROADCAST, 2, POD), PassNotIp),
        ("ARP cut short", broadcast()[..41].to_vec(), PassNotIp),
        ("ARP of another network", [&broadcast()[..15], &[6], &broadcast()[16..]].concat(), PassNotIp),
        ("ARP of longer addresses", [&broadcast()[..19], &[16], &broadcast()[20..]].concat(), PassNotIp),
        ("a solicitation of a pod", solicit(group, 255, POD6), RedirectedNeighbour),
        ("one from beyond the link", solicit(group, 254, POD6), PassOtherMac),
        ("one of the host itself", solicit(group, 255, OWN6), PassOtherMac),
        ("one of nobody", solicit(group, 255, NOBODY6), PassOtherMac),
        ("one of a link-local address", solicit(group, 255, LINK_LOCAL), PassOtherMac),
        ("one with a code", spoilt(55, 1), PassOtherMac),
        ("one cut short", solicit(group, 255, POD6)[..77].to_vec(), PassOtherMac),
        ("an advertisement", icmp(group, 136, POD6), PassOtherMac),
        ("one to all nodes", solicit(Mac([0x33, 0x33, 0, 0, 0, 1]), 255, POD6), PassOtherMac),
    ];
    let passed = |frame: &[u8]| if frame[12..14] == [8, 6] { PassNotIp } else { PassOtherMac };
    let mut cases: Vec<_> = cases.into_iter().map(|case| (passed(&case.1), case)).map(|(p, c)| (c, p)).collect();
    cases.push((("one to us", solicit(ours, 255, POD6), RedirectedNeighbour), PassNotOurs));
    cases.push((("one to us, of nobody", solicit(ours, 255, NOBODY6), PassNotOurs), PassNotOurs));
    cases
}

/// A steered port, and the other end of its cable.
pub(super) struct Steered {
    pool: Pool,
    ports: Vec<XdpPort>,
    steering: Steering,
    burst: Burst,
}

impl Steered {
    fn new(proxy: bool) -> Self {
        Self::tagged(proxy, VlanTags::NONE)
    }

    pub(super) fn tagged(proxy: bool, tags: VlanTags) -> Self {
        let [v2, p2] = ["v2", "p2"].map(|name| QueueSpec::new(interface_index(name).unwrap(), 0));
        let mut pool = pool();
        let ports = XdpPort::open_all(&mut pool, &[v2, p2], &SIZES, Options::default()).unwrap();
        let roles = Roles { underlay: true, access: true, proxy, tags };
        let (sockets, native) = ([(0, ports[0].socket())], AttachMode::Native);
        let capacity = SteerCapacity { vteps: 2, prefixes: 3 };
        let mut steering = Steering::attach(v2.ifindex, GATEWAY_MACS[0], roles, native, capacity, &sockets).unwrap();
        steering.set_vteps(&[(VTEP.into(), 4789), (VTEP6.into(), 4789)]).unwrap();
        steering.set_prefixes(&["10.9.0.0/16".parse().unwrap(), "fd00:9::/32".parse().unwrap()]).unwrap();
        steering.set_own(&[[10, 9, 0, 253].into(), "fd00:9::fd".parse().unwrap()]).unwrap();
        steering.set_own(&[OWN.into(), OWN6.into()]).unwrap();
        Self { pool, ports, steering, burst: Burst::new(1) }
    }

    fn count(&self, reason: SteerReason) -> u64 {
        self.steering.counters().unwrap().get(reason)
    }

    /// Sends a packet, which must be counted for `reason`, and received if it is the gateway's.
    pub(super) fn try_one(&mut self, (what, packet, reason): &Case) {
        let before = self.count(*reason);
        self.burst.push(self.pool.alloc_with(packet).unwrap()).unwrap();
        self.ports[1].tx(&mut self.pool, &mut self.burst);
        self.ports[1].service(&mut self.pool);
        let begun = Instant::now();
        while self.count(*reason) == before {
            assert!(begun.elapsed() < PATIENCE, "{what}: not {reason:?}: {:?}", self.steering.counters());
        }
        let ours = matches!(reason, RedirectedUnderlay | RedirectedAccess | RedirectedNeighbour);
        while self.ports[0].rx(&mut self.pool, &mut self.burst) == 0 && ours {
            assert!(begun.elapsed() < PATIENCE, "{what}: counted, not received");
        }
        assert_eq!(self.burst.len(), usize::from(ours), "{what}");
        for frame in self.burst.frames_mut() {
            assert_eq!(self.pool.packet(frame).bytes(), packet, "{what}");
        }
        self.burst.free_into(&mut self.pool);
    }
}

/// Runs `body` where `v2` and `p2` are the two ends of a cable.
pub(super) fn on_a_cable(body: impl FnOnce() + Send + 'static) {
    let Some(net) = Net::new() else { return };
    net.ip("g", &format!("link add v2 address {} type veth peer name p2", GATEWAY_MACS[0]));
    net.within("g", || {
        for end in ["v2", "p2"] {
            // or what the kernel has to say by itself would be counted, too
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
        }
    });
    net.ip("g", "link set v2 up");
    net.ip("g", "link set p2 up");
    net.within("g", body);
}

#[test]
fn every_reason_has_a_packet() {
    on_a_cable(|| {
        let mut port = Steered::new(false);
        ipv4_cases().iter().for_each(|case| port.try_one(case));
        for ((what, packet, _), reason) in neighbour_cases() {
            port.try_one(&(what, packet, reason));
        }
        for [last, beyond] in [["10.10.0.0/16", "10.11.0.0/16"], ["fd00:10::/32", "fd00:11::/32"]] {
            port.steering.add_prefixes(&[last.parse().unwrap()]).unwrap();
            let full = port.steering.add_prefixes(&[beyond.parse().unwrap()]).unwrap_err().to_string();
            assert!(full.contains("raise its capacity"), "{full}");
        }
    });
}

#[test]
fn every_reason_has_an_ipv6_packet() {
    on_a_cable(|| {
        let mut port = Steered::new(false);
        ipv6_cases().iter().for_each(|case| port.try_one(case));
        // what is remembered of an address is void as soon as a prefix changes
        let (pod, nobody) = (six(TCP, POD6, &udp(80)), six(TCP, NOBODY6, &udp(80)));
        port.steering.set_prefixes(&["fd00:8::/32".parse().unwrap()]).unwrap();
        port.try_one(&("another prefix", nobody.clone(), RedirectedAccess));
        port.try_one(&("no prefix any more", pod.clone(), PassNotOurs));
        // a default route holds what means something on the link only
        port.steering.set_prefixes(&["::/0".parse().unwrap()]).unwrap();
        port.try_one(&("by default", pod, RedirectedAccess));
        port.try_one(&("a link-local address by default", six(TCP, LINK_LOCAL, &udp(80)), PassNotOurs));
        port.try_one(&("a group by default", six(TCP, SOLICITED.0, &udp(80)), PassNotOurs));
    });
}

#[test]
fn neighbours_ask_for_pods_where_somebody_answers() {
    on_a_cable(|| {
        let mut port = Steered::new(true);
        neighbour_cases().iter().for_each(|(case, _)| port.try_one(case));
        port.steering.set_prefixes(&["::/0".parse().unwrap()]).unwrap();
        let link_local = solicit(SOLICITED.1, 255, LINK_LOCAL);
        port.try_one(&("a link-local address by default", link_local, PassOtherMac));
    });
}

/// Solicitations go to groups that this host is in none of: real devices, unlike veth, leave such frames out unless told.
#[test]
fn a_device_behind_which_pods_are_looked_for_takes_frames_to_all_groups() {
    on_a_cable(|| {
        let takes_all = || {
            let output = Command::new("ip").args(["-d", "link", "show", "dev", "v2"]).output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            assert!(told.contains(" allmulti "), "{told}");
            told.contains(" allmulti 1 ")
        };
        for proxy in [false, true] {
            let port = Steered::new(proxy);
            assert_eq!(takes_all(), proxy);
            drop(port);
            assert!(!takes_all(), "it is left as it was found");
        }
    });
}

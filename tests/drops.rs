//! Every drop reason has a case that provokes it, and the ledger balances after each.

mod support;

use std::collections::BTreeMap;

use selvedge::drops::DropReason as R;
use selvedge::path::{Limiter, Tick};
use selvedge::port::MemRings;
use selvedge::tables::{Imports, PortId, Rules};
use selvedge::wire::vlan::Tag;
use selvedge::wire::{VlanTags, eth};
use support::frames::{Ip, Vxlan};
use support::*;

fn pod_to_green() -> Ip {
    Ip::udp(BLUE_POD, GREEN_POD, (1000, 2000), b"payload")
}

fn native_to_pod() -> Ip {
    Ip::udp(NATIVE, BLUE_POD, (1000, 2000), b"payload")
}

/// A blue packet with something changed.
fn blue(change: impl FnOnce(&mut Vxlan)) -> (PortId, Vec<u8>) {
    let mut v = from_blue(&pod_to_green());
    change(&mut v);
    (UNDERLAY, v.frame())
}

/// A blue packet whose inner IP packet has something changed.
fn inner(change: impl FnOnce(&mut Ip)) -> (PortId, Vec<u8>) {
    let mut ip = pod_to_green();
    change(&mut ip);
    (UNDERLAY, from_blue(&ip).frame())
}

/// A blue frame with bytes changed at `at`, counted from the outer IP header, whose checksum is then made right.
fn outer_bytes(at: usize, bytes: &[u8]) -> (PortId, Vec<u8>) {
    let mut frame = from_blue(&pod_to_green()).frame();
    frame[14 + at..14 + at + bytes.len()].copy_from_slice(bytes);
    frame[24..26].fill(0);
    let sum = support::frames::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum);
    (UNDERLAY, frame)
}

fn access(change: impl FnOnce(&mut Vec<u8>)) -> (PortId, Vec<u8>) {
    let mut frame = plain(&native_to_pod());
    change(&mut frame);
    (ACCESS, frame)
}

/// The cases that need no more than one packet.
fn cases() -> Vec<(R, (PortId, Vec<u8>))> {
    let frame = from_blue(&pod_to_green()).frame();
    let ihl = |f: &mut Vec<u8>| f[14] = 0x44;
    vec![
        (R::ShortFrame, access(|f| f.truncate(13))),
        (R::NotIp, access(|f| f[12..14].copy_from_slice(&[0x88, 0x47]))),
        (R::SourceMac, access(|f| f[6..12].fill(0xff))),
        (R::Source, (ACCESS, plain(&Ip::udp(BLUE_POD, GREEN_POD, (1, 2), b"not from here")))),
        (R::IpHeader, access(ihl)),
        (R::IpChecksum, access(|f| f[24] ^= 1)),
        (R::OuterIpHeader, outer_bytes(0, &[0x65])),
        (R::OuterIpChecksum, (UNDERLAY, [&frame[..24], &[frame[24] ^ 1], &frame[25..]].concat())),
        (R::OuterFragment, blue(|v| v.outer.flags_offset = 0x2000)),
        (R::OuterNotUdp, outer_bytes(9, &[6])),
        (R::OuterUdpLength, outer_bytes(24, &[0, 7])),
        (R::OuterUdpChecksum, outer_bytes(26, &[0x12, 0x34])),
        (R::OuterMartian, blue(|v| v.outer.src = [127, 0, 0, 1])),
        (R::OuterMartian, blue(|v| v.outer.src = GREEN_VTEP)),
        (R::OuterMartian, blue(|v| (v.outer.src, v.vni) = ([224, 0, 0, 1], 9))),
        (R::OuterMartian, blue(|v| (v.outer.src, v.vni) = (GREEN_VTEP, 9))),
        (R::NotOurVtep, blue(|v| v.udp_port = 8473)),
        (R::VxlanShort, outer_bytes(24, &[0, 8])),
        (R::VxlanShort, outer_bytes(24, &[0, 15])),
        (R::VxlanFlags, blue(|v| v.flags = 0)),
        (R::VxlanExtension, outer_bytes(28, &[0x88, 0, 0, 7])),
        (R::UnknownVni, blue(|v| v.vni = 7)),
        (R::UnknownPeer, blue(|v| v.outer.src = [192, 0, 2, 200])),
        (R::InnerShort, blue(|v| v.inner.truncate(13))),
        (R::InnerSourceMac, blue(|v| v.inner[6..12].fill(0))),
        (R::InnerDestinationMac, blue(|v| v.inner[..6].fill(0xff))),
        (R::InnerVlan, blue(|v| v.inner.splice(12..12, [0x81, 0, 0x20, 7]).for_each(drop))),
        (R::InnerVlan, blue(|v| v.inner[12..14].copy_from_slice(&[0x88, 0xa8]))),
        (R::InnerNotIp, blue(|v| v.inner[12..14].copy_from_slice(&[0x88, 0x47]))),
        (R::Neighbour, blue(|v| v.inner[12..14].copy_from_slice(&[8, 6]))),
        (R::InnerIpHeader, blue(|v| v.inner[14] = 0x44)),
        (R::InnerIpChecksum, blue(|v| v.inner[24] ^= 1)),
        (R::InnerSource, inner(|ip| ip.src = BLUE_POD_2)),
        (R::Congestion, blue(|v| v.outer.tos = 3)),
        (R::Martian, inner(|ip| ip.dst = [224, 0, 0, 1])),
        (R::NoRoute, inner(|ip| ip.dst = NOWHERE)),
        (R::BackToSender, inner(|ip| ip.dst = [10, 244, 1, 9])),
        (R::NoNeighbour, inner(|ip| ip.dst = DEAD_POD)),
        (R::NotForUs, inner(|ip| ip.dst = BLUE_ADDRESS)),
        (
            R::TooBig,
            inner(|ip| {
                ip.flags_offset = 0;
                ip.payload = vec![0; usize::from(INNER_MTU) - 19];
            }),
        ),
    ]
}

#[test]
fn every_drop_reason_has_a_case() {
    let mut seen = BTreeMap::new();
    for (reason, (port, frame)) in cases() {
        let mut g = Gateway::new();
        assert_eq!(g.receive(port, &[&frame]).reason(), reason, "{}", reason.sentence());
        seen.insert(reason, ());
    }
    for reason in
        [ttl_expired(), no_headroom(), no_frame(), not_imported(), tx_ring_full(), zero_checksum(), vlan_tags()]
    {
        seen.insert(reason, ());
    }
    let missing: Vec<_> = R::ALL.into_iter().filter(|r| !seen.contains_key(r)).collect();
    assert!(missing.is_empty(), "no case provokes {missing:?}");
}

/// There is a route, which is not for everybody.
fn not_imported() -> R {
    let mut g = Gateway::new();
    g.tables.set_imports(&[Imports::All, Imports::Only(Rules { natives: true, ..Rules::default() })]);
    g.publish();
    let native = from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), b"imported"));
    assert_eq!(g.receive(UNDERLAY, &[&native.frame()]).only().0, ACCESS);
    let elsewhere = plain(&Ip::udp(NATIVE, GREEN_POD, (1, 2), b"from the access side"));
    assert_eq!(g.receive(ACCESS, &[&elsewhere]).only().0, UNDERLAY);
    let (port, frame) = inner(|_| ());
    assert_eq!(g.receive(port, &[&frame]).reason(), R::NotImported);
    g.receive(port, &[&frame]).reason()
}

/// Over IPv6, and agreed upon with nobody.
fn zero_checksum() -> R {
    let mut outer =
        six::red_outer(&six::red_inner(0x0800, &Ip::udp(six::RED_POD, BLUE_POD, (1, 2), b"payload").bytes()));
    outer.payload[6..8].fill(0);
    six::gateway_6().receive(UNDERLAY, &[&six::on_underlay(&outer)]).reason()
}

/// The program steers no such frame, unless the interfaces change meanwhile.
fn vlan_tags() -> R {
    let mut g = Gateway::new();
    let tag = Tag::new(eth::VLAN, 100).unwrap();
    g.worker.set_tags(ACCESS, VlanTags::new(&[tag]).unwrap());
    g.receive(ACCESS, &[&plain(&native_to_pod())]).reason()
}

/// Time Exceeded is sent as long as the rate allows; then the packet is a plain drop.
fn ttl_expired() -> R {
    let mut g = Gateway::new();
    let (port, frame) = inner(|ip| ip.ttl = 1);
    for _ in 0..Limiter::BURST {
        assert_eq!(g.receive(port, &[&frame]).replied, 1);
    }
    assert!(g.clock.0.get() < Limiter::INTERVAL, "the test's clock is too fast");
    let reason = g.receive(port, &[&frame]).reason();
    g.clock.0.set(Tick(10 * Limiter::INTERVAL).0);
    assert_eq!(g.receive(port, &[&frame]).replied, 1);
    assert_eq!(g.receive(port, &[&frame]).replied, 1, "the bucket fills again");
    reason
}

/// Access to overlay adds 50 bytes in front: a chunk that has fewer is the port's fault, but no reason to panic.
fn no_headroom() -> R {
    let mut g = Gateway::new();
    let frame = plain(&native_to_pod());
    let (pool, wire) = g.worker.wire(ACCESS);
    assert!(wire.inject_at(pool, 30, &frame));
    g.worker.turn();
    g.worker.turn();
    g.settle(1).reason()
}

/// A packet is to be cut, and all memory is in use elsewhere.
fn no_frame() -> R {
    let fit = selvedge::tables::Fit { fragment: true, ..Default::default() };
    let mut g = Gateway::with(six::fitted_tables(false, false, fit), rings());
    let whole = Ip { flags_offset: 0, ..Ip::udp(NATIVE, BLUE_POD, (1, 2), &[7; 1440]) };
    let (pool, wire) = g.worker.wire(ACCESS);
    assert!(wire.inject(pool, &plain(&whole)));
    let mut elsewhere: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    pool.free(elsewhere.pop().unwrap());
    g.worker.turn();
    let (pool, _) = g.worker.wire(ACCESS);
    elsewhere.into_iter().for_each(|frame| pool.free(frame));
    g.settle(1).reason()
}

fn tx_ring_full() -> R {
    let mut g = Gateway::with(tables(), MemRings { rx: 64, tx: 4, fill: 64 });
    let (_, wire) = g.worker.wire(UNDERLAY);
    wire.stall_tx(1000);
    let frame = plain(&native_to_pod());
    let outcome = g.receive(ACCESS, &[&frame[..]; 6]);
    assert_eq!((&outcome.drops[..], outcome.journeys), (&[(R::TxRingFull, 2)][..], [4, 0, 0, 0]));
    R::TxRingFull
}

#[test]
fn a_source_check_that_is_off_lets_foreign_sources_pass() {
    let mut overlays = overlays();
    overlays[0].source_check = false;
    let mut t = tables();
    t.reset(overlays.clone());
    t.set_peer(selvedge::tables::PeerId(0), Some(peer(&overlays, 0, BLUE_NODE, true)));
    t.set_peer(selvedge::tables::PeerId(1), Some(peer(&overlays, 1, GREEN_NODE, true)));
    t.set_route("10.245.1.0/24".parse().unwrap(), selvedge::tables::Action::Encap(selvedge::tables::PeerId(1)));
    let mut g = Gateway::with(t, rings());
    let (port, frame) = inner(|ip| ip.src = NOWHERE);
    assert_eq!(g.receive(port, &[&frame]).journeys, [0, 0, 1, 0]);
}

//! Good packets of every kind, and how they are spoilt.

use selvedge::tables::{Fit, PortId, TablesWriter};

use crate::dice::Dice;
use crate::support::frames::{Ip, Vxlan, arp_request, checksum, ethernet};
use crate::support::frames6::Ip6;
use crate::support::six::*;
use crate::support::*;

/// Good packets of every kind, to be spoilt.
pub(crate) fn seeds() -> Vec<(PortId, Vec<u8>)> {
    let inner = [
        Ip::udp(BLUE_POD, GREEN_POD, (1000, 2000), b"payload"),
        Ip::tcp(BLUE_POD, NATIVE, (1000, 22), b"payload"),
        Ip::echo(BLUE_POD, BLUE_ADDRESS, b"ping"),
        Ip::udp(BLUE_POD, NATIVE, (1, 2), &[7; 1400]),
    ];
    let mut seeds: Vec<_> = inner.iter().map(|ip| (UNDERLAY, from_blue(ip).frame())).collect();
    seeds.extend(inner.iter().map(|ip| (UNDERLAY, from_blue(ip).frame_with_checksum())));
    // what may be made to fit
    let free = |from, to| Ip { flags_offset: 0, ..Ip::udp(from, to, (1, 2), &[7; 1423]) };
    for ip in
        [Ip::syn(BLUE_POD, NATIVE, 1460, true), Ip::syn(BLUE_POD, GREEN_POD, 1460, false), free(BLUE_POD, GREEN_POD)]
    {
        seeds.push((UNDERLAY, from_blue(&ip).frame()));
    }
    for ip in [Ip::syn(NATIVE, BLUE_POD, 1460, false), Ip::syn(NATIVE, GREEN_POD, 900, true), free(NATIVE, BLUE_POD)] {
        seeds.push((ACCESS, plain(&ip)));
    }
    for dst in [BLUE_POD, GREEN_POD, BLUE_ADDRESS] {
        seeds.push((ACCESS, plain(&Ip::udp(NATIVE, dst, (5, 6), b"payload"))));
        seeds.push((ACCESS, plain(&Ip::tcp(NATIVE, dst, (5, 6), b"payload"))));
        seeds.push((ACCESS, plain(&Ip::echo(NATIVE, dst, &[1; 1420]))));
    }
    // what a hostile sender sends, which is refused on the way
    let outer = |src: [u8; 4], ip: &Ip| {
        let mut vxlan = from_blue(ip);
        vxlan.outer = Ip::new(src, BLUE_VTEP, 17, vec![]);
        (UNDERLAY, vxlan.frame())
    };
    let udp = |from, to| Ip::udp(from, to, (9, 9), b"payload");
    for (node, from, to) in [
        (BLUE_NODE.0, BLUE_POD, NOWHERE),
        (BLUE_NODE.0, BLUE_POD_2, NATIVE),
        (BLUE_NODE.0, NOWHERE, NATIVE),
        (GREEN_NODE.0, BLUE_POD, NATIVE),
        (BLUE_VTEP, BLUE_POD, NATIVE),
        (BLUE_NODE.0, BLUE_POD, [127, 0, 0, 1]),
        (BLUE_NODE.0, [224, 0, 0, 1], NATIVE),
    ] {
        seeds.push(outer(node, &udp(from, to)));
    }
    for (from, to) in [(BLUE_POD, GREEN_POD), (NATIVE, NOWHERE), (NOWHERE, BLUE_POD), ([127, 0, 0, 1], NOWHERE)] {
        seeds.push((ACCESS, plain(&udp(from, to))));
    }
    let mut partial = udp(NATIVE, NOWHERE);
    partial.unfinish(6);
    seeds.push((ACCESS, plain(&partial)));
    seeds.extend(seeds_6());
    seeds.extend(shared_seeds());
    seeds.extend(partial_seeds());
    seeds
}

/// Checksums that are unfinished, in every journey, with an outer checksum and without, and with padding behind the packet.
pub(crate) fn partial_seeds() -> Vec<(PortId, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (to, data) in [(NATIVE, &b"odd"[..]), (GREEN_POD, b"even"), (BLUE_ADDRESS, b"ours"), (GREEN_POD, &[7; 1400])] {
        for (make, field) in [(Ip::udp as fn(_, _, _, &_) -> Ip, 6), (Ip::tcp, 16)] {
            let whole = make(BLUE_POD, to, (1000, 2000), data);
            let mut partial = whole.clone();
            partial.unfinish(field);
            seeds.push((UNDERLAY, from_blue(&partial).frame()));
            // an outer checksum is computed over the packet as it will be
            for padding in [0, 3, 8] {
                let mut vxlan = from_blue(&whole);
                vxlan.inner.extend(vec![0; padding]);
                let mut frame = vxlan.frame_with_checksum();
                let at = 50 + 14 + 20 + field;
                frame[at..at + 2].copy_from_slice(&partial.payload[field..field + 2]);
                seeds.push((UNDERLAY, frame));
            }
            let mut plain_one = make(NATIVE, to, (1000, 2000), data);
            plain_one.unfinish(field);
            seeds.push((ACCESS, [plain(&plain_one), vec![0; data.len() % 3]].concat()));
        }
    }
    let mut syn = Ip::syn(NATIVE, BLUE_POD, 1460, true);
    syn.unfinish(16);
    let mut old = Ip { ttl: 1, ..Ip::tcp(NATIVE, BLUE_POD, (1, 2), b"old") };
    old.unfinish(16);
    seeds.extend([&syn, &old].map(|ip| (ACCESS, plain(ip))));
    for (make, field) in [(Ip6::udp as fn(_, _, _, &_) -> Ip6, 6), (Ip6::tcp, 16)] {
        for (to, data) in [(RED_POD_6, &b"payload"[..]), (BLUE_POD_6, &[7; 1300])] {
            let mut partial = make(NATIVE_6, to, (1, 2), data);
            partial.unfinish(field);
            seeds.push((ACCESS, plain_6(&partial)));
            partial = make(BLUE_POD_6, RED_POD_6, (1, 2), data);
            partial.unfinish(field);
            seeds.push((UNDERLAY, from_blue_6(&partial).frame()));
        }
        let whole = make(RED_POD_6, NATIVE_6, (1, 2), &[7; 1301]);
        let mut partial = whole.clone();
        partial.unfinish(field);
        let mut frame = on_underlay(&red_outer(&red_inner(0x86dd, &whole.bytes())));
        let at = frame.len() - partial.payload.len() + field;
        frame[at..at + 2].copy_from_slice(&partial.payload[field..field + 2]);
        seeds.push((UNDERLAY, frame));
    }
    seeds
}

/// Long frames of all journeys in all pairs, with transport checksums that are finished and that are not.
pub(crate) fn long_seeds() -> Vec<(PortId, Vec<u8>)> {
    let (mut seeds, ports, data) = (Vec::new(), (1, 2), [7; 1200]);
    for (tcp, field) in [(false, 6), (true, 16)] {
        let four = |from, to| {
            let whole = if tcp { Ip::tcp(from, to, ports, &data) } else { Ip::udp(from, to, ports, &data) };
            let mut partial = whole.clone();
            partial.unfinish(field);
            (0x0800, [whole.bytes(), partial.bytes()])
        };
        let six = |from, to| {
            let whole = if tcp { Ip6::tcp(from, to, ports, &data) } else { Ip6::udp(from, to, ports, &data) };
            let mut partial = whole.clone();
            partial.unfinish(field);
            (0x86dd, [whole.bytes(), partial.bytes()])
        };
        let from = |four_from, six_from, to: &[[u8; 4]], to_6: &[[u8; 16]]| {
            let fours = to.iter().map(|to| four(four_from, *to));
            fours.chain(to_6.iter().map(|to| six(six_from, *to))).collect::<Vec<_>>()
        };
        for (kind, both) in from(NATIVE, NATIVE_6, &[BLUE_POD, RED_POD], &[BLUE_POD_6, RED_POD_6]) {
            seeds.extend(both.map(|ip| (ACCESS, ethernet(PORT_MACS[1], HOST, kind, &ip))));
        }
        for (kind, both) in from(BLUE_POD, BLUE_POD_6, &[NATIVE, GREEN_POD, RED_POD], &[NATIVE_6, RED_POD_6]) {
            let vxlan = |ip: Vec<u8>| blue_frame(ethernet(BLUE_MAC, BLUE_NODE.1, kind, &ip)).frame();
            seeds.extend(both.map(|ip| (UNDERLAY, vxlan(ip))));
        }
        for (kind, [whole, partial]) in from(RED_POD, RED_POD_6, &[NATIVE, BLUE_POD], &[NATIVE_6, BLUE_POD_6]) {
            let frame = on_underlay(&red_outer(&red_inner(kind, &whole)));
            // an outer checksum is computed over the packet as it will be
            let as_it_is = [&frame[..frame.len() - partial.len()], &partial].concat();
            seeds.extend([frame, as_it_is].map(|frame| (UNDERLAY, frame)));
        }
    }
    seeds
}

/// From and to what several have.
pub(crate) fn shared_seeds() -> Vec<(PortId, Vec<u8>)> {
    let from_node_2 = |ip: &Ip| {
        let blue = from_blue(ip);
        Vxlan { outer: Ip::new(BLUE_NODE_2.0, BLUE_VTEP, 17, vec![]), ..blue }.frame()
    };
    let mut seeds = Vec::new();
    for ports in [(1, 2), (3, 4), (5, 6), (7, 8)] {
        let udp = |from, to| Ip::udp(from, to, ports, b"payload");
        seeds.push((ACCESS, plain(&udp(NATIVE, SHARED_POD))));
        seeds.push((ACCESS, plain(&Ip::tcp(SHARED_NATIVE, SHARED_POD, ports, b"payload"))));
        seeds.push((UNDERLAY, from_node_2(&udp(BLUE_POD_2, SHARED_POD))));
        seeds.push((UNDERLAY, from_blue(&udp(SHARED_POD, SHARED_NATIVE)).frame_with_checksum()));
    }
    let mut partial = Ip::udp(NATIVE, SHARED_POD, (1, 2), b"payload");
    partial.unfinish(6);
    let free = Ip { flags_offset: 0, ..Ip::udp(NATIVE, SHARED_POD, (1, 2), &[7; 1423]) };
    let old = Ip { ttl: 1, ..Ip::udp(NATIVE, SHARED_POD, (1, 2), b"old") };
    let spoofed = Ip::udp(SHARED_POD, NATIVE, (1, 2), b"not from here");
    for ip in [&partial, &free, &old, &spoofed, &Ip::syn(NATIVE, SHARED_POD, 1460, false)] {
        seeds.push((ACCESS, plain(ip)));
    }
    // to what not everybody may reach
    let barred = [10, 246, 1, 6];
    for ip in [Ip::udp(NATIVE, barred, (1, 2), b"barred"), Ip::udp(barred, BLUE_POD, (1, 2), b"not from here")] {
        seeds.push((ACCESS, plain(&ip)));
    }
    seeds.push((UNDERLAY, from_blue(&Ip::udp(BLUE_POD, barred, (1, 2), b"barred")).frame()));
    // back to one of those who have it, and from one who has not
    for ip in [&Ip::udp(BLUE_POD, SHARED_POD, (1, 2), b"back"), &Ip::tcp(SHARED_POD, GREEN_POD, (1, 2), b"on")] {
        seeds.extend([(UNDERLAY, from_blue(ip).frame()), (UNDERLAY, from_node_2(ip))]);
    }
    seeds
}

/// All that the seeds are about.
pub(crate) fn shared_tables(fit: Fit) -> TablesWriter {
    let mut tables = fitted_tables(false, true, fit);
    share(&mut tables);
    tables.set_imports(&borders());
    tables
}

/// The same where IPv6 is inside, outside or both.
pub(crate) fn seeds_6() -> Vec<(PortId, Vec<u8>)> {
    let inside = |src, own, dst| {
        let options = Ip6::tcp(src, dst, (1000, 22), b"payload").behind(60, &[6, 0, 1, 4, 0, 0, 0, 0]);
        let fragment = Ip6::udp(src, dst, (1000, 22), b"payload").behind(44, &[17, 0, 0, 1, 0, 0, 0, 1]);
        let old = Ip6 { hop_limit: 1, ..Ip6::udp(src, dst, (5, 6), b"payload") };
        let echo = Ip6::echo(src, own, b"ping");
        [options, fragment, old, echo, Ip6::solicitation(src, own, HOST), Ip6::udp(src, dst, (1, 2), &[7; 1400])]
    };
    let plain_ones = inside(NATIVE_6, BLUE_ADDRESS_6, RED_POD_6).map(|ip| (ACCESS, plain_6(&ip)));
    let over_four = inside(BLUE_POD_6, BLUE_ADDRESS_6, RED_POD_6).map(|ip| (UNDERLAY, from_blue_6(&ip).frame()));
    let red = |ethertype, packet: &[u8]| (UNDERLAY, on_underlay(&red_outer(&red_inner(ethertype, packet))));
    let over_six = inside(RED_POD_6, RED_ADDRESS_6, NATIVE_6).map(|ip| red(0x86dd, &ip.bytes()));
    let four_over_six = red(0x0800, &Ip::tcp(RED_POD, BLUE_POD, (1, 2), b"payload").bytes());
    let mut plainest = vec![
        (ACCESS, plain(&Ip::tcp(NATIVE, RED_POD, (1, 2), b"payload"))),
        (ACCESS, plain_6(&Ip6::tcp(NATIVE_6, BLUE_POD_6, (1, 2), b"payload"))),
        (UNDERLAY, from_blue(&Ip::udp(BLUE_POD, RED_POD, (1, 2), b"payload")).frame()),
        (UNDERLAY, from_blue_6(&Ip6::udp(BLUE_POD_6, NATIVE_6, (1, 2), b"payload")).frame()),
        red(0x0800, &Ip::udp(RED_POD, NATIVE, (1, 2), &[7; 1200]).bytes()),
        red(0x86dd, &Ip6::udp(RED_POD_6, BLUE_POD_6, (1, 2), b"payload").bytes()),
    ];
    // without the outer checksum that was agreed upon, or was not
    let mut unchecked = plainest[5].1.clone();
    unchecked[14 + 40 + 6..][..2].fill(0);
    plainest.push((UNDERLAY, unchecked));
    let arp = blue_frame(ethernet([0xff; 6], BLUE_NODE.1, 0x0806, &arp_request(BLUE_POD, BLUE_ADDRESS)));
    let all = plain_ones
        .into_iter()
        .chain(plainest)
        .chain(over_four)
        .chain(over_six)
        .chain([four_over_six, (UNDERLAY, arp.frame())]);
    all.collect()
}

/// Flips, overwrites, inserts, cuts; most often in the headers. Half of the time the IP checksums are made right
/// again, so that mutations get past them.
pub(crate) fn mutate(frame: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..1 + dice.below(3) {
        let at = if dice.below(4) > 0 { dice.below(frame.len().min(110)) } else { dice.below(frame.len()) };
        match dice.below(8) {
            0..=2 if !frame.is_empty() => frame[at] ^= 1 << dice.below(8),
            3..=4 if !frame.is_empty() => frame[at] = dice.roll() as u8,
            5 => frame.truncate(at),
            6 if frame.len() < 1600 => frame.insert(at, dice.roll() as u8),
            _ if !frame.is_empty() => frame[at] = [0, 0xff, 0x7f, 0x80][dice.below(4)],
            _ => frame.push(0),
        }
    }
    if dice.below(2) == 0 {
        mend(frame, 14);
        mend(frame, 64);
    }
}

/// Makes the checksum of an IP header without options at `at` right.
pub(crate) fn mend(frame: &mut [u8], at: usize) {
    if let Some(header) = frame.get_mut(at..at + 20) {
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum);
    }
}

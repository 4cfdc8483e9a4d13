//! What may be wrong, or merely odd, with a packet: one mutation a field.

use std::net::IpAddr;

use super::dice::Dice;
use super::draft::{Checksum, Draft, Header, MF};

type Mutation = fn(&mut Draft, &mut Dice);

/// All of them, by name.
pub(crate) const MUTATIONS: [(&str, Mutation); 32] = [
    ("VXLAN flags", |d, dice| d.vxlan[0] = dice.roll() as u8),
    ("I flag clear", |d, _| d.vxlan[0] &= !0x08),
    ("a reserved bit", |d, dice| {
        let bit = dice.pick(&RESERVED);
        d.vxlan[bit / 8] ^= 0x80 >> (bit % 8);
    }),
    ("VNI", |d, dice| d.vxlan[4 + dice.below(3)] ^= 1 << dice.below(8)),
    ("outer source", |d, dice| d.outer.src = dice.pick(&sources(&d.outer))),
    ("outer TOS", |d, dice| d.outer.tos = dice.roll() as u8),
    ("outer TTL", |d, dice| d.outer.ttl = dice.roll() as u8),
    ("outer options", |d, dice| {
        // the gateway leaves IPv6 packets with extension headers to its host's kernel: no VTEP sends any
        if d.outer.src.is_ipv4() {
            d.outer.options = options(&d.outer, dice);
        }
    }),
    ("outer length", |d, dice| d.outer.length_off = off(dice)),
    ("outer header checksum", |d, dice| d.outer.checksum = Checksum::Off(1 << dice.below(16))),
    ("outer version", |d, dice| d.outer.version = Some(dice.below(16) as u8)),
    ("outer header length", |d, dice| d.outer.words = Some(dice.below(5) as u8)),
    ("outer fragment bits", |d, dice| d.outer.fragment = fragment(dice)),
    ("outer in two pieces", |d, dice| d.split = Some(1 + dice.below(16))),
    ("UDP source port", |d, dice| d.ports.0 = dice.roll() as u16),
    ("UDP length", |d, dice| d.udp_length_off = off(dice)),
    ("UDP checksum zero", |d, _| d.udp_checksum = Checksum::Zero),
    ("UDP checksum right", |d, _| d.udp_checksum = Checksum::Right),
    ("UDP checksum wrong", |d, dice| d.udp_checksum = Checksum::Off(1 << dice.below(16))),
    ("padding", |d, dice| d.padding = dice.below(64)),
    ("cut anywhere", |d, dice| d.cut = Some(15 + dice.below(d.frames()[0].len() - 15))),
    ("inner frame cut", |d, dice| d.inner_cut = Some(dice.below(100))),
    ("inner padding", |d, dice| d.inner_padding = dice.below(64)),
    ("inner destination MAC", |d, dice| d.inner_link.0 = mac(dice, d.inner_link.0)),
    ("inner source MAC", |d, dice| d.inner_link.1 = mac(dice, d.inner_link.0)),
    ("inner tags", |d, dice| d.tags = tags(dice)),
    ("inner ethertype", |d, dice| d.ethertype = Some(dice.pick(&[0x0800, 0x86dd, 0x0806, 0x8100, 0x05dc, 0x88cc]))),
    ("inner TOS", |d, dice| d.inner.tos = dice.roll() as u8),
    ("inner TTL", |d, dice| d.inner.ttl = dice.pick(&[0, 1, 2, 3, 127, 128, 255])),
    ("inner header", |d, dice| match dice.below(5) {
        0 => d.inner.version = Some(dice.below(16) as u8),
        1 => d.inner.words = Some(dice.below(5) as u8),
        2 => d.inner.checksum = Checksum::Off(1 << dice.below(16)),
        3 => d.inner.length_off = off(dice),
        _ => d.inner.options = options(&d.inner, dice),
    }),
    ("inner fragment bits", |d, dice| d.inner.fragment = fragment(dice)),
    ("inner protocol", |d, dice| d.inner.protocol = dice.pick(&[1, 2, 47, 50, 89, 132, 253])),
];

/// The bits that RFC 7348 §5 calls reserved: all of the header but the I flag and the VNI.
const RESERVED: [usize; 39] = {
    let (mut bits, mut n, mut bit) = ([0; 39], 0, 0);
    while bit < 64 {
        if bit != 4 && (bit < 32 || bit >= 56) {
            bits[n] = bit;
            n += 1;
        }
        bit += 1;
    }
    bits
};

/// Peers, strangers and addresses that are nobody's.
fn sources(outer: &Header) -> Vec<IpAddr> {
    let addresses: &[&str] = match outer.src {
        IpAddr::V4(_) => {
            &["192.0.2.12", "192.0.2.21", "192.0.2.99", "203.0.113.9", "0.0.0.0", "127.0.0.1", "224.0.0.5"]
        }
        IpAddr::V6(_) => &["2001:db8::c", "2001:db8::15", "2001:db8::99", "fd00::9", "::", "::1", "ff02::1"],
    };
    addresses.iter().map(|a| a.parse().expect("an address")).chain([outer.dst]).collect()
}

/// A few bytes too many or too few, seldom very many.
fn off(dice: &mut Dice) -> i32 {
    let few = 1 + dice.below(60) as i32;
    match dice.below(8) {
        0 => dice.roll() as u16 as i32,
        1..=4 => -few,
        _ => few,
    }
}

/// Options that say nothing: no-operation, end of list, an experimental one.
fn options(header: &Header, dice: &mut Dice) -> Vec<u8> {
    let units = 1 + dice.below(4);
    if header.src.is_ipv4() {
        let said: [u8; 4] = dice.pick(&[[1, 1, 1, 1], [0x5e, 4, 9, 9]]);
        // RFC 791: behind the end of the list there are zeroes
        let end: [u8; 4] = dice.pick(&[[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]]);
        return [said.repeat(units - 1), end.to_vec()].concat();
    }
    // RFC 8200 §4.2: PadN to a multiple of eight bytes
    [vec![1, 4, 0, 0, 0, 0], [1, 6, 0, 0, 0, 0, 0, 0].repeat(units - 1)].concat()
}

fn fragment(dice: &mut Dice) -> u16 {
    match dice.below(3) {
        0 => MF,
        1 => 1 + dice.below(0x1fff) as u16,
        _ => MF | (1 + dice.below(100) as u16),
    }
}

fn mac(dice: &mut Dice, gateway: [u8; 6]) -> [u8; 6] {
    let others = [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0x99], gateway];
    dice.pick(&others)
}

/// A priority tag, or a VLAN's, or that of a VLAN behind either. IEEE 802.1Q has no priority tag behind another.
fn tags(dice: &mut Dice) -> Vec<(u16, u16)> {
    const PRIORITY: [u16; 3] = [0, 0x2000, 0xe000];
    const VLAN: [u16; 3] = [5, 0x0fff, 0xe005];
    let first = dice.pick(&[PRIORITY, VLAN].concat());
    let second = dice.one_in(2).then(|| dice.pick(&VLAN));
    [Some(first), second].into_iter().flatten().map(|control| (0x8100, control)).collect()
}

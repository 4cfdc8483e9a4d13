//! Tagged ports: the program takes what has the port's tags, and passes everything else to the kernel.

use selvedge::port::SteerReason::{PassOtherVlan, PassTruncated, RedirectedUnderlay};
use selvedge::wire::vlan::Tag;
use selvedge::wire::{VlanTags, eth};

use super::reasons::{Case, Steered, ipv4_cases, ipv6_cases, neighbour_cases, on_a_cable};

const CUSTOMER: [u8; 2] = eth::VLAN.to_be_bytes();
const SERVICE: [u8; 2] = eth::QINQ.to_be_bytes();

/// A tag with priority bits.
fn tag([a, b]: [u8; 2], priority: u8, vid: u16) -> [u8; 4] {
    let [c, d] = vid.to_be_bytes();
    [a, b, c | priority, d]
}

fn behind(tags: &[[u8; 4]], frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

fn of_port(tags: &[(u16, u16)]) -> VlanTags {
    let tags: Vec<_> = tags.iter().map(|(tpid, vid)| Tag::new(*tpid, *vid).unwrap()).collect();
    VlanTags::new(&tags).unwrap()
}

/// Whatever the program tells apart without tags.
fn cases() -> impl Iterator<Item = Case> {
    let neighbours = neighbour_cases().into_iter().map(|(case, _)| case);
    ipv4_cases().into_iter().chain(ipv6_cases()).chain(neighbours)
}

/// Behind the tags of the port all is told apart as it is without; without them, or with others, nothing is taken.
fn all_of(port: &mut Steered, own: &[[u8; 4]]) {
    for (what, frame, reason) in cases() {
        port.try_one(&(what, frame.clone(), PassOtherVlan));
        let reason = if frame[12..14] == CUSTOMER { PassOtherVlan } else { reason };
        port.try_one(&(what, behind(own, &frame), reason));
    }
}

fn whole() -> Vec<u8> {
    ipv4_cases().swap_remove(0).1
}

#[test]
fn a_port_with_one_tag_takes_what_has_it() {
    on_a_cable(|| {
        let mut port = Steered::tagged(true, of_port(&[(eth::VLAN, 0x123)]));
        let own = tag(CUSTOMER, 0, 0x123);
        all_of(&mut port, &[own]);
        let mut other = |what, tags: &[[u8; 4]], reason| port.try_one(&(what, behind(tags, &whole()), reason));
        other("the highest priority", &[tag(CUSTOMER, 0xe0, 0x123)], RedirectedUnderlay);
        other("drop eligible", &[tag(CUSTOMER, 0x10, 0x123)], RedirectedUnderlay);
        other("another VLAN", &[tag(CUSTOMER, 0, 0x122)], PassOtherVlan);
        other("another VLAN in the upper bits", &[tag(CUSTOMER, 0, 0x023)], PassOtherVlan);
        other("priority alone", &[tag(CUSTOMER, 0xe0, 0)], PassOtherVlan);
        other("another protocol", &[tag(SERVICE, 0, 0x123)], PassOtherVlan);
        other("the tag twice", &[own, own], PassOtherVlan);
        other("within a service VLAN", &[tag(SERVICE, 0, 7), own], PassOtherVlan);
        port.try_one(&("cut behind the tag", behind(&[own], &whole())[..17].to_vec(), PassTruncated));
        port.try_one(&("cut in the tag", behind(&[own], &whole())[..15].to_vec(), PassTruncated));
    });
}

#[test]
fn a_port_with_two_tags_takes_what_has_both() {
    on_a_cable(|| {
        let mut port = Steered::tagged(true, of_port(&[(eth::QINQ, 100), (eth::VLAN, 7)]));
        let (outer, inner) = (tag(SERVICE, 0, 100), tag(CUSTOMER, 0, 7));
        all_of(&mut port, &[outer, inner]);
        let mut other = |what, tags: &[[u8; 4]], reason| port.try_one(&(what, behind(tags, &whole()), reason));
        other("priorities", &[tag(SERVICE, 0x70, 100), tag(CUSTOMER, 0xf0, 7)], RedirectedUnderlay);
        other("the outer one alone", &[outer], PassOtherVlan);
        other("the inner one alone", &[inner], PassOtherVlan);
        other("in the other order", &[inner, outer], PassOtherVlan);
        other("another inner one", &[outer, tag(CUSTOMER, 0, 8)], PassOtherVlan);
        other("another outer one", &[tag(SERVICE, 0, 101), inner], PassOtherVlan);
        other("one more", &[outer, inner, inner], PassOtherVlan);
        port.try_one(&("cut in the second", behind(&[outer, inner], &whole())[..19].to_vec(), PassTruncated));
    });
}

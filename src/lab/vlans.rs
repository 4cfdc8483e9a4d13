//! Cables that carry VLANs: addresses are on VLAN devices instead of the cable's ends.

use std::io;
use std::net::IpAddr;

use rtnetlink::LinkVlan;
use rtnetlink::packet_route::link::{InfoVlan, VlanProtocol};

use super::{Lab, LabError, Namespace};
use crate::wire::vlan::Tag;
use crate::wire::{Mac, eth};

/// The VLAN of the underlay in a network [of VLANs](super::Shape::vlans).
pub const UNDERLAY_VLAN: u16 = 100;
/// The VLANs of the access network there, the outer one first (QinQ).
pub const ACCESS_VLANS: [u16; 2] = [300, 7];

/// The tags of the underlay and of the access network, the outermost first.
pub(super) fn tags() -> [Vec<Tag>; 2] {
    let tag = |tpid, vid| Tag::new(tpid, vid).unwrap_or_else(|| unreachable!("the constants are VLANs"));
    let [outer, inner] = ACCESS_VLANS;
    [vec![tag(eth::VLAN, UNDERLAY_VLAN)], vec![tag(eth::QINQ, outer), tag(eth::VLAN, inner)]]
}

/// What the VLAN device of these tags on `link` is called: `ac0.300.7`.
pub(super) fn device(link: &str, tags: &[Tag]) -> String {
    tags.iter().fold(link.to_owned(), |name, tag| format!("{name}.{}", tag.vid()))
}

/// Puts VLAN devices of `tags` on `link`, one on the other, and the addresses on the last.
pub(super) fn put(
    ns: &Namespace,
    link: &str,
    tags: &[Tag],
    mtu: u16,
    addresses: &[(IpAddr, u8)],
) -> Result<(), LabError> {
    let mut below = link.to_owned();
    for tag in tags {
        let name = device(&below, &[*tag]);
        ns.vlan(&name, &below, *tag)?;
        below = name;
    }
    ns.mtu(&below, mtu)?;
    addresses.iter().try_for_each(|(address, len)| ns.address(&below, *address, *len))
}

impl Namespace {
    /// Makes a VLAN device on `link`, up, with its MTU and its MAC address.
    pub fn vlan(&self, name: &str, link: &str, tag: Tag) -> Result<(), LabError> {
        let protocol = match tag.tpid() {
            eth::QINQ => VlanProtocol::Ieee8021Ad,
            _ => VlanProtocol::Ieee8021Q,
        };
        let message = LinkVlan::new(name, self.index(link)?, tag.vid());
        let message = message.append_info_data(InfoVlan::Protocol(protocol)).up().build();
        let made = self.netlink(async |handle| handle.link().add(message).execute().await);
        made.map_err(|e| LabError::new(format!("adding {name} ({tag}) to {link} in {}", self.name()), e.into_io()))
    }
}

impl Lab {
    /// Whether this kernel has VLAN devices (`CONFIG_VLAN_8021Q`).
    pub fn has_vlans(&self) -> Result<bool, LabError> {
        let ns = self.namespace("vlans")?;
        let [a, b] = ["v0", "v1"].map(|name| super::End::new(&ns, name).mac(Mac([2, 0, 0, 0, 0, 1])));
        self.veth(&a, &b)?;
        let [underlay, _] = tags();
        match underlay.iter().try_for_each(|tag| ns.vlan("v0.1", "v0", *tag)) {
            Err(e) if e.io().kind() == io::ErrorKind::Unsupported => Ok(false),
            made => made.map(|()| true),
        }
    }
}

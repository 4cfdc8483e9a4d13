//! What an interface is a VLAN of, by rtnetlink (linux/if_link.h).

use std::io;

use super::netlink::{Request, attribute, open};

const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;

/// What the kernel calls such an interface.
const KIND: &[u8] = b"vlan";

/// An interface of the kernel's that has the frames with one VLAN tag of another interface, without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VlanDevice {
    /// Index of the other interface; `None` when that is in another network namespace.
    pub parent: Option<u32>,
    /// The tag's protocol: 0x8100 (IEEE 802.1Q) or 0x88a8 (IEEE 802.1ad).
    pub tpid: u16,
    /// The VLAN's identifier.
    pub vid: u16,
}

/// What the interface `index` is a VLAN of; `None` when it is no VLAN device.
///
/// # Errors
/// ENODEV when there is no such interface; what the socket said otherwise.
pub fn vlan_device(index: u32) -> io::Result<Option<VlanDevice>> {
    // struct ifinfomsg: family, type, index, flags, change
    let mut header = [0; size_of::<libc::ifinfomsg>()];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let request = Request { kind: libc::RTM_GETLINK, header: &header, attribute: None };
    Ok(read(&request.ask(&open(None)?)?))
}

/// Reads the attributes of a link.
fn read(link: &[u8]) -> Option<VlanDevice> {
    let info = attribute(link, IFLA_LINKINFO)?;
    let kind = attribute(info, IFLA_INFO_KIND)?;
    if kind.strip_suffix(b"\0").unwrap_or(kind) != KIND {
        return None;
    }
    let data = attribute(info, IFLA_INFO_DATA)?;
    let number = |wanted| attribute(data, wanted).and_then(|v| v.first_chunk().copied());
    let parent = attribute(link, IFLA_LINK).and_then(|v| v.first_chunk()).map(|v| u32::from_ne_bytes(*v));
    Some(VlanDevice {
        parent: parent.filter(|_| attribute(link, IFLA_LINK_NETNSID).is_none()),
        tpid: number(IFLA_VLAN_PROTOCOL).map(u16::from_be_bytes)?,
        vid: number(IFLA_VLAN_ID).map(u16::from_ne_bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [&(4 + value.len() as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The attributes of `eth0.100@eth0`, as Linux lays them (less those that say other things).
    fn link(kind: &[u8], elsewhere: bool) -> Vec<u8> {
        let data = [laid(IFLA_VLAN_PROTOCOL, &[0x88, 0xa8]), laid(IFLA_VLAN_ID, &100u16.to_ne_bytes())].concat();
        let info = [laid(IFLA_INFO_KIND, kind), laid(IFLA_INFO_DATA, &data)].concat();
        let netns = if elsewhere { laid(IFLA_LINK_NETNSID, &[0; 4]) } else { vec![] };
        [laid(3, b"eth0.100\0"), laid(IFLA_LINK, &7u32.to_ne_bytes()), netns, laid(IFLA_LINKINFO, &info)].concat()
    }

    #[test]
    fn a_vlan_device_tells_its_tag_and_its_parent() {
        let device = VlanDevice { parent: Some(7), tpid: 0x88a8, vid: 100 };
        assert_eq!(read(&link(b"vlan\0", false)), Some(device));
        assert_eq!(read(&link(b"vlan\0", true)), Some(VlanDevice { parent: None, ..device }));
        assert_eq!(read(&link(b"macvlan\0", false)), None);
        let whole = link(b"vlan\0", false);
        (0..whole.len()).for_each(|n| assert_eq!(read(&whole[..n]), None));
    }

    #[test]
    fn loopback_is_none_and_what_is_not_there_is_an_error() {
        assert_eq!(vlan_device(1).unwrap(), None);
        assert_eq!(vlan_device(u32::MAX >> 1).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}

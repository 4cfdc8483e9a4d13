//! Ports that are VLANs: which device is below, and what stands in the way there.
//!
//! A VLAN device of the kernel has no native XDP and no queues of its own. It stays the home of the port's addresses,
//! routes and neighbours; the XDP program and the sockets go on the device below it, and see its frames with the tags.

use super::facts::{HostFacts, InterfaceFacts};
use super::plan::{Finding, Matched};
use crate::wire::VlanTags;
use crate::wire::vlan::{MAX_TAGS, Tag};

/// The device that the frames of an interface come and go by, and the tags they have there: the interface itself, and
/// none, unless it is a VLAN device.
///
/// # Errors
/// What stands in the way, and how to mend it.
pub(super) fn below<'a>(
    interface: &'a InterfaceFacts,
    host: &'a HostFacts,
) -> Result<(&'a InterfaceFacts, VlanTags), Finding> {
    let name = &interface.name;
    let (mut device, mut tags) = (interface, Vec::new());
    while let Some(vlan) = device.vlan {
        let Some(tag) = Tag::new(vlan.tpid, vlan.vid) else {
            let what = format!("{name}: {} has VLAN identifier {}, which means no VLAN", device.name, vlan.vid);
            return Err(Finding::error(what, "a VLAN device with an identifier from 1 to 4094"));
        };
        tags.insert(0, tag);
        let parent = host.interfaces.iter().find(|i| Some(i.ifindex) == vlan.parent);
        device = parent.ok_or_else(|| {
            let what = format!(
                "{name}: the device below {}, where the XDP program has to go, is not in this network namespace",
                device.name
            );
            Finding::error(what, "run the gateway in the namespace of that device, with the VLAN device beside it")
        })?;
        if tags.len() > MAX_TAGS {
            let what = format!("{name}: its frames have more than {MAX_TAGS} VLAN tags");
            return Err(Finding::error(
                what,
                "a VLAN device on a device that is none (802.1Q), or on such a one (QinQ)",
            ));
        }
    }
    let tags = VlanTags::new(&tags).unwrap_or_default(); // no more than it takes
    Ok((device, tags))
}

/// Says of each tagged port what it is, and of each device that several ports are on that it has room for one.
pub(super) fn devices(ports: &[Matched<'_>], findings: &mut Vec<Finding>) {
    for port in ports.iter().filter(|p| !p.tags.is_empty()) {
        let (name, tags, device) = (&port.facts.name, port.tags, &port.device.name);
        findings.push(Finding::ok(format!("{name}: {tags} on {device}; XDP goes on {device}")));
    }
    for (at, port) in ports.iter().enumerate() {
        for other in ports.iter().take(at).filter(|o| o.device.ifindex == port.device.ifindex) {
            let (a, b, device) = (&other.facts.name, &port.facts.name, &port.device.name);
            findings.push(Finding::error(
                format!(
                    "{a} and {b} are both on {device}, which has room for one XDP program, and each queue for one socket"
                ),
                "a device of its own for each port, or one underlay port that [[native]] leaves by, too",
            ));
        }
    }
}

/// Tags that the program does not see, because the device or its neighbour keeps them beside the frame.
pub(super) fn offload(port: &Matched<'_>, findings: &mut Vec<Finding>) {
    if port.tags.is_empty() {
        return;
    }
    let InterfaceFacts { name, driver, rx_vlan, .. } = port.device;
    if driver == "veth" {
        findings.push(Finding::warning(
            format!(
                "{name}: a veth pair leaves VLAN tags beside the frame, where XDP does not see them, unless the other end \
                 has VLAN offload off; whether it has cannot be told from here"
            ),
            "at the other end: ethtool -K PEER txvlan off tx-vlan-stag-hw-insert off",
        ));
    } else if *rx_vlan == Some(true) {
        findings.push(Finding::error(
            format!("{name}: takes VLAN tags off received frames (rxvlan), so that XDP does not see whose they are"),
            format!("ethtool -K {name} rxvlan off"),
        ));
    }
}

/// Devices take frames with one tag at their MTU; what another makes them longer must come out of the MTU.
pub(super) fn room(port: &Matched<'_>, findings: &mut Vec<Finding>) {
    let more = port.tags.count().saturating_sub(1) as u32 * 4;
    let InterfaceFacts { name, mtu, .. } = port.device;
    let needed = port.facts.mtu + more;
    if !port.tags.is_empty() && needed > *mtu {
        findings.push(Finding::warning(
            format!(
                "{name}: its MTU of {mtu} is too little for the frames of {}, whose MTU is {}: two tags make them {more} \
                 bytes longer than those with one that every device takes, and many drop the largest",
                port.facts.name, port.facts.mtu
            ),
            format!("ip link set dev {name} mtu {needed}"),
        ));
    }
}

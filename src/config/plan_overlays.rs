//! What can stand in the way of an overlay: MTUs, and addresses it needs.

use core::net::IpAddr;

use super::plan::{Finding, Matched};
use super::{Config, Role};
use crate::control::Target;
use crate::tables::{Overlay, PortId};
use crate::wire::vxlan::{OVERHEAD_V4, OVERHEAD_V6};

/// What every IPv6 link must carry in one piece (RFC 8200 §5).
const IPV6_MTU: u16 = 1280;

/// Which families of packets an overlay carries.
#[derive(Clone, Copy, Default)]
struct Carried {
    v4: bool,
    v6: bool,
}

impl Carried {
    /// Of every overlay.
    fn by(config: &Config) -> Vec<Self> {
        let mut all = vec![Self::default(); config.overlays.len()];
        for route in &config.routes {
            if let Target::Vtep { overlay, .. } = route.target
                && let Some(carried) = all.get_mut(usize::from(overlay.0))
            {
                *(if route.prefix.addr().is_ipv4() { &mut carried.v4 } else { &mut carried.v6 }) = true;
            }
        }
        all
    }
}

/// Overlay MTUs against the underlay, and addresses. Returns the largest inner packet of each overlay.
pub(super) fn overlays(config: &Config, ports: &[Matched<'_>], findings: &mut Vec<Finding>) -> Vec<u16> {
    let underlay: Vec<_> = ports.iter().filter(|p| p.config.role == Role::Underlay).collect();
    let least = underlay.iter().filter_map(|p| p.mtu).min();
    let mut out = Vec::with_capacity(config.overlays.len());
    for (overlay, carried) in config.overlays.iter().zip(Carried::by(config)) {
        let room = least.map(|m| m.less(overhead(overlay)));
        let asked = overlay.mtu.map(|m| m.get());
        if let (Some(room), Some(asked)) = (room, asked)
            && asked > room
        {
            findings.push(too_large(overlay, (asked, room), &underlay));
        }
        let inner = room.into_iter().chain(asked).min().unwrap_or(0);
        if (carried.v6 || overlay.addresses.v6.is_some()) && room.is_some() && inner < IPV6_MTU {
            findings.push(too_small(overlay, inner, &underlay));
        }
        findings.extend(silent(overlay, carried));
        out.push(inner);
        if !ports.is_empty() {
            local_address(overlay, ports, findings);
        }
    }
    out
}

/// Bytes an overlay adds to an inner IP packet, counted in outer IP packet.
fn overhead(overlay: &Overlay) -> u16 {
    if overlay.local.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 }
}

fn too_large(overlay: &Overlay, (asked, room): (u16, u16), underlay: &[&Matched<'_>]) -> Finding {
    let overhead = overhead(overlay);
    let needed = u32::from(asked) + u32::from(overhead);
    Finding::warning(
        format!(
            "overlay {}: inner packets of {asked} bytes are {needed} with {overhead} of encapsulation, and the \
             underlay's MTU is {}; larger ones than {room} are refused",
            overlay.name,
            room + overhead
        ),
        format!("mtu = {room} for the overlay, or {}", raise_mtu(underlay, needed)),
    )
}

/// An IPv6 host takes no MTU below 1280 from anybody (RFC 8201 §4), and goes on sending what cannot go on.
fn too_small(overlay: &Overlay, inner: u16, underlay: &[&Matched<'_>]) -> Finding {
    let needed = IPV6_MTU + overhead(overlay);
    let mut mend = Vec::new();
    if overlay.mtu.is_some_and(|m| m.get() < IPV6_MTU) {
        mend.push(format!("mtu = {IPV6_MTU} or more for the overlay"));
    }
    if underlay.iter().any(|p| p.mtu.is_some_and(|m| m.get() < needed)) {
        mend.push(raise_mtu(underlay, needed.into()));
    }
    Finding::warning(
        format!(
            "overlay {}: carries IPv6, and {inner} bytes of inner packet are less than the {IPV6_MTU} every IPv6 link must \
             carry (RFC 8200 §5): hosts make their packets no smaller, and the larger ones do not get through",
            overlay.name
        ),
        mend.join("; and "),
    )
}

fn raise_mtu(underlay: &[&Matched<'_>], mtu: u32) -> String {
    let low = underlay.iter().filter(|p| p.facts.mtu < mtu);
    let lines: Vec<_> = low.map(|p| format!("ip link set dev {} mtu {mtu}", p.facts.name)).collect();
    if lines.is_empty() { format!("mtu = {mtu} for the port") } else { lines.join("; ") }
}

/// ICMP errors towards the pods of an overlay come from the gateway's address in it, of the pods' family.
fn silent(overlay: &Overlay, carried: Carried) -> Option<Finding> {
    let addresses = overlay.addresses;
    let (lacks, which, mend) = match (addresses.v4, addresses.v6) {
        (None, None) => ("", "its pods", "address = \"…\"".to_owned()),
        (None, Some(v6)) if carried.v4 => ("IPv4 ", "its IPv4 pods", format!("address = [\"…\", \"{v6}\"]")),
        (Some(v4), None) if carried.v6 => ("IPv6 ", "its IPv6 pods", format!("address = [\"{v4}\", \"…\"]")),
        _ => return None,
    };
    Some(Finding::warning(
        format!(
            "overlay {}: the gateway has no {lacks}address in it, so {which} get no ICMP errors: packets too large to go \
             on (path MTU discovery) and those whose TTL ends (traceroute) vanish without a word",
            overlay.name
        ),
        format!("{mend} for overlay {}, with an unused {lacks}address of it", overlay.name),
    ))
}

/// ICMP errors towards plain hosts come from the access port's own address, of the hosts' family: that of what is reached there.
/// IPv6 finds a link-local one where there is no other, unless IPv6 is off.
pub(super) fn mute_ports(config: &Config, ports: &[Matched<'_>], findings: &mut Vec<Finding>) {
    let reached = |port: &Matched<'_>, v4: bool| {
        config.routes.iter().any(|route| match route.target {
            Target::Native { port: PortId(id), .. } => {
                route.prefix.addr().is_ipv4() == v4
                    && config.ports.get(usize::from(id)).is_some_and(|c| core::ptr::eq(c, port.config))
            }
            Target::Vtep { .. } => false,
        })
    };
    for port in ports {
        let name = &port.facts.name;
        for (v4, family, len) in [(true, "IPv4", 24), (false, "IPv6", 64)] {
            if reached(port, v4) && !port.facts.addresses.iter().any(|address| address.is_ipv4() == v4) {
                findings.push(Finding::warning(
                    format!(
                        "{name}: has no {family} address, so hosts there get no ICMP errors: packets too large to go on (path \
                         MTU discovery) and those whose TTL ends (traceroute) vanish without a word"
                    ),
                    format!("ip addr add ADDRESS/{len} dev {name}"),
                ));
            }
        }
    }
}

/// The kernel must answer for our VTEP address: the gateway takes only VXLAN packets.
fn local_address(overlay: &Overlay, ports: &[Matched<'_>], findings: &mut Vec<Finding>) {
    let has = |p: &&Matched<'_>| p.facts.addresses.contains(&overlay.local);
    let underlay = || ports.iter().filter(|p| p.config.role == Role::Underlay);
    if underlay().any(|p| has(&p)) {
        return;
    }
    let Some(port) = underlay().next() else { return };
    let name = &port.facts.name;
    let (asking, len) = match overlay.local {
        IpAddr::V4(_) => ("ARP", 32),
        IpAddr::V6(_) => ("neighbour solicitations", 128),
    };
    let elsewhere = ports.iter().find(has).map(|p| format!(" (it is on access port {})", p.facts.name));
    let mut mend =
        format!("ip addr add {}/{len} dev {name} (with the subnet's own length instead of {len})", overlay.local);
    if overlay.local.is_ipv6() && port.facts.mtu < IPV6_MTU.into() {
        // or there is no IPv6 on the interface at all (Linux: addrconf_notify)
        mend = format!("ip link set dev {name} mtu {}; then {mend}", IPV6_MTU + OVERHEAD_V6);
    }
    findings.push(Finding::warning(
        format!(
            "overlay {}: no underlay port has the local address {}{}, so the kernel does not answer {asking} for it and \
             peers cannot reach it",
            overlay.name,
            overlay.local,
            elsewhere.unwrap_or_default()
        ),
        mend,
    ));
}

//! Looks at the host, and changes nothing.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::io;

use super::facts::{HostFacts, InterfaceFacts};
use crate::port::host;

/// What there is to know of this host, in the calling thread's network namespace.
///
/// # Errors
/// When interfaces or cores cannot be listed.
pub fn probe() -> io::Result<HostFacts> {
    let memlock = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let (cores_online, cores_allowed) = cores()?;
    Ok(HostFacts {
        kernel: kernel(&host::kernel_release()),
        caps: host::Capabilities::effective()?,
        memlock,
        hugepages_free: u32::try_from(host::free_hugepages()).unwrap_or(u32::MAX),
        hugepages_total: hugepages_total(),
        cores_online,
        cores_allowed,
        interfaces: addresses()?.into_iter().filter_map(|(name, addresses)| interface(&name, addresses)).collect(),
    })
}

/// The first two numbers of a release such as `6.18.44-fc`; zeros where there are none.
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn hugepages_total() -> u32 {
    let read = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    read.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Cores that are online, and those of them this process may use.
fn cores() -> io::Result<(Vec<u16>, Vec<u16>)> {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let allowed: Vec<u16> = (0..1024u16).filter(|c| allowed.is_set(usize::from(*c))).collect();
    let online = ranges(&online);
    Ok(if online.is_empty() { (allowed.clone(), allowed) } else { (online, allowed) })
}

/// `0-2,5` → 0, 1, 2, 5.
fn ranges(text: &str) -> Vec<u16> {
    let part = |part: &str| -> Option<core::ops::RangeInclusive<u16>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(part).flatten().collect()
}

/// Names of all interfaces with the addresses on them.
fn addresses() -> io::Result<BTreeMap<String, Vec<IpAddr>>> {
    let mut all: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for entry in nix::ifaddrs::getifaddrs()? {
        let addresses = all.entry(entry.interface_name).or_default();
        let Some(address) = entry.address else { continue };
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        addresses.extend(v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()))));
    }
    Ok(all)
}

/// `None` for an interface that went away in between.
fn interface(name: &str, addresses: Vec<IpAddr>) -> Option<InterfaceFacts> {
    let facts = host::Interface::query(name).ok()?;
    let features = host::xdp_features(facts.index).ok();
    let count = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    Some(InterfaceFacts {
        name: facts.name.clone(),
        ifindex: facts.index,
        mac: facts.mac,
        mtu: facts.mtu,
        up: facts.up,
        driver: facts.driver.clone(),
        rx_queues: count(facts.rx_queues()),
        tx_queues: count(facts.channels.map_or(1, |c| c.tx_queues())),
        xdp_native: features.map(|f| f.basic && f.redirect),
        xsk_zero_copy: features.map(|f| f.zero_copy),
        xdp_sg: features.map(|f| f.rx_sg),
        zero_copy_segments: features.map(|f| f.zero_copy_segments).filter(|n| *n > 0),
        lro: Some(facts.offloads.lro),
        gro: Some(facts.offloads.gro),
        rx_vlan: Some(facts.offloads.rx_vlan),
        vlan: host::vlan_device(facts.index).ok()?,
        tx_checksum: Some(facts.offloads.tx_checksum),
        xsk_tx_checksum: features.map(|f| f.tx_checksum),
        rx_checksum: Some(facts.offloads.rx_checksum),
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_ranges_are_read() {
        assert_eq!(kernel("6.18.44-fc-v595"), (6, 18));
        assert_eq!(kernel("5.4"), (5, 4));
        assert_eq!(kernel("odd"), (0, 0));
        assert_eq!(ranges("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(ranges("0"), [0]);
        assert_eq!(ranges(""), [0; 0]);
    }

    #[test]
    fn this_host_has_a_loopback_and_a_core() {
        let facts = probe().unwrap();
        let lo = facts.interfaces.iter().find(|i| i.name == "lo").unwrap();
        assert!(lo.ifindex > 0 && lo.mac == crate::wire::Mac::ZERO);
        assert!(!facts.cores_allowed.is_empty() && facts.kernel > (4, 0));
    }
}

//! The kinds of values: what a key may hold, read from TOML into a type that cannot hold anything else.
//!
//! Each returns the value, or what would have been legal.

use core::fmt::Display;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;
use std::path::PathBuf;

use toml::de::DeValue;

use super::Advertise;
use super::reader::Reading;
use crate::control::kubernetes::{AnnotationPrefix, ConfigMap};
use crate::tables::Dscp;
use crate::wire::{Mac, Mtu, Prefix, Vni};

fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let i = value.as_integer()?;
    i64::from_str_radix(i.as_str(), i.radix()).ok()
}

/// An integer in a range. `what` names it with its article and may end in a unit.
pub(super) fn integer<T>(what: &'static str, range: RangeInclusive<T>) -> impl Fn(&DeValue<'_>) -> Reading<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value| {
        integer_of(value)
            .and_then(|i| T::try_from(i).ok())
            .filter(|i| range.contains(i))
            .ok_or_else(|| format!("{what} (an integer from {} to {})", range.start(), range.end()).into())
    }
}

/// A power of two in a range.
pub(super) fn power_of_two(what: &'static str, range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Reading<u32> {
    move |value| {
        integer_of(value)
            .and_then(|i| u32::try_from(i).ok())
            .filter(|i| range.contains(i) && i.is_power_of_two())
            .ok_or_else(|| format!("{what} (a power of two from {} to {})", range.start(), range.end()).into())
    }
}

/// One of a few words.
pub(super) fn word<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Reading<T> {
    move |value| {
        let found = value.as_str().and_then(|s| words.iter().find(|(w, _)| *w == s));
        found.map(|(_, t)| *t).ok_or_else(|| {
            let legal: Vec<_> = words.iter().map(|(w, _)| format!("\"{w}\"")).collect();
            format!("one of {}", legal.join(", ")).into()
        })
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Reading<bool> {
    value.as_bool().ok_or("`true` or `false`".into())
}

/// Any string: for references, which are looked up later.
pub(super) fn string(value: &DeValue<'_>) -> Reading<String> {
    value.as_str().map(str::to_owned).ok_or("a string".into())
}

/// An absolute path: a relative one would depend on where the gateway was started.
pub(super) fn absolute_path(value: &DeValue<'_>) -> Reading<PathBuf> {
    let path = value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
    path.ok_or("an absolute path (a string that begins with /)".into())
}

/// What flannel's annotations begin with.
pub(super) fn annotation_prefix(value: &DeValue<'_>) -> Reading<AnnotationPrefix> {
    let prefix = value.as_str().map(AnnotationPrefix::new);
    prefix.unwrap_or(Err("a string such as \"flannel.alpha.coreos.com\"")).map_err(Into::into)
}

/// The name of a ConfigMap. Names are made of what DNS names are made of.
pub(super) fn config_map(value: &DeValue<'_>) -> Reading<ConfigMap> {
    let is_name = |name: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        (1..=253).contains(&name.len()) && name.bytes().all(fits)
    };
    let parts = value.as_str().and_then(|s| s.split_once('/'));
    let parts = parts.filter(|(namespace, name)| is_name(namespace) && is_name(name));
    let map = parts.map(|(namespace, name)| ConfigMap { namespace: namespace.into(), name: name.into() });
    map.ok_or("a namespace and a name (a string such as \"kube-flannel/kube-flannel-cfg\")".into())
}

/// The gateway's name among the nodes of a cluster: a DNS label (RFC 1123 §2.1) with room for the prefix in the names of
/// its Nodes.
pub(super) fn node_name(value: &DeValue<'_>) -> Reading<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |s: &&str| {
        (1..=40).contains(&s.len())
            && s.bytes().all(|b| fits(b) || b == b'-')
            && [s.as_bytes().first(), s.as_bytes().last()].into_iter().flatten().all(|b| fits(*b))
    };
    let name = value.as_str().filter(is_label).map(str::to_owned);
    name.ok_or("a name (1 to 40 of the characters a-z, 0-9 and -, which neither begins nor ends it)".into())
}

/// Where a server is.
pub(super) fn url(value: &DeValue<'_>) -> Reading<String> {
    let host = |s: &str| s.strip_prefix("http://").or(s.strip_prefix("https://")).is_some_and(|rest| !rest.is_empty());
    let url = value.as_str().filter(|s| host(s)).map(|s| s.trim_end_matches('/').to_owned());
    url.ok_or("a URL (a string such as \"https://192.0.2.7:2379\")".into())
}

/// What keys in etcd begin with.
pub(super) fn etcd_prefix(value: &DeValue<'_>) -> Reading<String> {
    let prefix = value.as_str().map(|s| s.trim_end_matches('/')).filter(|s| s.starts_with('/') && s.len() > 1);
    prefix.map(str::to_owned).ok_or("a prefix of keys (a string such as \"/coreos.com/network\")".into())
}

/// What nodes are to send to the gateway.
pub(super) fn advertise(value: &DeValue<'_>) -> Reading<Advertise> {
    const LEGAL: &str = "\"imported\", or an array of at least one prefix";
    if value.as_str() == Some("imported") {
        return Ok(Advertise::Imported);
    }
    let array = value.as_array().filter(|all| !all.is_empty()).ok_or(LEGAL)?;
    let mut all = array.iter().map(|one| prefix(one.get_ref())).collect::<Reading<Vec<Prefix>>>()?;
    all.sort_unstable();
    all.dedup();
    match all.windows(2).find(|two| two[0].overlaps(&two[1])) {
        Some([outer, inner, ..]) => Err(format!("free of overlaps: {inner} is within {outer}").into()),
        _ => Ok(Advertise::These(all)),
    }
}

/// A name of an overlay: it becomes a metric label and part of command lines.
pub(super) fn overlay_name(value: &DeValue<'_>) -> Reading<String> {
    let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    match value.as_str() {
        Some(s) if (1..=32).contains(&s.len()) && s.bytes().all(legal) => Ok(s.to_owned()),
        _ => Err("a name (1 to 32 of the characters a-z, 0-9 and -)".into()),
    }
}

/// A name the kernel takes for an interface: 1 to 15 bytes (IFNAMSIZ less the final zero).
pub(super) fn interface(value: &DeValue<'_>) -> Reading<String> {
    let legal = |b: u8| b.is_ascii_graphic() && b != b'/' && b != b':';
    match value.as_str() {
        Some(s) if (1..=15).contains(&s.len()) && s.bytes().all(legal) && s != "." && s != ".." => Ok(s.to_owned()),
        _ => Err("an interface name (1 to 15 visible characters without / and :)".into()),
    }
}

/// A chunk size of the UMEM.
pub(super) fn chunk_size(value: &DeValue<'_>) -> Reading<u16> {
    match integer_of(value) {
        Some(2048) => Ok(2048),
        Some(4096) => Ok(4096),
        _ => Err("a chunk size (2048 or 4096 bytes)".into()),
    }
}

/// A VNI.
pub(super) fn vni(value: &DeValue<'_>) -> Reading<Vni> {
    let vni = integer_of(value).and_then(|i| u32::try_from(i).ok()).and_then(|i| Vni::new(i).ok());
    vni.ok_or("a VNI (an integer from 0 to 16777215)".into())
}

/// An MTU.
pub(super) fn mtu(value: &DeValue<'_>) -> Reading<Mtu> {
    let mtu = integer_of(value).and_then(|i| u32::try_from(i).ok()).and_then(|i| Mtu::new(i).ok());
    mtu.ok_or("an MTU (an integer from 576 to 9216, in bytes)".into())
}

/// The choice of the outer DSCP.
pub(super) fn dscp(value: &DeValue<'_>) -> Reading<Dscp> {
    match (value.as_str(), integer_of(value)) {
        (Some("uniform"), _) => Ok(Dscp::Uniform),
        (_, Some(code @ 0..=63)) => Ok(Dscp::Pipe(code as u8)),
        _ => Err("a DSCP (an integer from 0 to 63, or \"uniform\" to copy the inner one)".into()),
    }
}

/// The MAC address of one station.
pub(super) fn mac(value: &DeValue<'_>) -> Reading<Mac> {
    let mac: Option<Mac> = value.as_str().and_then(|s| s.parse().ok());
    match mac {
        Some(mac) if mac.is_station() => Ok(mac),
        Some(_) => Err("the MAC address of one station (neither zero, nor multicast, nor broadcast)".into()),
        None => Err("a MAC address (a string of six hex octets, such as \"02:00:00:00:00:01\")".into()),
    }
}

/// The address of one host that hosts beyond its own link can reach, too.
pub(super) fn host(value: &DeValue<'_>) -> Reading<IpAddr> {
    match address(value)? {
        IpAddr::V4(a) if !is_host(a) => Err(NO_HOST.into()),
        IpAddr::V6(a) if !is_unicast6(a, 128) => {
            Err("a unicast address (not ::, loopback, multicast, link-local, or IPv4 within IPv6)".into())
        }
        host => Ok(host),
    }
}

/// The address of a host on a link that is known: it may mean something there only.
pub(super) fn neighbour(value: &DeValue<'_>) -> Reading<IpAddr> {
    match address(value)? {
        IpAddr::V4(a) if !is_host(a) => Err(NO_HOST.into()),
        IpAddr::V6(a) if !a.is_unicast_link_local() && !is_unicast6(a, 128) => {
            Err("a unicast address (not ::, loopback, multicast, or IPv4 within IPv6)".into())
        }
        neighbour => Ok(neighbour),
    }
}

const NO_HOST: &str = "a unicast address (not 0.0.0.0/8, loopback, multicast, reserved or broadcast)";

fn address(value: &DeValue<'_>) -> Reading<IpAddr> {
    let address = value.as_str().and_then(|s| s.parse().ok());
    address.ok_or("an IP address (a string, such as \"192.0.2.1\" or \"2001:db8::1\")".into())
}

/// RFC 1122 §3.2.1.3 and RFC 1112 §4: 0/8, 127/8, 224/4 and 240/4 cannot be the address of a neighbour.
fn is_host(a: Ipv4Addr) -> bool {
    let first = a.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// False for a prefix within one that no router routes: unspecified, loopback and IPv4-compatible addresses in ::/96,
/// IPv4-mapped ones in ::ffff:0:0/96, link-local ones in fe80::/10, groups in ff00::/8 (RFC 4291 §2.4 and §2.5).
fn is_unicast6(a: Ipv6Addr, len: u8) -> bool {
    const APART: [(Ipv6Addr, u8); 4] = [
        (Ipv6Addr::UNSPECIFIED, 96),
        (Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96),
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
        (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    ];
    let within =
        |(b, bits): &(Ipv6Addr, u8)| len >= *bits && (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(*bits);
    !APART.iter().any(within)
}

/// A destination prefix.
pub(super) fn prefix(value: &DeValue<'_>) -> Reading<Prefix> {
    let text = value.as_str().ok_or("a prefix (a string, such as \"10.244.1.0/24\" or \"fd00:244:1::/64\")")?;
    match text.parse::<Prefix>() {
        Ok(p) => match p.addr() {
            IpAddr::V4(a) if is_host(a) || a.octets()[0] < 224 && p.len() < 8 => Ok(p),
            IpAddr::V4(_) => Err("a unicast prefix (not in 0.0.0.0/8, loopback, multicast or reserved)".into()),
            IpAddr::V6(a) if is_unicast6(a, p.len()) => Ok(p),
            IpAddr::V6(_) => Err("a unicast prefix (not loopback, multicast, link-local, or IPv4 within IPv6)".into()),
        },
        Err(_) => Err(match text.split_once('/').map(|(a, l)| (a.parse().map(Prefix::host), l.parse())) {
            Some((Ok(host), Ok(len))) if len <= host.len() => {
                format!("a prefix with host bits of zero (\"{}\")", host.widened(len)).into()
            }
            _ => "a prefix (an address, a slash and a length from 0 to 32, or to 128 for IPv6, such as \
                  \"10.244.1.0/24\" or \"fd00:244:1::/64\")"
                .into(),
        }),
    }
}

/// Where a server listens.
pub(super) fn socket(value: &DeValue<'_>) -> Reading<SocketAddr> {
    let address = value.as_str().and_then(|s| s.parse().ok());
    address.ok_or("a socket address (a string of address and port, such as \"127.0.0.1:9472\")".into())
}

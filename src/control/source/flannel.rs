//! What flannel publishes: nodes by subnet keys (etcd) or annotations (Kubernetes), and the network's configuration.
//! Facts from flannel's `pkg/subnet`, `pkg/lease` and `pkg/backend/vxlan`.
//!
//! A node has an IPv4 half (`PublicIP`, `BackendData`) and an IPv6 half (`PublicIPv6`, `BackendV6Data`): each a kernel
//! device, MAC and family of outer header of its own. An overlay of the gateway is one of the two; [`Half`] says which.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::{Claim, Fault, Refusal};
use crate::tables::Overlay;
use crate::wire::{Mac, Prefix, Vni};

/// The VNI of a network that names none.
pub const VNI: u32 = 1;
/// The UDP port of a network that names none: what Linux used before VXLAN had one.
pub const UDP_PORT: u16 = 8472;
/// The only backend whose nodes the gateway can reach.
const VXLAN: &str = "vxlan";

/// What a gateway writes where an entry must have both halves and it has one: nothing is ever sent there. Blocks without
/// hosts: IPv4's reserved class E (RFC 1112 §4), IPv6's discard prefix (RFC 6666).
pub const FILLER_V4: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);
/// The same for IPv6.
pub const FILLER_V6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);

/// The half of flannel's data that an overlay of the gateway is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Half {
    /// The family of outer headers and of pods: flannel never mixes them.
    pub family: Family,
    /// The overlay's network identifier.
    pub vni: Vni,
    /// The overlay's UDP port.
    pub udp_port: u16,
}

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// What a subnet key names: `10.1.13.0-24`, or `10.5.52.0-24&2001:cafe:42:1::-64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subnets {
    /// IPv4; none in a network of IPv6 alone, where flannel writes `0.0.0.0-0`.
    pub v4: Option<Prefix>,
    /// IPv6.
    pub v6: Option<Prefix>,
}

impl Subnets {
    /// The subnet of one family.
    pub const fn of(&self, family: Family) -> Option<Prefix> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// Reads the last part of a key.
    ///
    /// # Errors
    /// When it is not of flannel's form.
    pub fn parse(key: &str) -> Result<Self, Fault> {
        let wrong = || malformed(format!("`{key}` is no subnet key, such as 10.1.13.0-24 or 10.1.13.0-24&fd00:1::-64"));
        let (v4, v6) = match key.split_once('&') {
            Some((v4, v6)) => (v4, Some(v6)),
            None => (key, None),
        };
        let v4 = dashed(v4).ok_or_else(wrong)?;
        let v6 = v6.map(|v6| dashed(v6).ok_or_else(wrong)).transpose()?;
        if !v4.addr().is_ipv4() || v6.is_some_and(|v6| v6.addr().is_ipv4()) {
            return Err(wrong());
        }
        Ok(Self { v4: Some(v4).filter(|v4| v4.len() > 0), v6 })
    }
}

/// A prefix whose length stands behind a dash.
fn dashed(text: &str) -> Option<Prefix> {
    let (addr, len) = text.rsplit_once('-')?;
    Prefix::new(addr.parse().ok()?, len.parse().ok()?).ok()
}

impl Half {
    /// The half that an overlay of the gateway is about: the family of its outer headers is that of its pods.
    pub fn of(overlay: &Overlay) -> Self {
        Self { family: Family::of(overlay.local), vni: overlay.vni, udp_port: overlay.udp_port }
    }

    /// What the last part of a subnet key and its value say of a node.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn lease(&self, key: &str, value: &[u8]) -> Result<Claim, Fault> {
        let subnets = Subnets::parse(key)?;
        let lease: Value =
            serde_json::from_slice(value).map_err(|e| malformed(format!("its value is not JSON: {e}")))?;
        let lease = lease.as_object().ok_or_else(|| malformed("its value is not a JSON object"))?;
        self.backend_type(get(lease, "BackendType").and_then(Value::as_str))?;
        let (address, data) = match self.family {
            Family::V4 => ("PublicIP", "BackendData"),
            Family::V6 => ("PublicIPv6", "BackendV6Data"),
        };
        let none = |what: &str| Fault::new(Refusal::NoFamily, format!("it has no {} {what}", self.family.name()));
        let prefix = subnets.of(self.family).ok_or_else(|| none("subnet in its key"))?;
        let vtep = get(lease, address).ok_or_else(|| none(&format!("address (`{address}`)")))?;
        let vtep =
            vtep.as_str().ok_or_else(|| malformed(format!("`{address}` is {vtep}, not an address in quotes")))?;
        let vtep = self.public_ip(address, vtep)?;
        let data_value = get(lease, data).ok_or_else(|| none(&format!("backend data (`{data}`)")))?;
        Ok(Claim { prefix, vtep, mac: self.vtep_mac(data, data_value)? })
    }

    /// Only nodes of the VXLAN backend can be reached. `found` is what the node says of its backend.
    ///
    /// # Errors
    /// When it is another one, or none is named.
    pub fn backend_type(&self, found: Option<&str>) -> Result<(), Fault> {
        match found {
            Some(VXLAN) => Ok(()),
            Some(other) => Err(Fault::new(Refusal::NotVxlan, format!("its backend is `{other}`, not `{VXLAN}`"))),
            None => Err(Fault::new(Refusal::NotVxlan, format!("it names no backend; `{VXLAN}` would be right"))),
        }
    }

    /// The VTEP address that stands in a field or annotation of the name `field`.
    ///
    /// # Errors
    /// When it is not one of this family.
    pub fn public_ip(&self, field: &str, text: &str) -> Result<IpAddr, Fault> {
        let right = match self.family {
            Family::V4 => text.parse().ok().map(|a: Ipv4Addr| IpAddr::V4(a)),
            Family::V6 => text.parse().ok().map(|a: Ipv6Addr| IpAddr::V6(a)),
        };
        let family = self.family.name();
        match right {
            // what flannel, or a gateway, writes for a node without this half
            Some(none) if none.is_unspecified() || none == FILLER_V4 || none == FILLER_V6 => {
                Err(Fault::new(Refusal::NoFamily, format!("it has no {family} address: `{field}` is {none}")))
            }
            Some(address) => Ok(address),
            None => Err(malformed(format!("`{field}` is `{text}`, not an {family} address"))),
        }
    }

    /// The VTEP MAC in backend data: an object, as it is in etcd, in a field of the name `field`.
    ///
    /// # Errors
    /// When it is missing, not a station's, or the data is of another VNI.
    pub fn vtep_mac(&self, field: &str, data: &Value) -> Result<Mac, Fault> {
        let object = data.as_object();
        let object =
            object.ok_or_else(|| malformed(format!("`{field}` is not an object such as {}", example(self.vni))))?;
        // a node that says nothing of its VNI has that of its network
        let vni = match get(object, "VNI") {
            None => Some(u64::from(self.vni.get())),
            Some(vni) => vni.as_u64(),
        };
        let vni =
            vni.ok_or_else(|| malformed(format!("the VNI in `{field}` is not a number from 0 to {}", Vni::MAX)))?;
        if vni != u64::from(self.vni.get()) {
            let what = format!("its VNI is {vni}, the overlay's is {}", self.vni);
            return Err(Fault::new(Refusal::OtherSegment, what));
        }
        let missing = || malformed(format!("`{field}` has no `VtepMAC`, as in {}", example(self.vni)));
        let text = get(object, "VtepMAC").and_then(Value::as_str).ok_or_else(missing)?;
        let mac: Mac = text.parse().map_err(|e| malformed(format!("`VtepMAC` in `{field}`: {e}")))?;
        match mac.is_station() {
            true => Ok(mac),
            false => Err(malformed(format!("`VtepMAC` in `{field}` is {mac}, not the address of one station"))),
        }
    }

    /// The same where the data is JSON in a string, as it is in the annotation `field` of a Kubernetes node.
    ///
    /// # Errors
    /// As [`Half::vtep_mac`], and when it is not JSON.
    pub fn vtep_mac_in(&self, field: &str, json: &str) -> Result<Mac, Fault> {
        let data: Value = serde_json::from_str(json)
            .map_err(|e| malformed(format!("`{field}` is not JSON such as {}: {e}", example(self.vni))))?;
        self.vtep_mac(field, &data)
    }

    /// What in the network's configuration is at odds with the overlay: every node follows it when it next starts.
    pub fn faults_of(&self, net_conf: &[u8]) -> Vec<Fault> {
        let conf = match NetConf::parse(net_conf) {
            Ok(conf) => conf,
            Err(fault) => return vec![fault],
        };
        let mut faults = Vec::new();
        if let Err(fault) = self.backend_type(conf.backend.as_deref()) {
            faults.push(fault);
        }
        let mut compare = |what: &str, theirs: u64, ours: u64| {
            if theirs != ours {
                let what = format!("the network's {what} is {theirs}, the overlay's is {ours}");
                faults.push(Fault::new(Refusal::OtherSegment, what));
            }
        };
        compare("VNI", conf.vni, self.vni.get().into());
        compare("UDP port", conf.udp_port, self.udp_port.into());
        let (network, key) = match self.family {
            Family::V4 => (conf.v4, "Network"),
            Family::V6 => (conf.v6, "IPv6Network"),
        };
        if network.is_none() {
            let what = format!("the network has no {} part (`{key}`), the overlay is one of it", self.family.name());
            faults.push(Fault::new(Refusal::NoFamily, what));
        }
        faults
    }
}

/// The configuration of a network: `{"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 1}}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetConf {
    /// The network that IPv4 subnets are taken from.
    pub v4: Option<Prefix>,
    /// The same for IPv6, if that is enabled.
    pub v6: Option<Prefix>,
    /// The backend, if one is named.
    pub backend: Option<String>,
    /// The network identifier, which may be none that VXLAN has.
    pub vni: u64,
    /// The UDP port, which may be none that UDP has.
    pub udp_port: u64,
}

impl NetConf {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not of flannel's form.
    pub fn parse(json: &[u8]) -> Result<Self, Fault> {
        let conf: Value = serde_json::from_slice(json)
            .map_err(|e| malformed(format!("the network's configuration is not JSON: {e}")))?;
        let conf = conf.as_object().ok_or_else(|| malformed("the network's configuration is not a JSON object"))?;
        let enabled = |key: &str, default: bool| get(conf, key).and_then(Value::as_bool).unwrap_or(default);
        let network = |enabled: bool, key: &str, family: Family| match get(conf, key) {
            Some(network) if enabled => {
                let parsed = network.as_str().and_then(|text| text.parse().ok());
                let prefix = parsed.filter(|p: &Prefix| Family::of(p.addr()) == family);
                prefix
                    .map(Some)
                    .ok_or_else(|| malformed(format!("`{key}` is {network}, not an {} prefix", family.name())))
            }
            _ => Ok(None),
        };
        let empty = Map::new();
        let backend = get(conf, "Backend").and_then(Value::as_object).unwrap_or(&empty);
        let number = |key: &str, default: u64| match get(backend, key) {
            None => Ok(default),
            Some(found) => {
                found.as_u64().ok_or_else(|| malformed(format!("`{key}` of `Backend` is {found}, not a number")))
            }
        };
        Ok(Self {
            v4: network(enabled("EnableIPv4", true), "Network", Family::V4)?,
            v6: network(enabled("EnableIPv6", false), "IPv6Network", Family::V6)?,
            backend: get(backend, "Type").and_then(Value::as_str).map(str::to_owned),
            vni: number("VNI", VNI.into())?,
            // to the kernel, and so to flannel, 0 is "the usual one"
            udp_port: Some(number("Port", UDP_PORT.into())?).filter(|port| *port > 0).unwrap_or(UDP_PORT.into()),
        })
    }
}

/// A member of an object by its name in any case, as flannel's reader finds it; null is none.
fn get<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let same = |(found, _): &(&String, &Value)| found.eq_ignore_ascii_case(name);
    let found = object.get(name).or_else(|| object.iter().find(same).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

fn malformed(what: impl Into<String>) -> Fault {
    Fault::new(Refusal::Malformed, what)
}

fn example(vni: Vni) -> String {
    format!(r#"{{"VNI":{vni},"VtepMAC":"02:00:00:00:00:01"}}"#)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As flannel 0.20 wrote it.
    const LIVE: &str = r#"{"PublicIP":"172.30.0.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"b6:9f:ea:8c:6e:16"}}"#;
    const DUAL: &str = r#"{"PublicIP":"172.30.0.11","PublicIPv6":"fd00::11","BackendType":"vxlan",
        "BackendData":{"VNI":1,"VtepMAC":"b6:9f:ea:8c:6e:16"},"BackendV6Data":{"VNI":1,"VtepMAC":"b6:9f:ea:8c:6e:17"}}"#;

    fn half(family: Family) -> Half {
        Half { family, vni: Vni::new(1).unwrap(), udp_port: 8472 }
    }

    fn claim(prefix: &str, vtep: &str, mac: &str) -> Claim {
        Claim { prefix: prefix.parse().unwrap(), vtep: vtep.parse().unwrap(), mac: mac.parse().unwrap() }
    }

    #[test]
    fn live_leases_of_both_families() {
        let (v4, v6) = (half(Family::V4), half(Family::V6));
        let node = claim("10.1.13.0/24", "172.30.0.11", "b6:9f:ea:8c:6e:16");
        assert_eq!(v4.lease("10.1.13.0-24", LIVE.as_bytes()), Ok(node));
        let key = "10.5.52.0-24&2001:cafe:42:1::-64";
        let node = Claim { prefix: "10.5.52.0/24".parse().unwrap(), ..node };
        assert_eq!(v4.lease(key, DUAL.as_bytes()), Ok(node));
        assert_eq!(v6.lease(key, DUAL.as_bytes()), Ok(claim("2001:cafe:42:1::/64", "fd00::11", "b6:9f:ea:8c:6e:17")));
        let no_vni = LIVE.replace(r#""VNI":1,"#, "");
        assert!(v4.lease("10.1.13.0-24", no_vni.as_bytes()).is_ok());
        // Go finds members in any case
        let lower = LIVE.replace("VNI", "vni").replace("VtepMAC", "vtepmac").replace("PublicIP\"", "publicip\"");
        assert!(v4.lease("10.1.13.0-24", lower.as_bytes()).is_ok());
        let annotation = r#"{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}"#;
        assert_eq!(v4.vtep_mac_in("backend-data", annotation), Ok("12:c6:65:89:b4:e3".parse().unwrap()));
    }

    #[test]
    fn each_defect_is_named_with_what_would_be_right() {
        let cases = [
            (Family::V4, "10.1.13.0", LIVE.to_owned(), Refusal::Malformed, "no subnet key, such as"),
            (Family::V4, "10.1.13.7-24", LIVE.to_owned(), Refusal::Malformed, "no subnet key"),
            (Family::V4, "10.1.13.0-33", LIVE.to_owned(), Refusal::Malformed, "no subnet key"),
            (Family::V4, "fd00::-64", LIVE.to_owned(), Refusal::Malformed, "no subnet key"),
            (Family::V4, "10.1.13.0-24&10.2.0.0-16", LIVE.to_owned(), Refusal::Malformed, "no subnet key"),
            (Family::V4, "10.1.13.0-24", "{".to_owned(), Refusal::Malformed, "not JSON"),
            (Family::V4, "10.1.13.0-24", "[]".to_owned(), Refusal::Malformed, "not a JSON object"),
            (Family::V4, "10.1.13.0-24", LIVE.replace("vxlan", "host-gw"), Refusal::NotVxlan, "`host-gw`, not `vxlan`"),
            (Family::V4, "10.1.13.0-24", r#"{"PublicIP":"172.30.0.11"}"#.to_owned(), Refusal::NotVxlan, "no backend"),
            (
                Family::V4,
                "10.1.13.0-24",
                LIVE.replace("172.30.0.11", "fd00::1"),
                Refusal::Malformed,
                "not an IPv4 address",
            ),
            (Family::V4, "10.1.13.0-24", LIVE.replace("172.30.0.11", "0.0.0.0"), Refusal::NoFamily, "no IPv4 address"),
            (
                Family::V4,
                "10.1.13.0-24",
                LIVE.replace("\"172.30.0.11\"", "7"),
                Refusal::Malformed,
                "an address in quotes",
            ),
            (
                Family::V4,
                "10.1.13.0-24",
                LIVE.replace(":1,", ":2,"),
                Refusal::OtherSegment,
                "VNI is 2, the overlay's is 1",
            ),
            (Family::V4, "10.1.13.0-24", LIVE.replace(":1,", ":-1,"), Refusal::Malformed, "from 0 to 16777215"),
            (Family::V4, "10.1.13.0-24", LIVE.replace("VtepMAC", "MAC"), Refusal::Malformed, "no `VtepMAC`, as in {"),
            (Family::V4, "10.1.13.0-24", LIVE.replace("b6:9f", "b6-9f"), Refusal::Malformed, "six hex octets"),
            (Family::V4, "10.1.13.0-24", LIVE.replace("b6:9f", "01:9f"), Refusal::Malformed, "of one station"),
            (Family::V4, "0.0.0.0-0&fd00::-64", DUAL.to_owned(), Refusal::NoFamily, "no IPv4 subnet"),
            (Family::V6, "10.1.13.0-24", DUAL.to_owned(), Refusal::NoFamily, "no IPv6 subnet"),
            (Family::V6, "10.1.13.0-24&fd00::-64", LIVE.to_owned(), Refusal::NoFamily, "`PublicIPv6`"),
            (Family::V6, "10.1.13.0-24&fd00::-64", DUAL.replace("V6Data", ""), Refusal::NoFamily, "`BackendV6Data`"),
        ];
        for (family, key, value, refusal, says) in cases {
            let fault = half(family).lease(key, value.as_bytes()).unwrap_err();
            assert_eq!(fault.refusal, refusal, "{key} {value}: {fault}");
            assert!(fault.what.contains(says), "{key} {value}: {fault}");
        }
    }

    #[test]
    fn the_network_is_compared_with_the_overlay() {
        let v4 = half(Family::V4);
        let live = r#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":1}}"#;
        assert!(v4.faults_of(live.as_bytes()).is_empty());
        assert!(v4.faults_of(br#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","Port":0}}"#).is_empty());
        let dual = live.replace("{\"Net", r#"{"EnableIPv6":true,"IPv6Network":"fd00::/48","Net"#);
        assert!(half(Family::V6).faults_of(dual.as_bytes()).is_empty());
        let conf = NetConf::parse(dual.as_bytes()).unwrap();
        assert_eq!((conf.v4, conf.v6), ("10.1.0.0/16".parse().ok(), "fd00::/48".parse().ok()));

        let other = r#"{"Network":"10.1.0.0/16","backend":{"type":"udp","vni":7,"port":4789}}"#;
        let told: Vec<_> = v4.faults_of(other.as_bytes()).iter().map(ToString::to_string).collect();
        let want = [
            "not_vxlan: its backend is `udp`, not `vxlan`",
            "other_segment: the network's VNI is 7, the overlay's is 1",
            "other_segment: the network's UDP port is 4789, the overlay's is 8472",
        ];
        assert_eq!(told, want);
        for (family, conf, says) in [
            (Family::V6, live.to_owned(), "no IPv6 part (`IPv6Network`)"),
            (Family::V4, live.replace("/16", "/99"), "not an IPv4 prefix"),
            (Family::V4, live.replace(":1}", ":\"1\"}"), "`VNI` of `Backend`"),
            (Family::V4, "no".to_owned(), "not JSON"),
        ] {
            let told = half(family).faults_of(conf.as_bytes());
            assert!(told.len() == 1 && told[0].what.contains(says), "{conf}: {told:?}");
        }
    }

    /// JSON of any form, with flannel's names among others.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            "(10|fd00)[0-9a-f.:/]{0,12}".prop_map(Value::from),
        ];
        let name =
            "PublicIP|PublicIPv6|BackendType|BackendData|BackendV6Data|VNI|VtepMAC|Network|IPv6Network|Backend|Port|x";
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(name, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(key in "[0-9a-f.:&-]{0,40}|.{0,20}", value in prop::collection::vec(any::<u8>(), 0..80), json in json()) {
            let json = json.to_string();
            for half in [half(Family::V4), half(Family::V6)] {
                for value in [value.as_slice(), json.as_bytes()] {
                    let _ = half.lease(&key, value);
                    let _ = half.lease("10.1.13.0-24&fd00::-64", value);
                    let _ = half.faults_of(value);
                }
                let _ = half.vtep_mac_in("backend-data", &json);
            }
        }

        #[test]
        fn what_is_written_is_read(addr: u32, len in 1u8..=32, v6: u128, v6_len in 0u8..=128) {
            let v4 = Prefix::host(Ipv4Addr::from_bits(addr).into()).widened(len);
            let v6 = Prefix::host(Ipv6Addr::from_bits(v6).into()).widened(v6_len);
            let (one, both) = (format!("{}-{}", v4.addr(), v4.len()), format!("{}-{}&{}-{}", v4.addr(), v4.len(), v6.addr(), v6.len()));
            prop_assert_eq!(Subnets::parse(&one), Ok(Subnets { v4: Some(v4), v6: None }));
            prop_assert_eq!(Subnets::parse(&both), Ok(Subnets { v4: Some(v4), v6: Some(v6) }));
        }
    }
}

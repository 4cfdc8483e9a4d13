//! What a Node object says about its node.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::control::kubernetes::{AnnotationPrefix, Versioned};
use crate::control::source::flannel::{Family, Half};
use crate::control::source::{Claim, Fault, Key, Object, Refusal};
use crate::wire::Prefix;

/// A Node as it is read: only what is looked at.
#[derive(Clone, Deserialize, Debug)]
pub(super) struct Node {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize, Default, Debug)]
struct Spec {
    #[serde(default, rename = "podCIDR")]
    pod_cidr: String,
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

impl Versioned for Node {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl Node {
    pub(super) fn key(&self) -> Key {
        self.metadata.name.as_str().into()
    }

    /// What it says, if flannel manages it.
    pub(super) fn object(&self, keys: &AnnotationPrefix, half: &Half) -> Option<Object> {
        let annotation = |name: &str| {
            let key = keys.key(name);
            self.metadata.annotations.get(&key).map(String::as_str).filter(|value| !value.is_empty())
        };
        if annotation("kube-subnet-manager") != Some("true") {
            return None;
        }
        let (claims, faults) = match self.claim(keys, half, annotation) {
            Ok(claim) => (vec![claim], Vec::new()),
            Err(fault) => (Vec::new(), vec![fault]),
        };
        Some(Object { key: self.key(), claims, faults })
    }

    fn claim<'a>(
        &self,
        keys: &AnnotationPrefix,
        half: &Half,
        annotation: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Claim, Fault> {
        half.backend_type(annotation("backend-type"))?;
        let (address, data) = match half.family {
            Family::V4 => ("public-ip", "backend-data"),
            Family::V6 => ("public-ipv6", "backend-v6-data"),
        };
        let say = |name: &str| {
            let none = || Fault::new(Refusal::NoFamily, format!("it has no annotation `{}`", keys.key(name)));
            annotation(name).ok_or_else(none)
        };
        let vtep = half.public_ip(address, say(address)?)?;
        let mac = half.vtep_mac_in(data, say(data)?)?;
        Ok(Claim { prefix: self.prefix(half.family)?, vtep, mac })
    }

    /// The first pod CIDR of a family.
    fn prefix(&self, family: Family) -> Result<Prefix, Fault> {
        let one = Some(&self.spec.pod_cidr).filter(|cidr| self.spec.pod_cidrs.is_empty() && !cidr.is_empty());
        if self.spec.pod_cidrs.len() > 2 {
            let what = format!("it has {} pod CIDRs, and flannel reads no more than two", self.spec.pod_cidrs.len());
            return Err(Fault::new(Refusal::Malformed, what));
        }
        for cidr in self.spec.pod_cidrs.iter().chain(one) {
            let prefix = masked(cidr).ok_or_else(|| {
                Fault::new(Refusal::Malformed, format!("`{cidr}` is no pod CIDR, such as 10.244.1.0/24"))
            })?;
            if Family::of(prefix.addr()) == family {
                return Ok(prefix);
            }
        }
        Err(Fault::new(Refusal::NoFamily, format!("it has no {} pod CIDR", family.name())))
    }
}

/// A prefix, whatever the bits behind its length: the API server takes them as they come, and nodes ignore them.
fn masked(cidr: &str) -> Option<Prefix> {
    let (addr, len) = cidr.split_once('/')?;
    let host = Prefix::host(addr.parse().ok()?);
    let len = len.parse().ok()?;
    (len <= host.len()).then(|| host.widened(len))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::Vni;

    /// A dual-stack node as flanneld annotates it.
    fn node() -> Value {
        json!({
            "metadata": { "name": "n1", "resourceVersion": "17", "annotations": {
                "flannel.alpha.coreos.com/kube-subnet-manager": "true",
                "flannel.alpha.coreos.com/backend-type": "vxlan",
                "flannel.alpha.coreos.com/backend-data": r#"{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}"#,
                "flannel.alpha.coreos.com/public-ip": "192.168.77.17",
                "flannel.alpha.coreos.com/backend-v6-data": r#"{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e4"}"#,
                "flannel.alpha.coreos.com/public-ipv6": "fd00::17",
                "other.example/ignored": "yes",
            }},
            "spec": { "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"], "taints": [] },
            "status": { "images": [{ "names": ["x"], "sizeBytes": 1 }] },
        })
    }

    fn read(node: Value, family: Family) -> Option<Object> {
        let half = Half { family, vni: Vni::new(1).unwrap(), udp_port: 8472 };
        serde_json::from_value::<Node>(node).unwrap().object(&AnnotationPrefix::default(), &half)
    }

    fn claim(object: Option<Object>) -> Claim {
        let object = object.unwrap();
        assert!(object.claims.len() == 1 && object.faults.is_empty(), "{object:?}");
        object.claims[0]
    }

    #[test]
    fn each_half_of_a_node_is_read() {
        let v4 = claim(read(node(), Family::V4));
        let want = Claim {
            prefix: "10.244.1.0/24".parse().unwrap(),
            vtep: "192.168.77.17".parse().unwrap(),
            mac: "12:c6:65:89:b4:e3".parse().unwrap(),
        };
        assert_eq!(v4, want);
        let want = Claim {
            prefix: "fd00:244:1::/64".parse().unwrap(),
            vtep: "fd00::17".parse().unwrap(),
            mac: "12:c6:65:89:b4:e4".parse().unwrap(),
        };
        assert_eq!(claim(read(node(), Family::V6)), want);
        let mut old = node();
        old["spec"] = json!({ "podCIDR": "10.244.1.9/24" });
        assert_eq!(claim(read(old, Family::V4)), v4, "one CIDR, with host bits");
    }

    #[test]
    fn a_node_that_flannel_does_not_manage_is_none_of_ours() {
        for value in [json!("false"), json!("True"), Value::Null] {
            let mut other = node();
            let annotations = other["metadata"]["annotations"].as_object_mut().unwrap();
            match value.as_str() {
                Some(text) => {
                    _ = annotations.insert("flannel.alpha.coreos.com/kube-subnet-manager".into(), text.into())
                }
                None => annotations.clear(),
            }
            assert_eq!(read(other, Family::V4), None);
        }
        assert_eq!(read(json!({ "metadata": { "name": "bare" } }), Family::V4), None);
    }

    #[test]
    fn each_defect_is_a_fault_by_name() {
        let set = |name: &str, value: &str| {
            let mut node = node();
            node["metadata"]["annotations"][format!("flannel.alpha.coreos.com/{name}")] = value.into();
            node
        };
        let cidrs = |cidrs: &[&str]| {
            let mut node = node();
            node["spec"] = json!({ "podCIDRs": cidrs });
            node
        };
        let cases = [
            (set("backend-type", "host-gw"), Refusal::NotVxlan, "`host-gw`"),
            (set("backend-data", r#"{"VNI":2,"VtepMAC":"12:c6:65:89:b4:e3"}"#), Refusal::OtherSegment, "VNI is 2"),
            (set("backend-data", "null"), Refusal::Malformed, "backend-data"),
            (set("backend-data", ""), Refusal::NoFamily, "no annotation `flannel.alpha.coreos.com/backend-data`"),
            (set("public-ip", ""), Refusal::NoFamily, "no annotation `flannel.alpha.coreos.com/public-ip`"),
            (set("public-ip", "node-1"), Refusal::Malformed, "not an IPv4 address"),
            (cidrs(&[]), Refusal::NoFamily, "no IPv4 pod CIDR"),
            (cidrs(&["fd00::/64"]), Refusal::NoFamily, "no IPv4 pod CIDR"),
            (cidrs(&["10.244.1.0/33"]), Refusal::Malformed, "no pod CIDR"),
            (cidrs(&["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]), Refusal::Malformed, "no more than two"),
        ];
        for (node, refusal, says) in cases {
            let object = read(node, Family::V4).unwrap();
            assert!(object.claims.is_empty() && object.faults.len() == 1, "{object:?}");
            let fault = &object.faults[0];
            assert!(fault.refusal == refusal && fault.what.contains(says), "{fault}");
        }
    }
}

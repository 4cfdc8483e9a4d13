//! What the Node object that stands for the gateway looks like: flannel's annotations, a pod CIDR, and all that keeps
//! everybody else from taking it for a place where something can run.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::herald::OurEnd;
use crate::control::kubernetes::AnnotationPrefix;
use crate::wire::Prefix;

/// How old the Ready condition may grow before it is told anew: as often as a kubelet does it by default. The Lease says
/// meanwhile that we live; it is cheaper, since nobody watches it but the controller it is for.
const READY: SignedDuration = SignedDuration::from_mins(5);

/// The label whose value is the gateway's name.
pub(super) const GATEWAY: &str = "selvedge/gateway";

/// The label whose value is the overlay's name.
pub(super) const OVERLAY: &str = "selvedge/overlay";

/// The taint of our nodes. It comes with every effect that keeps pods away.
const TAINT: &str = "selvedge/gateway";

/// Whose the objects are: one overlay of one gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    /// The gateway's name, unique in the cluster: a DNS label.
    pub(super) gateway: String,
    /// The overlay's name: a label's value.
    pub(super) overlay: String,
}

/// Node objects as they are read: only what is looked at.
#[derive(Clone, Deserialize, Debug)]
pub(super) struct Node {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) spec: Spec,
    #[serde(default)]
    pub(super) status: Status,
}

#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize, Default, Debug)]
pub(super) struct Spec {
    #[serde(default, rename = "podCIDR")]
    pub(super) pod_cidr: String,
    #[serde(default, rename = "podCIDRs")]
    pub(super) pod_cidrs: Vec<String>,
    #[serde(default)]
    pub(super) taints: Vec<Value>,
}

#[derive(Clone, Deserialize, Default, Debug)]
pub(super) struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    last_heartbeat_time: Option<Timestamp>,
}

impl Node {
    /// The pod CIDRs that can be read.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        let one = Some(&self.spec.pod_cidr).filter(|_| self.spec.pod_cidrs.is_empty());
        self.spec.pod_cidrs.iter().chain(one).filter_map(|cidr| cidr.parse().ok())
    }

    /// True if it carries the labels of this owner.
    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        let says = |key: &str, value: &str| self.metadata.labels.get(key).is_some_and(|v| v == value);
        says(GATEWAY, &owner.gateway) && says(OVERLAY, &owner.overlay)
    }

    /// The strategic merge patch of its status that says it is ready, and has room for nothing; if it does not say so,
    /// or said it long ago.
    pub(super) fn ready(&self, now: Timestamp) -> Option<Value> {
        let ready = self.status.conditions.iter().find(|c| c.r#type == "Ready" && c.status == "True");
        let told = ready.and_then(|c| c.last_heartbeat_time);
        if told.is_some_and(|told| now.duration_since(told) < READY) {
            return None;
        }
        let mut condition = json!({
            "type": "Ready", "status": "True", "reason": "SelvedgeForwards", "lastHeartbeatTime": seconds(now),
            "message": "a gateway that forwards to this pod CIDR; nothing runs here",
        });
        if ready.is_none() {
            condition["lastTransitionTime"] = seconds(now);
        }
        let nothing = json!({ "cpu": "0", "memory": "0", "pods": "0" });
        Some(json!({ "status": { "capacity": nothing, "allocatable": nothing, "conditions": [condition] } }))
    }

    /// The merge patch that makes it as `wish` has it, if anything of that is missing. What others have added stays.
    pub(super) fn drift(&self, wish: &Wish) -> Option<Value> {
        let missing = |is: &BTreeMap<String, String>, wanted: BTreeMap<String, String>| {
            let odd = wanted.into_iter().filter(|(key, value)| is.get(key) != Some(value));
            odd.collect::<BTreeMap<_, _>>()
        };
        let labels = missing(&self.metadata.labels, wish.labels());
        let annotations = missing(&self.metadata.annotations, wish.annotations());
        let ours = taints();
        let same = |a: &Value, b: &Value| a["key"] == b["key"] && a["effect"] == b["effect"];
        let tainted = ours.iter().all(|taint| self.spec.taints.iter().any(|is| same(is, taint)));
        if labels.is_empty() && annotations.is_empty() && tainted {
            return None;
        }
        let others = self.spec.taints.iter().filter(|is| !ours.iter().any(|taint| same(is, taint)));
        let taints: Vec<_> = others.chain(&ours).collect();
        // with the version that was read: what somebody else changes meanwhile is not written over
        Some(json!({
            "metadata": {
                "resourceVersion": self.metadata.resource_version, "labels": labels, "annotations": annotations,
            },
            "spec": { "taints": taints },
        }))
    }
}

fn taints() -> Vec<Value> {
    ["NoSchedule", "NoExecute"].map(|effect| json!({ "key": TAINT, "value": "", "effect": effect })).into()
}

/// One Node that should be there.
pub(super) struct Wish<'a> {
    pub(super) owner: &'a Owner,
    pub(super) end: &'a OurEnd,
    pub(super) keys: &'a AnnotationPrefix,
    pub(super) prefix: Prefix,
}

impl Wish<'_> {
    /// Named after the prefix: a pod CIDR can never be changed, so another one is another Node.
    pub(super) fn name(&self) -> String {
        let prefix = self.prefix.to_string().replace([':', '.', '/'], "-");
        format!("selvedge-{}-{prefix}", self.owner.gateway)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            ("app.kubernetes.io/managed-by", "selvedge"),
            ("app.kubernetes.io/component", "gateway"),
            // a load balancer would send its clients to a node on which nothing runs
            ("node.kubernetes.io/exclude-from-external-load-balancers", "true"),
            (GATEWAY, &self.owner.gateway),
            (OVERLAY, &self.owner.overlay),
        ];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        // the order and spelling of flannel's own
        let data = format!(r#"{{"VNI":{},"VtepMAC":"{}"}}"#, self.end.vni, self.end.mac);
        let (address, backend) = match self.end.vtep {
            IpAddr::V4(_) => ("public-ip", "backend-data"),
            IpAddr::V6(_) => ("public-ipv6", "backend-v6-data"),
        };
        let annotations = [
            ("kube-subnet-manager", "true".to_owned()),
            ("backend-type", "vxlan".to_owned()),
            (address, self.end.vtep.to_string()),
            (backend, data),
        ];
        annotations.map(|(name, value)| (self.keys.key(name), value)).into()
    }

    /// The object to create. It has no label `kubernetes.io/os`: daemon sets that tolerate every taint ask for it.
    pub(super) fn object(&self) -> Value {
        let prefix = self.prefix.to_string();
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": self.name(), "labels": self.labels(), "annotations": self.annotations() },
            "spec": { "podCIDR": prefix, "podCIDRs": [prefix], "taints": taints() },
        })
    }
}

fn seconds(now: Timestamp) -> Value {
    format!("{now:.0}").into()
}

/// The Lease that says the Node lives, as a kubelet would hold it. It belongs to the Node, and goes with it.
pub(super) fn lease(name: &str, uid: &str, holder: &Owner, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": "kube-node-lease",
            "labels": { GATEWAY: holder.gateway, OVERLAY: holder.overlay },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }],
        },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": format!("{now:.6}") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { gateway: "gw1".into(), overlay: "blue".into() }
    }

    fn end(vtep: &str) -> OurEnd {
        let mac = "02:00:00:00:00:07".parse().unwrap();
        OurEnd { vtep: vtep.parse().unwrap(), mac, vni: crate::wire::Vni::new(1).unwrap(), udp_port: 8472 }
    }

    /// The object as a server would give it back.
    fn stored(wish: &Wish) -> Node {
        serde_json::from_value(wish.object()).unwrap()
    }

    #[test]
    fn a_node_says_what_flanneld_reads_and_no_more_than_the_prefix() {
        let (owner, keys) = (owner(), AnnotationPrefix::default());
        let v4 = end("192.0.2.1");
        let wish = Wish { owner: &owner, end: &v4, keys: &keys, prefix: "10.245.0.0/16".parse().unwrap() };
        let node = stored(&wish);
        assert_eq!(node.metadata.name, "selvedge-gw1-10-245-0-0-16");
        assert!(node.prefixes().eq([wish.prefix]) && node.is_of(&owner) && node.drift(&wish).is_none());
        let says = |node: &Node, name: &str| node.metadata.annotations.get(&keys.key(name)).cloned();
        assert_eq!(says(&node, "public-ip").unwrap(), "192.0.2.1");
        assert_eq!(says(&node, "backend-data").unwrap(), r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}"#);
        assert_eq!(node.metadata.annotations.len(), 4);
        let v6 = end("2001:db8::1");
        let wish = Wish { owner: &owner, end: &v6, keys: &keys, prefix: "fd00:245::/48".parse().unwrap() };
        let node = stored(&wish);
        assert_eq!(node.metadata.name, "selvedge-gw1-fd00-245---48");
        assert_eq!(says(&node, "public-ipv6").unwrap(), "2001:db8::1");
        assert!(says(&node, "public-ip").is_none() && says(&node, "backend-v6-data").is_some());
        assert!(!node.is_of(&Owner { overlay: "green".into(), ..owner.clone() }), "another overlay's is another's");
    }

    #[test]
    fn only_what_is_missing_is_patched_and_what_others_added_stays() {
        let (owner, keys, end) = (owner(), AnnotationPrefix::default(), end("192.0.2.1"));
        let wish = Wish { owner: &owner, end: &end, keys: &keys, prefix: "10.245.0.0/16".parse().unwrap() };
        let mut node = stored(&wish);
        node.metadata.resource_version = "7".into();
        node.metadata.annotations.insert("other".into(), "stays".into());
        node.spec.taints.push(json!({ "key": "not-ready", "effect": "NoSchedule" }));
        assert!(node.drift(&wish).is_none());
        node.metadata.annotations.insert(keys.key("public-ip"), "192.0.2.9".into());
        node.spec.taints.remove(0);
        let patch = node.drift(&wish).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["metadata"]["annotations"], json!({ keys.key("public-ip"): "192.0.2.1" }));
        let taints = patch["spec"]["taints"].as_array().unwrap();
        assert_eq!(taints.len(), 3, "{taints:?}");
        assert!(taints.iter().any(|t| t["key"] == "not-ready"));
    }

    #[test]
    fn readiness_is_told_when_it_is_missing_false_or_old() {
        let (owner, keys, end) = (owner(), AnnotationPrefix::default(), end("192.0.2.1"));
        let wish = Wish { owner: &owner, end: &end, keys: &keys, prefix: "10.245.0.0/16".parse().unwrap() };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let told = |status: &str, at: &str| {
            let mut object = wish.object();
            object["status"] = json!({ "conditions": [
                { "type": "Other", "status": "True" },
                { "type": "Ready", "status": status, "lastHeartbeatTime": at },
            ]});
            serde_json::from_value::<Node>(object).unwrap().ready(now)
        };
        assert!(told("True", "2025-12-31T23:55:01Z").is_none());
        let old = told("True", "2025-12-31T23:55:00Z").unwrap();
        let condition = |patch: &Value| patch["status"]["conditions"][0].clone();
        assert_eq!(condition(&old)["lastHeartbeatTime"], "2026-01-01T00:00:00Z");
        assert!(condition(&old).get("lastTransitionTime").is_none(), "it did not change");
        assert_eq!(old["status"]["allocatable"]["pods"], "0");
        for patch in [told("Unknown", "2025-12-31T23:59:59Z"), stored(&wish).ready(now)] {
            assert_eq!(condition(&patch.unwrap())["lastTransitionTime"], "2026-01-01T00:00:00Z");
        }
    }

    #[test]
    fn a_lease_belongs_to_its_node() {
        let now: Timestamp = "2026-01-01T00:00:00.25Z".parse().unwrap();
        let lease = lease("selvedge-gw1-a", "77", &owner(), now);
        assert_eq!(lease["spec"]["renewTime"], "2026-01-01T00:00:00.250000Z");
        assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], "77");
        assert_eq!(lease["metadata"]["labels"][GATEWAY], "gw1");
    }
}

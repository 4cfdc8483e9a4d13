//! Nodes created, changed and deleted; lists in pages; histories that are no longer kept; servers that are away.

use std::time::Duration;

use rustix::process::Signal;
use selvedge::control::kubernetes::{ConfigMap, Deed, NODES, Options, Versioned, Watch, pages};
use selvedge::control::source::Refusal;
use selvedge::control::source::flannel::Family;
use selvedge::control::source::kube::Kube;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Stage;
use crate::apiserver::{Administrator, flannel_node, here};
use crate::asked::{asked, half, options};
use crate::view::{SOON, View, claim};

const MAC: &str = "02:00:00:00:00:0b";

fn at(node: &str) -> String {
    format!("{NODES}/{node}")
}

fn annotation(name: &str, value: &str) -> Value {
    json!({ "metadata": { "annotations": { format!("flannel.alpha.coreos.com/{name}"): value } } })
}

pub(crate) async fn nodes_are_listed_and_followed(stage: &Stage) {
    let _history = stage.history.read().await;
    let admin = stage.admin().await;
    let mut dual = flannel_node("follow-1", &["10.1.1.0/24", "fd00:1:1::/64"], "192.0.2.11", MAC);
    dual["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ipv6"] = "2001:db8::11".into();
    let v6 = |mac: &str| format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#);
    dual["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-v6-data"] = v6("02:00:00:00:00:6b").into();
    admin.create(NODES, &dual).await;
    admin.create(NODES, &json!({ "metadata": { "name": "follow-bare" } })).await;
    let mut v4 = View::listed(asked(stage.first.access("gateway"), Family::V4)).await;
    let mut twin = View::listed(asked(stage.first.access("gateway"), Family::V6)).await;
    assert_eq!(v4.claim("follow-1"), Some(claim("10.1.1.0/24", "192.0.2.11", MAC)));
    assert_eq!(
        twin.claim("follow-1"),
        Some(claim("fd00:1:1::/64", "2001:db8::11", "02:00:00:00:00:6b")),
        "{:?}",
        twin.objects
    );
    assert!(!v4.objects.contains_key("follow-bare"));

    // a node of IPv4 alone is a node without a half to the other
    admin.create(NODES, &flannel_node("follow-2", &["10.1.2.0/24"], "192.0.2.12", MAC)).await;
    v4.until("created", SOON, |v| v.claim("follow-2") == Some(claim("10.1.2.0/24", "192.0.2.12", MAC))).await;
    twin.until("created", SOON, |v| v.objects.contains_key("follow-2")).await;
    assert_eq!(twin.objects["follow-2"].faults[0].refusal, Refusal::NoFamily);

    admin.patch(&at("follow-1"), &annotation("public-ip", "192.0.2.111")).await;
    v4.until("moved", SOON, |v| v.claim("follow-1").unwrap().vtep.to_string() == "192.0.2.111").await;
    let data = v6("02:00:00:00:00:0c");
    admin.patch(&at("follow-1"), &annotation("backend-data", &data)).await;
    let want = claim("10.1.1.0/24", "192.0.2.111", "02:00:00:00:00:0c");
    v4.until("another MAC", SOON, |v| v.claim("follow-1") == Some(want)).await;
    admin.patch(&at("follow-1"), &annotation("backend-v6-data", &v6("02:00:00:00:00:6c"))).await;
    let want = claim("fd00:1:1::/64", "2001:db8::11", "02:00:00:00:00:6c");
    twin.until("another IPv6 MAC", SOON, |v| v.claim("follow-1") == Some(want)).await;

    // another backend, another segment, no flannel any more
    admin.patch(&at("follow-2"), &annotation("backend-type", "host-gw")).await;
    let fault = |v: &View| v.objects.get("follow-2").and_then(|o| o.faults.first()).map(|f| f.refusal);
    v4.until("another backend", SOON, |v| fault(v) == Some(Refusal::NotVxlan)).await;
    assert_eq!(v4.claim("follow-2"), None);
    admin.patch(&at("follow-2"), &annotation("backend-type", "vxlan")).await;
    admin.patch(&at("follow-2"), &annotation("backend-data", r#"{"VNI":9,"VtepMAC":"02:00:00:00:00:0b"}"#)).await;
    v4.until("another segment", SOON, |v| fault(v) == Some(Refusal::OtherSegment)).await;
    admin.patch(&at("follow-2"), &annotation("kube-subnet-manager", "false")).await;
    v4.until("not flannel's", SOON, |v| !v.objects.contains_key("follow-2")).await;

    // a pod CIDR can only change with the node
    admin.delete(&at("follow-1")).await;
    v4.until("deleted", SOON, |v| !v.objects.contains_key("follow-1")).await;
    admin.create(NODES, &flannel_node("follow-1", &["10.1.9.0/24"], "192.0.2.11", MAC)).await;
    let want = claim("10.1.9.0/24", "192.0.2.11", MAC);
    v4.until("another pod CIDR", SOON, |v| v.claim("follow-1") == Some(want)).await;
    assert!(v4.lost.is_empty() && v4.lists == 1 && twin.lost.is_empty(), "{:?} {:?}", v4.lost, twin.lost);
}

#[derive(Clone, serde::Deserialize)]
struct Any {
    metadata: Meta,
}

#[derive(Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_version: String,
}

impl Versioned for Any {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

const LIST: Deed = Deed { verb: "list", group: "", resource: "nodes" };

pub(crate) async fn many_nodes_come_in_pages(stage: &Stage) {
    const MANY: usize = 230;
    let _alone = stage.history.write().await;
    let admin = stage.admin().await;
    for n in 0..MANY {
        let node = flannel_node(&format!("many-{n}"), &[&format!("10.2.{n}.0/24")], "192.0.2.2", MAC);
        admin.create(NODES, &node).await;
    }
    let view = View::listed(asked(stage.first.access("gateway"), Family::V4)).await;
    assert_eq!(view.objects.keys().filter(|key| key.starts_with("many-")).count(), MANY);
    assert!((0..MANY).all(|n| view.claim(&format!("many-{n}")).is_some()));

    // what is compacted between two pages cannot be read on: the status says so, and the driver begins again
    let mut reading = pages(&admin, NODES, LIST);
    assert_eq!(reading.next::<Any>().await.unwrap().unwrap().len(), 100);
    admin.delete(&at("many-0")).await;
    stage.etcd.compact();
    let error = reading.next::<Any>().await.err().expect("the version is not kept");
    assert!(error.is_gone(), "{error}");
}

pub(crate) async fn what_is_no_longer_kept_is_listed_again(stage: &Stage) {
    let _alone = stage.history.write().await;
    let admin = stage.admin().await;
    let second = stage.second.lock().await;
    admin.create(NODES, &flannel_node("kept-1", &["10.3.1.0/24"], "192.0.2.31", MAC)).await;
    let mut view = View::listed(asked(second.access("gateway"), Family::V4)).await;
    let version = {
        let mut all = pages(&admin, NODES, LIST);
        while all.next::<Any>().await.unwrap().is_some() {}
        all.version()
    };
    // changes of other objects only: to go on, the watch asks for what is gone
    for n in 0..2 {
        admin.create("/api/v1/namespaces", &json!({ "metadata": { "name": format!("kept-{n}") } })).await;
    }
    stage.etcd.compact();
    view.until("a second list", Duration::from_secs(12), |view| view.lists > 1).await;
    assert!(view.lost.is_empty(), "{:?}", view.lost);
    admin.delete(&at("kept-1")).await;
    view.until("deleted", SOON, |v| !v.objects.contains_key("kept-1")).await;

    let client = selvedge::control::kubernetes::Api::open(&second.access("gateway")).await.unwrap();
    let mut watch = Watch::<Any>::new(&client, "nodes", NODES, version);
    let error = watch.next().await.err().expect("the version is not kept");
    assert!(error.is_gone(), "{error}");
}

pub(crate) async fn a_server_that_is_killed_comes_back(stage: &Stage) {
    let _history = stage.history.read().await;
    let admin = stage.admin().await;
    let mut second = stage.second.lock().await;
    for n in 1..4 {
        let node = flannel_node(&format!("killed-{n}"), &[&format!("10.4.{n}.0/24")], "192.0.2.41", MAC);
        admin.create(NODES, &node).await;
    }
    let mut view = View::listed(asked(second.access("gateway"), Family::V4)).await;
    let ours = |view: &View| view.objects.keys().filter(|key| key.starts_with("killed-")).count();
    assert_eq!(ours(&view), 3);
    second.kill();
    view.until("noticed", SOON, |v| !v.lost.is_empty()).await;
    // the map changes while nobody tells us
    admin.delete(&at("killed-1")).await;
    admin.patch(&at("killed-2"), &annotation("public-ip", "192.0.2.42")).await;
    view.until("attempts", Duration::from_secs(5), |v| v.lost.len() > 2).await;
    assert!(view.lost.last().unwrap().contains("cannot be reached"), "{:?}", view.lost);
    assert_eq!((ours(&view), view.lists), (3, 1), "an attempt that fails says nothing of objects");
    second.run(&here);
    second.ready().await;
    view.until("back", Duration::from_secs(5), |v| v.lists > 1).await;
    assert_eq!((view.claim("killed-1"), view.claim("killed-2").unwrap().vtep.to_string()), (None, "192.0.2.42".into()));
    assert!(view.claim("killed-3").is_some());
}

pub(crate) async fn a_server_that_falls_silent_is_noticed(stage: &Stage) {
    let _history = stage.history.read().await;
    let mut second = stage.second.lock().await;
    let mut view = View::listed(asked(second.access("gateway"), Family::V4)).await;
    // with the connection open, and nothing to say
    let quiet = Instant::now();
    let first = view.heard;
    view.until("signs of life", Duration::from_secs(7), |v| v.heard > first).await;
    println!("a sign of life after {:?}", quiet.elapsed());
    second.process().signal(Signal::STOP).unwrap();
    let stopped = Instant::now();
    view.until("noticed", Duration::from_secs(11), |v| !v.lost.is_empty()).await;
    let (lost, after) = (view.lost[0].clone(), stopped.elapsed());
    second.process().signal(Signal::CONT).unwrap();
    assert!(lost.ends_with("has said nothing for 9 s"), "{lost}");
    assert!(after > Duration::from_secs(3), "{after:?}");
    let lists = view.lists;
    view.until("back", Duration::from_secs(15), |v| v.lists > lists).await;
}

pub(crate) async fn net_conf_is_compared_with_the_overlay(stage: &Stage) {
    let _history = stage.history.read().await;
    const MAPS: &str = "/api/v1/namespaces/kube-flannel/configmaps";
    let key = "configmap kube-flannel/kube-flannel-cfg";
    let admin = stage.admin().await;
    let mut options = options(stage.first.access("gateway"));
    let told = async |options: &Options| {
        let view = View::listed(Kube::new(options.clone(), half(Family::V4))).await;
        view.objects.get(key).map(|object| object.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let faults = told(&options).await.unwrap();
    assert!(faults.contains("UDP port is not known") && faults.contains("not found"), "{faults}");
    let conf = |port: u16| {
        json!({
            "metadata": { "name": "kube-flannel-cfg" },
            "data": { "net-conf.json": format!(
                r#"{{"Network":"10.0.0.0/8","Backend":{{"Type":"vxlan","VNI":1,"Port":{port}}}}}"#
            )},
        })
    };
    admin.create(MAPS, &conf(4789)).await;
    let faults = told(&options).await.unwrap();
    assert_eq!(faults, "other_segment: the network's UDP port is 4789, the overlay's is 8472");
    admin.patch(&format!("{MAPS}/kube-flannel-cfg"), &conf(8472)).await;
    assert_eq!(told(&options).await, None);
    // another one may not be read: access rules name the one that may
    options.net_conf = ConfigMap { name: "other".into(), ..ConfigMap::default() };
    let view = View::listed(Kube::new(options, half(Family::V4))).await;
    let fault = &view.objects["configmap kube-flannel/other"].faults[0].what;
    assert!(fault.contains("403 Forbidden") && fault.contains(r#"resources ["configmaps"], verbs ["get"]"#), "{fault}");
    assert!(view.lost.is_empty(), "{:?}", view.lost);
}

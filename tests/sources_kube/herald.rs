//! Nodes of our own: made, read by a source as flanneld would read them, kept, changed and taken back.

use std::sync::Arc;
use std::time::Duration;

use selvedge::control::herald::kube::Kube;
use selvedge::control::herald::{Herald, OurEnd, Standing, Wanted};
use selvedge::control::kubernetes::{Access, ApiError, NODES, Options};
use selvedge::control::source::flannel::Family;
use selvedge::wire::{Prefix, Vni};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Stage;
use crate::apiserver::{Administrator, flannel_node};
use crate::asked::asked;
use crate::view::{View, claim};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const VTEP: &str = "192.0.2.1";
const MAC: &str = "02:00:00:00:00:07";

fn prefixes(texts: &[&str]) -> Arc<[Prefix]> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn herald(access: Access, gateway: &str, vtep: &str) -> Kube {
    let vni = Vni::new(1).unwrap();
    let end = OurEnd { vtep: vtep.parse().unwrap(), mac: MAC.parse().unwrap(), vni, udp_port: 8472 };
    let gateway = gateway.to_owned();
    Kube::new(Options { access, annotations: Default::default(), net_conf: Default::default(), gateway }, "blue", end)
}

/// A herald at work.
struct Running {
    wanted: watch::Sender<Arc<[Prefix]>>,
    standing: watch::Receiver<Standing>,
    task: JoinHandle<ApiError>,
}

impl Running {
    fn new(mut herald: Kube, wanted: &[&str]) -> Self {
        let (wanted, mut wishes): (_, Wanted) = watch::channel(prefixes(wanted));
        let (tell, standing) = watch::channel(Standing::Lost("not begun".into()));
        let task = tokio::spawn(async move {
            let Err(error) = herald.keep(&mut wishes, &tell).await;
            error
        });
        Self { wanted, standing, task }
    }

    /// Waits until it stands like this.
    async fn stands(&mut self, is: impl Fn(&Standing) -> bool) -> Standing {
        let waited = timeout(Duration::from_secs(10), self.standing.wait_for(|s| is(s))).await;
        match waited.map(|there| there.expect("the herald goes on").clone()) {
            Ok(standing) => standing,
            Err(_) => panic!("it stands like this: {:?}", *self.standing.borrow()),
        }
    }

    /// Ends it as a crash would: nothing is taken back.
    async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn registered(n: usize) -> impl Fn(&Standing) -> bool {
    move |standing| *standing == Standing::Registered(n)
}

fn node(gateway: &str, prefix: &str) -> String {
    format!("selvedge-{gateway}-{}", prefix.replace(['.', '/'], "-"))
}

pub(crate) async fn prefixes_are_registered_followed_and_retired(stage: &Stage) {
    let _history = stage.history.read().await;
    let admin = stage.admin().await;
    let access = || stage.first.access("gateway");
    let mut view = View::listed(asked(access(), Family::V4)).await;
    let (one, two, three) = ("10.51.0.0/16", "10.52.0.0/16", "10.53.0.0/24");
    let mut running = Running::new(herald(access(), "life", VTEP), &[one, two]);
    running.stands(registered(2)).await;
    let soon = Duration::from_secs(2);
    let names = [node("life", one), node("life", two), node("life", three)];
    view.until("seen as a node", soon, |v| v.claim(&names[0]) == Some(claim(one, VTEP, MAC))).await;
    view.until("seen as a node", soon, |v| v.claim(&names[1]) == Some(claim(two, VTEP, MAC))).await;

    let at = |name: &str| format!("{NODES}/{name}");
    let first = admin.read(&at(&names[0])).await.unwrap();
    assert_eq!(first["spec"]["podCIDRs"], json!([one]));
    let effects = |node: &Value| {
        let taints = node["spec"]["taints"].as_array().unwrap().clone();
        let ours = taints.into_iter().filter(|t| t["key"] == "selvedge/gateway");
        ours.map(|t| t["effect"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(effects(&first), ["NoSchedule", "NoExecute"]);
    assert_eq!(first["status"]["allocatable"]["pods"], "0");
    let ready = first["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    assert!(ready["status"] == "True" && ready["lastTransitionTime"].is_string(), "{ready}");
    let lease = async |name: &str| admin.read(&format!("{LEASES}/{name}")).await;
    let held = lease(&names[0]).await.unwrap();
    assert_eq!(held["spec"]["holderIdentity"], names[0].as_str());
    assert_eq!(held["metadata"]["ownerReferences"][0]["uid"], first["metadata"]["uid"]);

    // another list: one goes, one comes, one stays as it is
    running.wanted.send(prefixes(&[two, three])).unwrap();
    view.until("changed", soon, |v| v.claim(&names[0]).is_none() && v.claim(&names[2]).is_some()).await;
    assert!(lease(&names[0]).await.unwrap_err().is_not_found());
    running.stands(registered(2)).await;
    let uid = admin.read(&at(&names[1])).await.unwrap()["metadata"]["uid"].clone();
    running.crash().await;

    // what somebody broke meanwhile is mended, what is not wanted any more removed, the rest taken over
    let broken = json!({
        "metadata": { "annotations": { "flannel.alpha.coreos.com/public-ip": "192.0.2.66" } }, "spec": { "taints": null },
    });
    admin.patch(&at(&names[1]), &broken).await;
    let renewed = lease(&names[1]).await.unwrap()["spec"]["renewTime"].clone();
    let mut running = Running::new(herald(access(), "life", VTEP), &[two]);
    running.stands(registered(1)).await;
    let second = admin.read(&at(&names[1])).await.unwrap();
    assert_eq!(second["metadata"]["uid"], uid, "the same one");
    assert_eq!(second["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"], VTEP);
    assert_eq!(effects(&second), ["NoSchedule", "NoExecute"]);
    assert_ne!(lease(&names[1]).await.unwrap()["spec"]["renewTime"], renewed);
    assert!(admin.read(&at(&names[2])).await.unwrap_err().is_not_found());

    // a controller that took it for dead
    admin.delete(&at(&names[1])).await;
    view.until("deleted", soon, |v| v.claim(&names[1]).is_none()).await;
    view.until("back with the next beat", Duration::from_secs(12), |v| v.claim(&names[1]).is_some()).await;
    running.crash().await;

    // our end has another address
    let mut moved = herald(access(), "life", "192.0.2.9");
    let mut running = Running::new(moved.clone(), &[two]);
    running.stands(registered(1)).await;
    view.until("moved", soon, |v| v.claim(&names[1]) == Some(claim(two, "192.0.2.9", MAC))).await;
    running.crash().await;
    moved.retire().await.unwrap();
    assert!(admin.read(&at(&names[1])).await.unwrap_err().is_not_found());
    assert!(lease(&names[1]).await.unwrap_err().is_not_found());
}

pub(crate) async fn what_is_not_ours_is_left_alone(stage: &Stage) {
    let _history = stage.history.read().await;
    let admin = stage.admin().await;
    let (named, within, free, v6) = ("10.61.0.0/16", "10.62.0.0/16", "10.63.0.0/16", "fd00:63::/48");
    let squatter = node("other", named);
    // ours by its name, and by one label of two
    let labels = json!({ "selvedge/gateway": "other", "selvedge/overlay": "green" });
    admin.create(NODES, &json!({ "metadata": { "name": squatter, "labels": labels } })).await;
    let before = admin.read(&format!("{NODES}/{squatter}")).await.unwrap();
    admin.create(NODES, &flannel_node("taken", &["10.62.7.0/24"], "192.0.2.62", "02:00:00:00:00:3e")).await;
    let mut herald = herald(stage.first.access("gateway"), "other", VTEP);
    let mut running = Running::new(herald.clone(), &[named, within, free, v6]);
    let Standing::Partly(lines) = running.stands(|s| matches!(s, Standing::Partly(_))).await else { unreachable!() };
    let says = |parts: &[&str]| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(says(&[named, &squatter, "is left alone"]), "{lines:?}");
    assert!(says(&[within, "node taken has the pod CIDR", "10.62.7.0/24"]), "{lines:?}");
    assert!(says(&[v6, "family"]), "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(admin.read(&format!("{NODES}/{}", node("other", free))).await.is_ok(), "the rest is registered");
    assert!(admin.read(&format!("{NODES}/{}", node("other", within))).await.unwrap_err().is_not_found());
    running.crash().await;
    herald.retire().await.unwrap();
    let after = admin.read(&format!("{NODES}/{squatter}")).await.unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "nothing was written");
    assert!(admin.read(&format!("{NODES}/{}", node("other", free))).await.unwrap_err().is_not_found());
}

pub(crate) async fn without_the_rights_it_says_which(stage: &Stage) {
    let _history = stage.history.read().await;
    let mut running = Running::new(herald(stage.first.access("reader"), "poor", VTEP), &["10.71.0.0/16"]);
    let Standing::Partly(lines) = running.stands(|s| matches!(s, Standing::Partly(_))).await else { unreachable!() };
    let rule = r#"apiGroups [""], resources ["nodes"], verbs ["create"]"#;
    assert!(lines.len() == 1 && lines[0].contains("403") && lines[0].contains(rule), "{lines:?}");
    let mut none = herald(stage.first.access("nobody"), "none", VTEP);
    let error = none.retire().await.unwrap_err().to_string();
    assert!(error.contains(r#"verbs ["list"]"#), "{error}");
}

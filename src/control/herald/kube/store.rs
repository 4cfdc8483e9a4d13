//! Our Nodes and their Leases on the API server. Nothing is written or removed that is not ours at the version that was
//! read.

use http::Request;
use http::header::CONTENT_TYPE;
use k8s_openapi::jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::node::{Node, Owner, Wish, lease};
use crate::control::kubernetes::{Api, ApiError, Deed, NODES, pages};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Whose a Node of a name is.
pub(super) enum Whose {
    Nobody,
    Other,
    Ours(Box<Node>),
}

pub(super) struct Store {
    api: Api,
}

fn nodes(verb: &'static str) -> Deed {
    Deed { verb, group: "", resource: "nodes" }
}

fn leases(verb: &'static str) -> Deed {
    Deed { verb, group: "coordination.k8s.io", resource: "leases" }
}

/// A request with a JSON body. Names are made of letters, digits and dashes: they need no escaping.
fn request(method: &str, path: &str, kind: &str, body: &Value) -> Request<Vec<u8>> {
    let mut request = Request::new(body.to_string().into_bytes());
    *request.method_mut() = method.parse().expect("a method's name");
    *request.uri_mut() = path.parse().expect("a path of letters, digits, dashes, dots and slashes");
    request.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("a media type"));
    request
}

impl Store {
    pub(super) fn new(api: Api) -> Self {
        Self { api }
    }

    /// All nodes of the cluster.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        let mut all = Vec::new();
        let mut pages = pages(&self.api, NODES, nodes("list"));
        while let Some(page) = pages.next::<Node>().await? {
            all.extend(page);
        }
        Ok(all)
    }

    pub(super) async fn get(&self, name: &str, owner: &Owner) -> Result<Whose, ApiError> {
        let asked = request("GET", &format!("{NODES}/{name}"), "application/json", &Value::Null);
        match self.api.ask::<Node>(nodes("get"), asked).await {
            Ok(node) if node.is_of(owner) => Ok(Whose::Ours(node.into())),
            Ok(_) => Ok(Whose::Other),
            Err(e) if e.is_not_found() => Ok(Whose::Nobody),
            Err(e) => Err(e),
        }
    }

    /// The Node as it was created, unless there is one by now.
    pub(super) async fn create(&self, wish: &Wish<'_>) -> Result<Option<Node>, ApiError> {
        let asked = request("POST", NODES, "application/json", &wish.object());
        unless(ApiError::is_conflict, self.api.ask(nodes("create"), asked).await)
    }

    /// False if the Node has changed since it was read.
    pub(super) async fn patch(&self, name: &str, patch: &Value) -> Result<bool, ApiError> {
        let asked = request("PATCH", &format!("{NODES}/{name}"), MERGE, patch);
        let done = unless(ApiError::is_conflict, self.api.ask::<IgnoredAny>(nodes("patch"), asked).await)?;
        Ok(done.is_some())
    }

    pub(super) async fn patch_status(&self, name: &str, patch: &Value) -> Result<(), ApiError> {
        let asked = request("PATCH", &format!("{NODES}/{name}/status"), STRATEGIC, patch);
        let deed = Deed { verb: "patch", group: "", resource: "nodes/status" };
        self.api.ask::<IgnoredAny>(deed, asked).await.map(drop)
    }

    /// Renews the Node's Lease; makes one if there is none.
    pub(super) async fn renew(&self, node: &Node, owner: &Owner, now: Timestamp) -> Result<(), ApiError> {
        let name = &node.metadata.name;
        let lease = lease(name, &node.metadata.uid, owner, now);
        let asked = request("PATCH", &format!("{LEASES}/{name}"), MERGE, &lease);
        match self.api.ask::<IgnoredAny>(leases("patch"), asked).await {
            Err(e) if e.is_not_found() => {
                let asked = request("POST", LEASES, "application/json", &lease);
                self.api.ask::<IgnoredAny>(leases("create"), asked).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// Removes a Node and its Lease, unless the Node is another one by now.
    pub(super) async fn remove(&self, node: &Node) -> Result<(), ApiError> {
        let name = &node.metadata.name;
        let same =
            json!({ "preconditions": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version } });
        let asked = request("DELETE", &format!("{NODES}/{name}"), "application/json", &same);
        match self.api.ask::<IgnoredAny>(nodes("delete"), asked).await {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        let asked = request("DELETE", &format!("{LEASES}/{name}"), "application/json", &json!({}));
        unless(ApiError::is_not_found, self.api.ask::<IgnoredAny>(leases("delete"), asked).await).map(drop)
    }
}

/// Nothing, where the error is an expected one.
fn unless<T>(expected: impl Fn(&ApiError) -> bool, answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Err(e) if expected(&e) => Ok(None),
        answer => answer.map(Some),
    }
}

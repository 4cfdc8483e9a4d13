//! Our Nodes and their Leases on the API server. Nothing is written or removed that is not ours at the version that was
//! read.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use k8s_openapi::jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::node::{Node, Owner, Wish, lease};
use crate::control::kubernetes::{Api, ApiError, Deed, NODES, pages};

/// How a question is asked, and what its body is.
const GET: (Method, &str) = (Method::GET, "application/json");
const POST: (Method, &str) = (Method::POST, "application/json");
const DELETE: (Method, &str) = (Method::DELETE, "application/json");
const MERGE: (Method, &str) = (Method::PATCH, "application/merge-patch+json");
const STRATEGIC: (Method, &str) = (Method::PATCH, "application/strategic-merge-patch+json");

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

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

impl Store {
    pub(super) fn new(api: Api) -> Self {
        Self { api }
    }

    /// Asks with a JSON body. The names in a path are the server's own, or made of letters, digits and dashes.
    async fn ask<T: DeserializeOwned>(
        &self,
        deed: Deed,
        (method, kind): (Method, &'static str),
        path: &str,
        body: &Value,
    ) -> Result<T, ApiError> {
        let mut request = Request::new(body.to_string().into_bytes());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|e| self.api.malformed(deed, &format_args!("{path}: {e}")))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.api.ask(deed, request).await
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
        match self.ask::<Node>(nodes("get"), GET, &format!("{NODES}/{name}"), &Value::Null).await {
            Ok(node) if node.is_of(owner) => Ok(Whose::Ours(node.into())),
            Ok(_) => Ok(Whose::Other),
            Err(e) if e.is_not_found() => Ok(Whose::Nobody),
            Err(e) => Err(e),
        }
    }

    /// The Node as it was created, unless there is one by now.
    pub(super) async fn create(&self, wish: &Wish<'_>) -> Result<Option<Node>, ApiError> {
        unless(ApiError::is_conflict, self.ask(nodes("create"), POST, NODES, &wish.object()).await)
    }

    /// False if the Node has changed since it was read.
    pub(super) async fn patch(&self, name: &str, patch: &Value) -> Result<bool, ApiError> {
        let patched = self.ask::<IgnoredAny>(nodes("patch"), MERGE, &format!("{NODES}/{name}"), patch).await;
        Ok(unless(ApiError::is_conflict, patched)?.is_some())
    }

    pub(super) async fn patch_status(&self, name: &str, patch: &Value) -> Result<(), ApiError> {
        let deed = Deed { verb: "patch", group: "", resource: "nodes/status" };
        self.ask::<IgnoredAny>(deed, STRATEGIC, &format!("{NODES}/{name}/status"), patch).await.map(drop)
    }

    /// Renews the Node's Lease; makes one if there is none.
    pub(super) async fn renew(&self, node: &Node, owner: &Owner, now: Timestamp) -> Result<(), ApiError> {
        let name = &node.metadata.name;
        let lease = lease(name, &node.metadata.uid, owner, now);
        match self.ask::<IgnoredAny>(leases("patch"), MERGE, &format!("{LEASES}/{name}"), &lease).await {
            Err(e) if e.is_not_found() => {
                self.ask::<IgnoredAny>(leases("create"), POST, LEASES, &lease).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// Removes a Node and its Lease, unless the Node is another one by now.
    pub(super) async fn remove(&self, node: &Node) -> Result<(), ApiError> {
        let name = &node.metadata.name;
        let same =
            json!({ "preconditions": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version } });
        match self.ask::<IgnoredAny>(nodes("delete"), DELETE, &format!("{NODES}/{name}"), &same).await {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        let lease = self.ask::<IgnoredAny>(leases("delete"), DELETE, &format!("{LEASES}/{name}"), &json!({})).await;
        unless(ApiError::is_not_found, lease).map(drop)
    }
}

/// Nothing, where the error is an expected one.
fn unless<T>(expected: impl Fn(&ApiError) -> bool, answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Err(e) if expected(&e) => Ok(None),
        answer => answer.map(Some),
    }
}

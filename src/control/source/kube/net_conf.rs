//! Flannel's own configuration, which says what no annotation does: the UDP port.

use std::collections::BTreeMap;

use kube::core::Request;
use kube::core::params::GetParams;
use serde::Deserialize;

use crate::control::kubernetes::{Api, ApiError, ConfigMap, Deed};
use crate::control::source::flannel::Half;
use crate::control::source::{Fault, Refusal};

/// The key within the ConfigMap.
const NET_CONF: &str = "net-conf.json";

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// What in it is at odds with the overlay, or keeps us from knowing.
pub(super) async fn faults(at: &ConfigMap, api: &Api, half: &Half) -> Result<Vec<Fault>, ApiError> {
    let deed = Deed { verb: "get", group: "", resource: "configmaps" };
    let path = format!("/api/v1/namespaces/{}/configmaps", at.namespace);
    let request = Request::new(path).get(&at.name, &GetParams::default());
    let request = request.map_err(|e| api.error(deed, kube::Error::BuildRequest(e)))?;
    let unknown = |why: &str| vec![Fault::new(Refusal::Malformed, format!("flannel's UDP port is not known: {why}"))];
    match api.ask::<Content>(deed, request).await {
        Ok(content) => Ok(match content.data.get(NET_CONF) {
            Some(json) => half.faults_of(json.as_bytes()),
            None => unknown(&format!("it has no key `{NET_CONF}`")),
        }),
        Err(e) if matches!(e.code(), Some(403 | 404)) => Ok(unknown(&e.to_string())),
        Err(e) => Err(e),
    }
}

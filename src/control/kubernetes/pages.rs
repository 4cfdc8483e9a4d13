//! A complete list, page by page, as it was at one version.

use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Api, ApiError, Deed};

/// Where the nodes are.
pub const NODES: &str = "/api/v1/nodes";

/// Objects a page. A Node has some 10 kB: a page is read within milliseconds, in which nothing else goes on.
const PAGE: u32 = 100;

/// A list that is being read.
pub struct Pages<'a> {
    api: &'a Api,
    path: &'static str,
    deed: Deed,
    version: String,
    /// Where the next page begins; none once all were read.
    next: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: Meta,
    // Go writes null for none
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_version: String,
    #[serde(default)]
    r#continue: String,
}

/// Lists all objects below a path.
pub fn pages<'a>(api: &'a Api, path: &'static str, deed: Deed) -> Pages<'a> {
    Pages { api, path, deed, version: String::new(), next: Some(String::new()) }
}

impl Pages<'_> {
    /// The next page; none once all were read.
    ///
    /// # Errors
    /// When the server is away, denies it, or no longer keeps the version of the first page ([`ApiError::is_gone`]).
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Vec<T>>, ApiError> {
        let Some(from) = self.next.take() else { return Ok(None) };
        let mut params = ListParams::default().limit(PAGE);
        if !from.is_empty() {
            params = params.continue_token(&from);
        }
        let request = Request::new(self.path).list(&params);
        let request = request.map_err(|e| self.api.error(self.deed, kube::Error::BuildRequest(e)))?;
        let page: Page<T> = self.api.ask(self.deed, request).await?;
        self.version = page.metadata.resource_version;
        self.next = Some(page.metadata.r#continue).filter(|token| !token.is_empty());
        Ok(Some(page.items.unwrap_or_default()))
    }

    /// The version of which the list is, once all was read: what follows it is to be watched.
    pub fn version(self) -> String {
        self.version
    }
}

//! A client of one API server.

use core::time::Duration;

use http::Request;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Access, ApiError, Deed};

/// A server that has not answered a question after this long is taken for away.
const ANSWER: Duration = Duration::from_secs(10);

impl Access {
    async fn config(&self) -> Result<Config, ApiError> {
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let wrong = |e| ApiError::Credentials { what: path.display().to_string(), cause: Box::new(e) };
                let file = Kubeconfig::read_from(path).map_err(wrong)?;
                let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
                Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?
            }
            None => Config::incluster().map_err(|e| {
                let what = "no kubeconfig is given, and the credentials that Kubernetes mounts into a pod".to_owned();
                ApiError::Credentials { what, cause: Box::new(e) }
            })?,
        };
        config.connect_timeout = Some(Duration::from_secs(5));
        // how long an answer may take is limited per question; trying again is for the driver, which says so
        config.read_timeout = None;
        config.default_retry = false;
        Ok(config)
    }
}

/// A client of one API server.
#[derive(Clone)]
pub struct Api {
    pub(super) client: Client,
    pub(super) server: Box<str>,
}

impl Api {
    /// Reads the credentials. The connection is made with the first question.
    ///
    /// # Errors
    /// When the credentials cannot be read or used.
    pub async fn open(access: &Access) -> Result<Self, ApiError> {
        let config = access.config().await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').into();
        let wrong = |e| ApiError::Credentials { what: format!("the credentials for {server}"), cause: Box::new(e) };
        let client = Client::try_from(config).map_err(wrong)?;
        Ok(Self { client, server })
    }

    /// Asks for one thing and reads the whole answer.
    ///
    /// # Errors
    /// When there is none in time, or it is no.
    pub async fn ask<T: DeserializeOwned>(&self, deed: Deed, request: Request<Vec<u8>>) -> Result<T, ApiError> {
        match timeout(ANSWER, self.client.request(request)).await {
            Ok(answer) => answer.map_err(|e| self.error(deed, e)),
            Err(_) => Err(ApiError::Silent { server: self.server.clone(), seconds: ANSWER.as_secs() }),
        }
    }

    /// What cannot be asked, or an answer that cannot be read.
    pub(in crate::control) fn malformed(&self, deed: Deed, cause: &impl ToString) -> ApiError {
        ApiError::Malformed { server: self.server.clone(), deed, cause: cause.to_string() }
    }

    /// What an error of the client means.
    pub(in crate::control) fn error(&self, deed: Deed, error: kube::Error) -> ApiError {
        ApiError::new(&self.server, deed, error)
    }
}

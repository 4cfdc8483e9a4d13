//! What an answer that is none means, and what would be right.

use core::error::Error;

use kube::core::Status;

use crate::control::source::driver::in_one_line;

/// What is asked of the server, in the words of its access rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deed {
    /// The verb, such as `list`.
    pub verb: &'static str,
    /// The API group; empty for the core one.
    pub group: &'static str,
    /// The resource, such as `nodes`.
    pub resource: &'static str,
}

/// Why the Kubernetes API did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Who we are could not be read.
    #[error("{what} cannot be used")]
    Credentials {
        /// The file, or what stands for it.
        what: String,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// HTTP 401.
    #[error(
        "{server} does not know these credentials (401 Unauthorized): the token or client certificate has expired, or is another cluster's"
    )]
    Unauthorized {
        /// The server's address.
        server: Box<str>,
    },
    /// HTTP 403.
    #[error(
        "{server} denies it (403 Forbidden): {message}; a rule with apiGroups [\"{}\"], resources [\"{}\"], verbs [\"{}\"] would allow it (all that is needed: config/kubernetes-rbac.yaml)",
        deed.group, deed.resource, deed.verb
    )]
    Denied {
        /// The server's address.
        server: Box<str>,
        /// What was asked.
        deed: Deed,
        /// Who may not do what, in the server's words.
        message: String,
    },
    /// The TLS handshake failed.
    #[error(
        "TLS with {server} failed: {cause}; the kubeconfig needs the cluster's own CA, and a server name that is in the server's certificate"
    )]
    Tls {
        /// The server's address.
        server: Box<str>,
        /// What the TLS library says.
        cause: String,
    },
    /// There is no connection, or it broke.
    #[error("{server} cannot be reached: {cause}")]
    Away {
        /// The server's address.
        server: Box<str>,
        /// What failed.
        cause: String,
    },
    /// There is a connection, and nothing comes.
    #[error("{server} has said nothing for {seconds} s")]
    Silent {
        /// The server's address.
        server: Box<str>,
        /// For how long.
        seconds: u64,
    },
    /// Any other status.
    #[error("{server} refuses to {} {}: {} ({} {})", deed.verb, deed.resource, status.message, status.code, status.reason)]
    Refused {
        /// The server's address.
        server: Box<str>,
        /// What was asked.
        deed: Deed,
        /// Its answer.
        status: Box<Status>,
    },
    /// The answer is not what it should be.
    #[error("what {server} answers to {} {} cannot be read: {cause}", deed.verb, deed.resource)]
    Malformed {
        /// The server's address.
        server: Box<str>,
        /// What was asked.
        deed: Deed,
        /// What is wrong with it.
        cause: String,
    },
}

impl ApiError {
    pub(super) fn new(server: &str, deed: Deed, error: kube::Error) -> Self {
        let server = server.into();
        match error {
            kube::Error::Api(status) => Self::status(server, deed, status),
            kube::Error::SerdeError(e) => Self::Malformed { server, deed, cause: e.to_string() },
            kube::Error::Auth(e) => {
                Self::Credentials { what: format!("the credentials for {server}"), cause: Box::new(e) }
            }
            other => {
                let cause = in_one_line(&other);
                // rustls wraps its own errors in several layers of others' types, all of which say them
                let handshake = ["certificate", "TLS", "handshake"].iter().any(|word| cause.contains(word));
                if handshake { Self::Tls { server, cause } } else { Self::Away { server, cause } }
            }
        }
    }

    pub(super) fn status(server: Box<str>, deed: Deed, status: Box<Status>) -> Self {
        match status.code {
            401 => Self::Unauthorized { server },
            403 => Self::Denied { server, deed, message: status.message },
            _ => Self::Refused { server, deed, status },
        }
    }

    /// The HTTP status, if there was an answer and it was no.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Unauthorized { .. } => Some(401),
            Self::Denied { .. } => Some(403),
            Self::Refused { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// What was to be followed from is not kept any more (HTTP 410, as a status or within a watch).
    pub fn is_gone(&self) -> bool {
        self.code() == Some(410)
    }

    /// There is no such object (HTTP 404).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The object is there already, or is not any more what it was taken for (HTTP 409).
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, message: &str) -> ApiError {
        let deed = Deed { verb: "list", group: "", resource: "nodes" };
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        ApiError::new("https://k", deed, kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn each_status_says_what_would_be_right() {
        let denied = answer(403, "nodes is forbidden: User \"gw\" cannot list resource \"nodes\"").to_string();
        for part in ["https://k", "User \"gw\" cannot list", r#"apiGroups [""], resources ["nodes"], verbs ["list"]"#] {
            assert!(denied.contains(part), "{denied}");
        }
        assert!(answer(401, "Unauthorized").to_string().contains("has expired"));
        assert!(answer(410, "too old").is_gone() && answer(404, "").is_not_found() && answer(409, "").is_conflict());
        let other = answer(500, "etcdserver: no leader");
        assert_eq!(other.to_string(), "https://k refuses to list nodes: etcdserver: no leader (500 )");
        assert!(!other.is_gone() && other.code() == Some(500));
    }
}

//! What can go wrong with an etcd cluster, in words for its operator.

use core::error::Error as _;
use core::time::Duration;
use std::io;
use std::path::PathBuf;

use etcd_client::Error as ClientError;

/// What a user must be allowed.
const RIGHTS: &str =
    "the user needs to read all keys that begin with the prefix and a slash; to advertise, also to write them";

/// Why an etcd cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// A file that the connection needs could not be read.
    #[error("reading {what} from {}: {source}", path.display())]
    File {
        /// What is in it.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A server refused, or its connection broke.
    #[error("{endpoint}: {doing}: {}", told(.source))]
    Call {
        /// The server.
        endpoint: String,
        /// What was asked.
        doing: &'static str,
        /// What it said.
        #[source]
        source: ClientError,
    },
    /// A server did not answer.
    #[error("{endpoint}: {doing}: no answer within {} s", .within.as_secs())]
    Silent {
        /// The server.
        endpoint: String,
        /// What was asked.
        doing: &'static str,
        /// How long it had.
        within: Duration,
    },
    /// A server ended a watch.
    #[error("{endpoint}: the watch was ended: {why}")]
    Ended {
        /// The server.
        endpoint: String,
        /// What it said.
        why: String,
    },
    /// No server could be used; why, one after the other.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Nobody(Vec<EtcdError>),
    /// The lease that entries hang on is gone, and they with it.
    #[error("{endpoint}: lease {lease:x} has expired: it was not heard of for too long")]
    LeaseGone {
        /// The server.
        endpoint: String,
        /// Its number.
        lease: i64,
    },
}

/// What the client says, with all that caused it and without what is of no use to an operator.
fn told(error: &ClientError) -> String {
    let ClientError::GRpcStatus(status) = error else { return error.to_string() };
    let mut line = status.message().to_owned();
    let causes = core::iter::successors(status.source(), |&cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    match line.as_str() {
        "" => status.code().to_string(),
        line if line.contains("permission denied") => format!("{line} ({RIGHTS})"),
        _ => line,
    }
}

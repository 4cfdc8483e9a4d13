//! A connection to one server of a cluster.

use core::future::Future;
use core::time::Duration;
use std::fs;
use std::path::Path;

use etcd_client::{
    Certificate, Client, ConnectOptions, Error as ClientError, GetOptions, Identity as PemIdentity, KeyValue, KvClient,
    LeaseClient, TlsOptions, WatchOptions,
};
use tokio::time::timeout;

use super::{EtcdError, Following, Options};

/// How long a server may take to accept a connection, and to answer one question.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// HTTP/2 pings: after so long without a frame, and how long the answer may take. Servers take more than one in five
/// seconds for an attack (etcd's `--grpc-keepalive-min-time`).
const PING_AFTER: Duration = Duration::from_secs(6);
const PONG_WITHIN: Duration = Duration::from_secs(3);
/// Keys in one answer. With the values of flannel that is about 3 MB.
const PAGE: i64 = 10_000;
/// The largest answer that is taken, in bytes: a page of keys with values of several kilobytes.
const ANSWER_MAX: usize = 64 << 20;

/// A connection to one server. One at a time: what is watched is then what was listed, and a server that does not
/// answer is found out at once instead of being one of several that questions are spread over.
pub struct Link {
    endpoint: String,
    kv: KvClient,
    client: Client,
}

impl Link {
    /// Connects to the first server that answers, beginning with number `turn`, which is left at the one it is.
    ///
    /// # Errors
    /// When none can be used: why each could not.
    pub async fn connect(options: &Options, turn: &mut usize) -> Result<Self, EtcdError> {
        let mut why = Vec::new();
        for _ in &options.endpoints {
            *turn %= options.endpoints.len();
            match Self::connect_to(&options.endpoints[*turn], options).await {
                Ok(link) => return Ok(link),
                Err(error) => why.push(error),
            }
            *turn += 1;
        }
        Err(EtcdError::Nobody(why))
    }

    async fn connect_to(endpoint: &str, options: &Options) -> Result<Self, EtcdError> {
        let connecting = Client::connect([endpoint], Some(connect_options(endpoint, options)?));
        let client = answer(endpoint, "logging in", connecting).await?;
        let kv = client.kv_client().max_decoding_message_size(ANSWER_MAX);
        let mut link = Self { endpoint: endpoint.to_owned(), kv, client };
        // a connection is made with the first question, and a server without a leader does not answer it
        link.get(options.config_key(), 0).await?;
        Ok(link)
    }

    /// The server.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client for reading and writing keys.
    pub fn kv(&self) -> KvClient {
        self.kv.clone()
    }

    /// A client for leases.
    pub fn leases(&self) -> LeaseClient {
        self.client.lease_client()
    }

    /// Waits for an answer to a question, but not for ever.
    ///
    /// # Errors
    /// When the server refuses or is silent.
    pub async fn answer<T>(
        &self,
        doing: &'static str,
        question: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, EtcdError> {
        answer(&self.endpoint, doing, question).await
    }

    /// The value of a key as it was at a revision; 0 is the latest.
    ///
    /// # Errors
    /// When the server refuses or is silent.
    pub async fn get(&mut self, key: String, revision: i64) -> Result<Option<Vec<u8>>, EtcdError> {
        let question = self.kv.get(key, Some(GetOptions::new().with_revision(revision)));
        let mut found = answer(&self.endpoint, "reading the network's configuration", question).await?;
        Ok(found.take_kvs().pop().map(|kv| kv.into_key_value().1))
    }

    /// Watches all keys that begin with `prefix` from `revision` on.
    ///
    /// # Errors
    /// When the server refuses or is silent.
    pub async fn watch(&self, prefix: &str, revision: i64) -> Result<Following, EtcdError> {
        // in pieces: many changes of one moment may be more than one answer takes
        let options =
            WatchOptions::new().with_prefix().with_start_revision(revision).with_progress_notify().with_fragment();
        let mut client = self.client.watch_client().max_decoding_message_size(ANSWER_MAX);
        let stream = self.answer("starting a watch", client.watch(prefix, Some(options))).await?;
        Ok(Following::new(self.endpoint.clone(), stream))
    }
}

/// All keys that begin with a prefix, as they were at one revision, a page at a time.
pub struct Pages {
    /// What the next page begins with; nothing after the last.
    next: Option<Vec<u8>>,
    end: Vec<u8>,
    revision: i64,
}

impl Pages {
    /// The keys that begin with `prefix`.
    pub fn of(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        // the prefix ends with a slash: there is a next byte
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { next: Some(prefix.into()), end, revision: 0 }
    }

    /// The revision they are of, once there was a page.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The next page, or none after the last.
    ///
    /// # Errors
    /// When the server refuses or is silent.
    pub async fn next(&mut self, link: &mut Link) -> Result<Option<Vec<KeyValue>>, EtcdError> {
        let Some(from) = self.next.take() else { return Ok(None) };
        let range = GetOptions::new().with_range(self.end.clone()).with_limit(PAGE).with_revision(self.revision);
        let mut page = answer(&link.endpoint, "listing nodes", link.kv.get(from, Some(range))).await?;
        if self.revision == 0 {
            self.revision = page.header().map_or(0, |header| header.revision());
        }
        let keys = page.take_kvs();
        if page.more() {
            // the first key behind the last one
            self.next = keys.last().map(|last| [last.key(), &[0]].concat());
        }
        Ok(Some(keys))
    }
}

async fn answer<T>(
    endpoint: &str,
    doing: &'static str,
    question: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, EtcdError> {
    match timeout(ANSWER_WITHIN, question).await {
        Ok(answer) => answer.map_err(|source| EtcdError::Call { endpoint: endpoint.to_owned(), doing, source }),
        Err(_) => Err(EtcdError::Silent { endpoint: endpoint.to_owned(), doing, within: ANSWER_WITHIN }),
    }
}

/// Files are read anew for each connection: certificates and passwords are renewed.
fn connect_options(endpoint: &str, options: &Options) -> Result<ConnectOptions, EtcdError> {
    let mut connect = ConnectOptions::new()
        .with_connect_timeout(CONNECT_WITHIN)
        .with_keep_alive(PING_AFTER, PONG_WITHIN)
        .with_tcp_keepalive(PING_AFTER)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if endpoint.starts_with("https://") {
        let mut tls = TlsOptions::new();
        tls = match &options.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read("certificates of authorities", path)?)),
            None => tls.with_native_roots(),
        };
        if let Some(identity) = &options.identity {
            let certificate = read("our certificate", &identity.certificate)?;
            tls = tls.identity(PemIdentity::from_pem(certificate, read("our private key", &identity.key)?));
        }
        connect = connect.with_tls(tls);
    }
    if let Some(user) = &options.user {
        let password = read("a password", &user.password)?;
        connect = connect.with_user(user.name.clone(), String::from_utf8_lossy(&password).trim_end());
    }
    Ok(connect)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, EtcdError> {
    fs::read(path).map_err(|source| EtcdError::File { what, path: path.to_owned(), source })
}

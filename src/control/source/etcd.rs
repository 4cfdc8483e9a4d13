//! flannel on etcd: the source `flannel-etcd`. Objects are keys, named by what follows the prefix: `config`, and
//! `subnets/10.1.13.0-24` for a node.

use core::convert::Infallible;
use std::sync::Arc;

use etcd_client::{EventType, KeyValue};

use super::flannel::Half;
use super::{Fault, News, Object, Refusal, Source, Told};
use crate::control::etcd::{EtcdError, Heard, Link, Options, Pages};

/// Follows one network of flannel.
pub struct Etcd {
    options: Options,
    half: Half,
    /// The server whose turn it is.
    turn: usize,
}

impl Etcd {
    /// A follower of the half of a network that is an overlay of the gateway.
    pub fn new(options: Options, half: Half) -> Self {
        Self { options, half, turn: 0 }
    }

    async fn listen(&self, link: &mut Link, told: &Told) -> Result<Infallible, EtcdError> {
        loop {
            let revision = self.list(link, told).await?;
            // one watch for all, so that the order of changes is kept
            let mut watch = link.watch(&format!("{}/", self.options.prefix), revision + 1).await?;
            loop {
                match watch.next().await? {
                    Heard::Changes(changes) => {
                        let kvs = changes.events().iter().filter_map(|e| e.kv().map(|kv| (e.event_type(), kv)));
                        for (kind, kv) in kvs {
                            if let Some(news) = self.news(kv, kind == EventType::Delete) {
                                told.say(news).await;
                            }
                        }
                    }
                    Heard::Alive => told.say(News::Alive).await,
                    Heard::Compacted => break,
                }
            }
        }
    }

    /// Tells everything, and returns the revision that it is of.
    async fn list(&self, link: &mut Link, told: &Told) -> Result<i64, EtcdError> {
        told.say(News::Listing).await;
        let mut pages = Pages::of(&self.options.subnets());
        while let Some(page) = pages.next(link).await? {
            for kv in &page {
                if let Some(news) = self.news(kv, false) {
                    told.say(news).await;
                }
            }
        }
        let conf = link.get(self.options.config_key(), pages.revision()).await?;
        told.say(self.config(conf.as_deref())).await;
        told.say(News::Listed).await;
        Ok(pages.revision())
    }

    /// What a key says, if it is one of those that matter.
    fn news(&self, kv: &KeyValue, gone: bool) -> Option<News> {
        let name = kv.key_str().ok()?.strip_prefix(&self.options.prefix)?.strip_prefix('/')?;
        match name.strip_prefix("subnets/") {
            Some(_) if gone => Some(News::Gone(name.into())),
            Some(node) => Some(self.node(name, node, kv.value())),
            None if name == "config" => Some(self.config(Some(kv.value()).filter(|_| !gone))),
            None => None,
        }
    }

    fn node(&self, name: &str, node: &str, value: &[u8]) -> News {
        let key = Arc::from(name);
        News::Is(match self.half.lease(node, value) {
            Ok(claim) => Object { key, claims: vec![claim], faults: Vec::new() },
            Err(fault) => Object { key, claims: Vec::new(), faults: vec![fault] },
        })
    }

    fn config(&self, value: Option<&[u8]>) -> News {
        let faults = match value {
            Some(value) => self.half.faults_of(value),
            None => {
                let what =
                    format!("there is no `{}`: is `{}` the prefix?", self.options.config_key(), self.options.prefix);
                vec![Fault::new(Refusal::Malformed, what)]
            }
        };
        News::Is(Object { key: "config".into(), claims: Vec::new(), faults })
    }
}

impl Source for Etcd {
    type Error = EtcdError;

    async fn follow(&mut self, told: &Told) -> Result<Infallible, EtcdError> {
        let mut link = Link::connect(&self.options, &mut self.turn).await?;
        let end = self.listen(&mut link, told).await;
        // a server that failed is not the first to be asked again
        self.turn += 1;
        end
    }
}

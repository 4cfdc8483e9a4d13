//! A watch.

use core::time::Duration;

use etcd_client::{WatchRequestSender, WatchResponse, WatchResponseStream, WatchStream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::EtcdError;

/// How often the server is asked whether there is nothing new, and how long all may be silent.
const ASK_EVERY: Duration = Duration::from_secs(1);
const SILENT_FOR: Duration = Duration::from_secs(5);

/// What a watch heard.
pub enum Heard {
    /// Keys have changed.
    Changes(WatchResponse),
    /// Nothing has changed.
    Alive,
    /// What changed meanwhile is not known any more: only a list tells.
    Compacted,
}

/// A watch that ends when nobody answers any more: a connection whose other end is gone without a word looks just like
/// one where nothing happens.
pub struct Following {
    endpoint: String,
    ask: WatchRequestSender,
    answers: WatchResponseStream,
    asking: Interval,
    heard: Instant,
}

impl Following {
    pub(super) fn new(endpoint: String, stream: WatchStream) -> Self {
        let (ask, answers) = stream.split();
        let mut asking = interval(ASK_EVERY);
        asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { endpoint, ask, answers, asking, heard: Instant::now() }
    }

    /// What is heard next. Cancel-safe.
    ///
    /// # Errors
    /// When the watch ended, or nothing was heard for too long.
    pub async fn next(&mut self) -> Result<Heard, EtcdError> {
        let call =
            |endpoint: &str, source| EtcdError::Call { endpoint: endpoint.to_owned(), doing: "watching", source };
        let ended = |endpoint: &str, why: &str| EtcdError::Ended { endpoint: endpoint.to_owned(), why: why.to_owned() };
        loop {
            tokio::select! {
                // first what has come: whoever listens may have been away for a while
                biased;
                answer = self.answers.message() => {
                    let answer = answer.map_err(|source| call(&self.endpoint, source))?;
                    let answer = answer.ok_or_else(|| ended(&self.endpoint, "the connection was closed"))?;
                    self.heard = Instant::now();
                    return match () {
                        () if answer.compact_revision() > 0 => Ok(Heard::Compacted),
                        () if answer.canceled() => Err(ended(&self.endpoint, answer.cancel_reason())),
                        () if answer.events().is_empty() => Ok(Heard::Alive),
                        () => Ok(Heard::Changes(answer)),
                    };
                }
                _ = self.asking.tick() => {
                    self.ask.request_progress().await.map_err(|source| call(&self.endpoint, source))?;
                }
                () = sleep_until(self.heard + SILENT_FOR) => {
                    let endpoint = self.endpoint.clone();
                    return Err(EtcdError::Silent { endpoint, doing: "watching", within: SILENT_FOR });
                }
            }
        }
    }
}

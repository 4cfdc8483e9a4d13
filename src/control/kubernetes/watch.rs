//! A watch that proves with every few seconds that it is alive.
//!
//! A watch on which nothing changes is silent, and so is one whose server has died without a word. Bookmarks come once a
//! minute: too late. So a watch is asked for only [`TERM`] long; a server that lives sends a bookmark two seconds before
//! its end, and ends it; the next one goes on from there over the same connection. What has said nothing for [`SILENCE`]
//! is dead.

use core::pin::Pin;
use core::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::core::params::WatchParams;
use kube::core::{Request, WatchEvent};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{Api, ApiError, Deed};

/// How long the server is asked to keep one watch.
const TERM: Duration = Duration::from_secs(5);

/// Longest silence of a watch that is alive: [`TERM`] and some time for a busy server.
const SILENCE: Duration = Duration::from_secs(9);

/// Shortest watch that may end without an event: a server that ends each at once is not asked again at once.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a watch says.
#[derive(Debug)]
pub enum Heard<T> {
    /// The object is there, and like this.
    Is(T),
    /// The object is gone; this is what it was like.
    Gone(T),
    /// All is as told.
    Alive,
}

type Events<T> = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<T>>> + Send>>;

/// Changes of the objects of one kind, from one version on.
pub struct Watch<'a, T> {
    api: &'a Api,
    deed: Deed,
    path: &'static str,
    /// What was heard last: where the next watch goes on.
    version: String,
    /// The watch that runs, since when, and whether it said anything.
    running: Option<(Events<T>, Instant, bool)>,
}

/// Says of which version an object is.
pub trait Versioned {
    /// The version, as the server wrote it.
    fn version(&self) -> &str;
}

impl<'a, T: Versioned + Clone + DeserializeOwned + Send + 'static> Watch<'a, T> {
    /// Follows the objects of `resource` of the core group, below `path`, from `version` on.
    pub fn new(api: &'a Api, resource: &'static str, path: &'static str, version: String) -> Self {
        let deed = Deed { verb: "watch", group: "", resource };
        Self { api, deed, path, version, running: None }
    }

    /// The next thing that the server says. It may be given up at any time, and called again.
    ///
    /// # Errors
    /// When the server is away or silent, or no longer keeps what follows the version ([`ApiError::is_gone`]).
    pub async fn next(&mut self) -> Result<Heard<T>, ApiError> {
        let deadline = Instant::now() + SILENCE;
        let silent = |_| ApiError::Silent { server: self.api.server.clone(), seconds: SILENCE.as_secs() };
        let (events, since, spoke) = match &mut self.running {
            Some(running) => running,
            none => {
                let events = timeout_at(deadline, begin(self.api, self.deed, self.path, &self.version));
                none.insert((events.await.map_err(silent)??, Instant::now(), false))
            }
        };
        let event = timeout_at(deadline, events.next()).await.map_err(silent)?;
        let Some(event) = event else {
            let at_once = !*spoke && since.elapsed() < SHORTEST;
            self.running = None;
            return match at_once {
                true => {
                    Err(ApiError::Away { server: self.api.server.clone(), cause: "it ends each watch at once".into() })
                }
                false => Ok(Heard::Alive),
            };
        };
        *spoke = true;
        let heard = match event.map_err(|e| self.api.error(self.deed, e))? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Heard::Is(object),
            WatchEvent::Deleted(object) => Heard::Gone(object),
            WatchEvent::Bookmark(mark) => {
                self.version = mark.metadata.resource_version;
                return Ok(Heard::Alive);
            }
            WatchEvent::Error(status) => return Err(ApiError::status(self.api.server.clone(), self.deed, status)),
        };
        if let Heard::Is(object) | Heard::Gone(object) = &heard {
            object.version().clone_into(&mut self.version);
        }
        Ok(heard)
    }
}

async fn begin<T>(api: &Api, deed: Deed, path: &str, version: &str) -> Result<Events<T>, ApiError>
where
    T: Clone + DeserializeOwned + Send + 'static,
{
    let params = WatchParams::default().timeout(TERM.as_secs() as u32);
    let request = Request::new(path).watch(&params, version);
    let request = request.map_err(|e| api.error(deed, kube::Error::BuildRequest(e)))?;
    let events = api.client.request_events(request).await.map_err(|e| api.error(deed, e))?;
    Ok(Box::pin(events))
}

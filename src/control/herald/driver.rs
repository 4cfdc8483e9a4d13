//! Keeps a herald going until the end.

use core::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::{Herald, Standing, Wanted};
use crate::control::source::driver::{in_one_line, pauses};

/// How long it may take to take everything back at the end.
const RETIRE_WITHIN: Duration = Duration::from_secs(3);

/// Keeps `wanted` registered until `end` is said, or nobody is there any more to say it, and then takes everything back.
///
/// It begins with the first change of `wanted`: before anybody knows what is wanted, what an earlier process of this gateway
/// registered is not to be taken for unwanted.
pub async fn drive(
    mut herald: impl Herald,
    mut wanted: Wanted,
    standing: watch::Sender<Standing>,
    mut end: oneshot::Receiver<()>,
) {
    let is_wanted = tokio::select! {
        changed = wanted.changed() => changed.is_ok(),
        _ = &mut end => false,
    };
    if is_wanted {
        keep(&mut herald, &mut wanted, &standing, &mut end).await;
    }
    match timeout(RETIRE_WITHIN, herald.retire()).await {
        Ok(Ok(())) => tracing::info!("nodes are no longer told to send here"),
        Ok(Err(error)) => tracing::error!(error = in_one_line(&error), "what was registered could not be taken back"),
        Err(_) => tracing::error!(within = ?RETIRE_WITHIN, "what was registered could not be taken back in time"),
    }
}

/// Has the herald try again whenever it fails, until `end`.
async fn keep(
    herald: &mut impl Herald,
    wanted: &mut Wanted,
    standing: &watch::Sender<Standing>,
    end: &mut oneshot::Receiver<()>,
) {
    let mut waits = pauses();
    loop {
        let error = tokio::select! {
            ended = herald.keep(wanted, standing) => {
                let Err(error) = ended;
                error
            }
            _ = &mut *end => return,
        };
        // it had been well: the next attempt need not wait long
        if !matches!(*standing.borrow(), Standing::Lost(_)) {
            waits = pauses();
        }
        standing.send_replace(Standing::Lost(in_one_line(&error)));
        tokio::select! {
            () = sleep(waits.next().unwrap_or(RETIRE_WITHIN)) => {}
            _ = &mut *end => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;
    use core::future::pending;
    use std::sync::Arc;

    use super::*;
    use crate::wire::Prefix;

    /// Says what it is asked to do.
    struct Scribe(tokio::sync::mpsc::UnboundedSender<Vec<String>>);

    impl Herald for Scribe {
        type Error = std::io::Error;

        async fn keep(
            &mut self,
            wanted: &mut Wanted,
            _: &watch::Sender<Standing>,
        ) -> Result<Infallible, std::io::Error> {
            let _ = self.0.send(wanted.borrow_and_update().iter().map(ToString::to_string).collect());
            pending().await
        }

        async fn retire(&mut self) -> Result<(), std::io::Error> {
            let _ = self.0.send(vec!["retired".into()]);
            Ok(())
        }
    }

    #[tokio::test]
    async fn nothing_is_touched_before_anything_is_wanted() {
        let (wish, wanted) = watch::channel(Arc::<[Prefix]>::default());
        let (standing, _told) = watch::channel(Standing::Registered(0));
        let ((say, mut said), (end, ended)) = (tokio::sync::mpsc::unbounded_channel(), oneshot::channel());
        let task = tokio::spawn(drive(Scribe(say), wanted, standing, ended));
        tokio::task::yield_now().await;
        assert!(said.try_recv().is_err(), "nobody has said yet what is wanted");
        wish.send_replace(["10.1.0.0/24".parse().unwrap()].into());
        assert_eq!(said.recv().await.unwrap(), ["10.1.0.0/24"]);
        end.send(()).unwrap();
        assert_eq!(said.recv().await.unwrap(), ["retired"]);
        task.await.unwrap();
    }
}

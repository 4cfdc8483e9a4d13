//! Keeps a herald going until the end.

use core::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::{Herald, Standing, Wanted};
use crate::control::source::driver::{in_one_line, pauses};

/// How long it may take to take everything back at the end.
const RETIRE_WITHIN: Duration = Duration::from_secs(3);

/// Keeps `wanted` registered until `end` is said, or nobody is there any more to say it, and then takes everything back.
pub async fn drive(
    mut herald: impl Herald,
    mut wanted: Wanted,
    standing: watch::Sender<Standing>,
    mut end: oneshot::Receiver<()>,
) {
    let mut waits = pauses();
    loop {
        let error = tokio::select! {
            ended = herald.keep(&mut wanted, &standing) => {
                let Err(error) = ended;
                error
            }
            _ = &mut end => break,
        };
        // it had been well: the next attempt need not wait long
        if !matches!(*standing.borrow(), Standing::Lost(_)) {
            waits = pauses();
        }
        standing.send_replace(Standing::Lost(in_one_line(&error)));
        tokio::select! {
            () = sleep(waits.next().unwrap_or(RETIRE_WITHIN)) => {}
            _ = &mut end => break,
        }
    }
    match timeout(RETIRE_WITHIN, herald.retire()).await {
        Ok(Ok(())) => tracing::info!("nodes are no longer told to send here"),
        Ok(Err(error)) => tracing::error!(error = in_one_line(&error), "what was registered could not be taken back"),
        Err(_) => tracing::error!(within = ?RETIRE_WITHIN, "what was registered could not be taken back in time"),
    }
}

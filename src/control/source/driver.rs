//! Keeps a source going.

use core::error::Error;
use core::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::sleep;

use super::{News, Source, Told};

/// Pauses between attempts: they double, up to a second, so that a server that comes back is found again soon. Each is
/// up to twice as long by chance, so that gateways which lost one server together do not come back in one moment.
pub fn pauses() -> impl Iterator<Item = Duration> {
    let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(100));
    pauses.with_max_delay(Duration::from_secs(1)).with_jitter().without_max_times().build()
}

/// An error with all that caused it, in one line.
pub fn in_one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let causes = core::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        // many errors say their cause themselves
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}

/// Follows a source for ever.
pub async fn drive(mut source: impl Source, mut told: Told) {
    let mut waits = pauses();
    loop {
        let Err(error) = source.follow(&told).await;
        if told.take_listed() {
            waits = pauses();
        }
        told.say(News::Lost(in_one_line(&error))).await;
        sleep(waits.next().unwrap_or(Duration::from_secs(2))).await;
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use super::*;
    use crate::control::source::SourceId;

    /// Fails with each attempt, of which every third completes a list.
    struct Flaky(u32);

    #[derive(Debug, thiserror::Error)]
    #[error("attempt {0}\nfailed")]
    struct Failed(u32, #[source] core::fmt::Error);

    impl Source for Flaky {
        type Error = Failed;

        async fn follow(&mut self, told: &Told) -> Result<Infallible, Failed> {
            self.0 += 1;
            told.say(News::Listing).await;
            if self.0.is_multiple_of(3) {
                told.say(News::Listed).await;
            }
            Err(Failed(self.0, core::fmt::Error))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_is_asked_again_and_sooner_once_it_answered() {
        let (told, mut ears) = Told::channel(SourceId(7));
        let driven = tokio::spawn(drive(Flaky(0), told));
        let (mut lost, mut lengths, mut last) = (Vec::new(), Vec::new(), tokio::time::Instant::now());
        while lost.len() < 9 {
            let (source, news) = ears.recv().await.unwrap();
            assert_eq!(source, SourceId(7));
            if let News::Lost(why) = news {
                lost.push(why);
                lengths.push(last.elapsed());
                last = tokio::time::Instant::now();
            }
        }
        driven.abort();
        assert!(lost[0].starts_with("attempt 1 failed: an error occurred"), "{}", lost[0]);
        let most = Duration::from_millis(800);
        assert!(lengths.iter().skip(1).all(|l| (Duration::from_millis(100)..=most).contains(l)), "{lengths:?}");
        let longest: Vec<_> = pauses().skip(6).take(4).collect();
        assert!(longest.iter().all(|p| (Duration::from_secs(1)..=Duration::from_secs(2)).contains(p)), "{longest:?}");
    }
}

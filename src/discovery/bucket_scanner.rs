//! Scans the registry's object store by listing it, slowly enough that the registry notices nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::discovery::Discovery;
use crate::discovery::scan_progress::ScanProgress;
use crate::oci::RepositoryName;
use crate::store::bucket::{Bucket, BucketError, Listing, link_of_key};
use crate::telemetry::metrics::Metrics;

/// The least time between two calls: at most four pages of a thousand keys in a second.
const TURN: Duration = Duration::from_millis(250);
/// The pause after the first error; each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after an error.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// A running scan, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct BucketScanner {
    _end: DropGuard,
}

impl BucketScanner {
    /// Lists the bucket again and again, and records in `discovery` what it holds.
    pub(crate) fn start(
        bucket: Arc<Bucket>,
        discovery: Arc<Discovery>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let end = CancellationToken::new();
        let stop = end.clone();
        tokio::spawn(async move {
            let scan = scan_forever(&bucket, ScanProgress::new(discovery, metrics));
            tokio::select! {
                () = stop.cancelled() => {}
                () = scan => {}
            }
        });
        Self {
            _end: end.drop_guard(),
        }
    }
}

async fn scan_forever(bucket: &Bucket, mut progress: ScanProgress) {
    // Calls after a scan, or after an error, come no sooner than the others.
    let mut turn = interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut listing = Listing::of_repositories();
        let mut last: Option<RepositoryName> = None;
        let mut pauses = Pauses::default();
        loop {
            turn.tick().await;
            match listing.next_page(bucket).await {
                Ok(Some(page)) => {
                    pauses = Pauses::default();
                    for entry in page {
                        let Some((repository, digest)) = link_of_key(&entry.key) else {
                            continue;
                        };
                        // Keys come in order, so that the links of a repository come together.
                        if last.as_ref() != Some(&repository) {
                            progress.repository();
                        }
                        progress.link(&repository, &digest);
                        last = Some(repository);
                    }
                    progress.show_links();
                    progress.log();
                }
                Ok(None) => break,
                Err(error @ BucketError::Key(_)) => progress.unreadable(&error),
                Err(error) => pauses.wait(&error).await,
            }
        }
        progress.end();
        sleep(progress.rest()).await;
    }
}

/// The pauses after errors in a row.
#[derive(Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    async fn wait(&mut self, error: &BucketError) {
        let pause = self.next(error.retry_after());
        if self.last.is_none() {
            tracing::warn!(%error, "store scan interrupted");
        }
        self.last = Some(pause);
        sleep(pause).await;
    }

    fn next(&self, wanted: Option<Duration>) -> Duration {
        let doubled = self.last.map_or(FIRST_PAUSE, |last| last * 2);
        doubled.max(wanted.unwrap_or_default()).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_as_long_as_the_server_wants() {
        let mut pauses = Pauses::default();
        let seconds: Vec<_> = (0..12)
            .map(|_| {
                let pause = pauses.next(None);
                pauses.last = Some(pause);
                pause.as_secs()
            })
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let wanted = Some(Duration::from_secs(20));
        assert_eq!(Pauses::default().next(wanted).as_secs(), 20);
    }
}

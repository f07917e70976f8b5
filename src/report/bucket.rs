//! The report on an object store, by lists of its objects alone.
//!
//! Links come before blobs: a push writes a blob before its link, so that a link of a push at the
//! same time does not look like one without a blob.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::config::BucketConfig;
use crate::oci::Digest;
use crate::report::{Progress, Report, ReportError};
use crate::store::bucket::{Bucket, BucketError, Entry, Listing, blob_of_key, link_of_key};
use crate::telemetry::metrics::Metrics;

/// The least time between two calls.
const TURN: Duration = Duration::from_millis(50);
/// The pauses in seconds after errors in a row; after one more the report fails.
const PAUSES: [u64; 3] = [1, 2, 4];

/// Lists the whole bucket.
pub(super) async fn report(config: &BucketConfig) -> Result<Report, ReportError> {
    let bucket = Bucket::open(config, Arc::new(Metrics::new(None)?))?;
    let mut report = Report::default();
    let mut links = Vec::new();
    let mut last = None;
    let progress = Progress::start();
    let calls = read(
        config,
        &bucket,
        Listing::of_repositories(),
        |step| match step {
            Ok(entry) => {
                let Some((repository, digest)) = link_of_key(&entry.key) else {
                    return;
                };
                report.links += 1;
                if entry.size != digest.as_str().len() as u64 {
                    report.damage.broken_link(&repository, &digest);
                } else if !digest.names_nothing() {
                    links.push(digest.bytes());
                }
                if last.as_ref() != Some(&repository) {
                    report.repositories += 1;
                    last = Some(repository);
                }
                progress.link(&report);
            }
            Err(error) => report.damage.unreadable(error),
        },
    );
    let calls = calls.await?;
    let mut blobs = Vec::new();
    let more = read(config, &bucket, Listing::of_blobs(), |step| match step {
        Ok(entry) => match blob_of_key(&entry.key) {
            Some(digest) if digest.names_nothing() => {}
            Some(digest) if entry.size == 0 => report.damage.empty_blob(&digest),
            Some(digest) => {
                blobs.push((digest.bytes(), entry.size));
                progress.blobs(blobs.len());
            }
            None => {}
        },
        Err(error) => report.damage.unreadable(error),
    });
    let more = more.await?;
    progress.end();
    if report.links == 0 && blobs.is_empty() {
        return Err(ReportError::EmptyBucket {
            bucket: config.name().to_owned(),
            base: bucket.base().to_owned(),
        });
    }
    compare(links, blobs, &mut report);
    report.list_calls = Some(calls + more);
    Ok(report)
}

/// Visits all objects of a listing, and returns how many calls that took.
async fn read(
    config: &BucketConfig,
    bucket: &Bucket,
    mut listing: Listing,
    mut visit: impl FnMut(Result<Entry, &BucketError>),
) -> Result<u64, ReportError> {
    let mut turn = interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pauses = PAUSES.iter();
    loop {
        turn.tick().await;
        match listing.next_page(bucket).await {
            Ok(Some(page)) => {
                pauses = PAUSES.iter();
                for entry in page {
                    visit(Ok(entry));
                }
            }
            Ok(None) => return Ok(listing.calls()),
            Err(error @ BucketError::Key(_)) => visit(Err(&error)),
            Err(cause) => {
                let may_pass =
                    !matches!(cause, BucketError::Denied { .. } | BucketError::NoBucket(_));
                let Some(pause) = pauses.next().filter(|_| may_pass) else {
                    let bucket = config.name().to_owned();
                    return Err(ReportError::Bucket { bucket, cause });
                };
                let pause = Duration::from_secs(*pause);
                sleep(cause.retry_after().unwrap_or(pause)).await;
            }
        }
    }
}

/// Counts the links of each blob, and links to blobs that are not there.
fn compare(mut links: Vec<[u8; 32]>, mut blobs: Vec<([u8; 32], u64)>, report: &mut Report) {
    links.sort_unstable();
    blobs.sort_unstable();
    let mut links = links.chunk_by(PartialEq::eq).peekable();
    let count = |links: &[[u8; 32]]| links.len() as u64;
    for (blob, size) in blobs {
        while let Some(dangling) = links.next_if(|links| links[0] < blob) {
            report
                .damage
                .dangling_links(&Digest::of_hash(&dangling[0]), count(dangling));
        }
        let linked = links.next_if(|links| links[0] == blob);
        report.blob(&Digest::of_hash(&blob), size, linked.map_or(0, count));
    }
    for dangling in links {
        report
            .damage
            .dangling_links(&Digest::of_hash(&dangling[0]), count(dangling));
    }
    report.finish();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_counted_whatever_the_order_of_the_lists() {
        let hash = |first: u8| {
            let mut hash = [7; 32];
            hash[0] = first;
            hash
        };
        let links = [5, 1, 9, 5, 2, 5].map(hash).to_vec();
        let blobs = [(3, 30), (1, 10), (5, 50)].map(|(first, size)| (hash(first), size));
        let mut report = Report::default();
        compare(links, blobs.to_vec(), &mut report);
        assert_eq!(report.blobs.bytes, 90);
        assert_eq!((report.layers.count, report.layers.bytes), (2, 60));
        assert_eq!(report.others.bytes, 30);
        assert_eq!(report.sparable_bytes, 100);
        let dangling = [2, 9].map(|first| Digest::of_hash(&hash(first)).to_string());
        assert_eq!(report.damage.dangling_links.examples, dangling);
    }
}

//! What one scan of a store has met, as the index, the metrics and the log show it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::discovery::Discovery;
use crate::oci::{Digest, RepositoryName};
use crate::store::DirectoryListing;
use crate::telemetry::labels::ScanItem;
use crate::telemetry::metrics::Metrics;

/// The interval of progress messages in the log.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// One scan after the other: each ends with [`ScanProgress::end`].
pub(super) struct ScanProgress {
    discovery: Arc<Discovery>,
    metrics: Arc<Metrics>,
    repositories: u64,
    links: u64,
    unreadable: u64,
    logged_at: Instant,
}

impl ScanProgress {
    pub(super) fn new(discovery: Arc<Discovery>, metrics: Arc<Metrics>) -> Self {
        Self {
            discovery,
            metrics,
            repositories: 0,
            links: 0,
            unreadable: 0,
            logged_at: Instant::now(),
        }
    }

    /// How long a scan rests after it reached the end.
    pub(super) fn rest(&self) -> Duration {
        self.discovery.settings().scan_interval
    }

    pub(super) fn link(&mut self, repository: &RepositoryName, digest: &Digest) {
        self.links += 1;
        self.metrics.scanned(ScanItem::Link);
        self.discovery.record_scanned_link(repository, digest);
    }

    /// A directory in which repositories may be was listed.
    pub(super) fn directory(&self, name: &str, listing: &DirectoryListing) {
        self.discovery.record_listing(name, listing);
    }

    /// All links of a repository were met.
    pub(super) fn repository(&mut self) {
        self.repositories += 1;
        self.metrics.scanned(ScanItem::Repository);
        self.show_links();
    }

    /// Something cannot be read, and the scan passes over it.
    pub(super) fn unreadable(&mut self, error: &dyn std::fmt::Display) {
        self.unreadable += 1;
        self.metrics.scanned(ScanItem::Unreadable);
        if self.unreadable == 1 {
            tracing::warn!(%error, "store scan skipped an unreadable entry");
        }
    }

    pub(super) fn show_links(&self) {
        self.metrics.index_links(self.discovery.links());
    }

    /// A message in the log, if the last one is old.
    pub(super) fn log(&mut self) {
        if self.logged_at.elapsed() >= LOG_EVERY {
            self.logged_at = Instant::now();
            let (repositories, links) = (self.repositories, self.links);
            tracing::info!(repositories, links, "store scan in progress");
        }
    }

    /// The scan reached the end.
    pub(super) fn end(&mut self) {
        self.show_links();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.metrics.scan_succeeded(now.as_secs());
        tracing::info!(
            repositories = self.repositories,
            links = self.links,
            unreadable = self.unreadable,
            "store scan completed"
        );
        (self.repositories, self.links, self.unreadable) = (0, 0, 0);
    }
}

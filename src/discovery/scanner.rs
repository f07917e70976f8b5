//! Scans the store on a thread of its own, slowly enough that clients notice nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::discovery::Discovery;
use crate::oci::RepositoryName;
use crate::store::{Filesystem, ScanEvent, StaleTempFiles, StoreError};
use crate::telemetry::labels::ScanItem;
use crate::telemetry::metrics::Metrics;

/// Layer directories that are read before the scan pauses.
const AT_A_TIME: u32 = 50;
/// The least time for so many: at most 2000 directories a second.
const TURN: Duration = Duration::from_millis(25);
/// The pause between two scans: the next one finds what other writers have linked meanwhile.
const REST: Duration = Duration::from_secs(60 * 60);
/// The pause after an error of the store.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// The interval of progress messages in the log.
const LOG_EVERY: Duration = Duration::from_secs(30);
/// How soon the scan notices the end of the process.
const BEAT: Duration = Duration::from_millis(200);

/// A running scan, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct StoreScanner {
    _end: DropGuard,
}

/// Scans the store again and again, and records in `discovery` what it holds. `stale_files` says
/// what happens to files that a killed process left behind.
pub(crate) fn start_scan(
    store: Filesystem,
    stale_files: StaleTempFiles,
    discovery: Arc<Discovery>,
    metrics: Arc<Metrics>,
) -> std::io::Result<StoreScanner> {
    let end = CancellationToken::new();
    let mut scanner_thread = ScanThread {
        store,
        stale_files,
        discovery,
        metrics,
        end: end.clone(),
        after: None,
        seen: Seen::default(),
    };
    let thread = std::thread::Builder::new().name("store-scan".to_owned());
    thread.spawn(move || scanner_thread.run())?;
    Ok(StoreScanner {
        _end: end.drop_guard(),
    })
}

struct ScanThread {
    store: Filesystem,
    stale_files: StaleTempFiles,
    discovery: Arc<Discovery>,
    metrics: Arc<Metrics>,
    end: CancellationToken,
    /// The repository after which an interrupted scan resumes.
    after: Option<RepositoryName>,
    seen: Seen,
}

/// What one scan has met.
#[derive(Default)]
struct Seen {
    repositories: u64,
    links: u64,
    unreadable: u64,
}

impl ScanThread {
    fn run(&mut self) {
        while !self.end.is_cancelled() {
            match self.scan() {
                Ok(true) => {
                    self.end();
                    self.wait(REST);
                }
                // The registry has not created the store yet, or the process ends.
                Ok(false) => self.wait(TRY_AGAIN),
                Err(error) => {
                    tracing::warn!(%error, "store scan interrupted");
                    self.wait(TRY_AGAIN);
                }
            }
        }
    }

    /// One scan, or the rest of one; `false` if it did not reach the end.
    fn scan(&mut self) -> Result<bool, StoreError> {
        let (after, stale_files) = (self.after.clone(), self.stale_files);
        let mut pace = ScanThrottle::new();
        let (discovery, metrics, seen) = (&self.discovery, &self.metrics, &mut self.seen);
        let (end, last) = (&self.end, &mut self.after);
        let mut visit = |step: ScanEvent<'_>| {
            match step {
                ScanEvent::Link {
                    repository,
                    digest,
                    is_there,
                } => {
                    if is_there {
                        seen.links += 1;
                        metrics.scanned(ScanItem::Link);
                        discovery.record_link(repository, digest);
                    }
                    pace.step(seen);
                }
                ScanEvent::Folder => pace.step(seen),
                ScanEvent::Unreadable(error) => {
                    seen.unreadable += 1;
                    metrics.scanned(ScanItem::Unreadable);
                    if seen.unreadable == 1 {
                        tracing::warn!(%error, "store scan skipped an unreadable entry");
                    }
                    pace.step(seen);
                }
                ScanEvent::Repository(repository) => {
                    seen.repositories += 1;
                    metrics.scanned(ScanItem::Repository);
                    metrics.index_links(discovery.links());
                    *last = Some(repository.clone());
                }
            }
            if end.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let walked = self
            .store
            .on_open(|store| store.scan(after.as_ref(), stale_files, &mut visit))?;
        Ok(walked == Some(true))
    }

    fn end(&mut self) {
        let Seen {
            repositories,
            links,
            unreadable,
        } = std::mem::take(&mut self.seen);
        self.after = None;
        self.metrics.index_links(self.discovery.links());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.metrics.scan_succeeded(now.as_secs());
        tracing::info!(repositories, links, unreadable, "store scan completed");
    }

    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.end.is_cancelled() && Instant::now() < until {
            std::thread::sleep(BEAT);
        }
    }
}

/// Throttles the scan, and logs its progress.
struct ScanThrottle {
    steps: u32,
    turn: Instant,
    logged_at: Instant,
}

impl ScanThrottle {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            steps: 0,
            turn: now,
            logged_at: now,
        }
    }

    fn step(&mut self, seen: &Seen) {
        self.steps += 1;
        if !self.steps.is_multiple_of(AT_A_TIME) {
            return;
        }
        std::thread::sleep(TURN.saturating_sub(self.turn.elapsed()));
        self.turn = Instant::now();
        if self.logged_at.elapsed() >= LOG_EVERY {
            self.logged_at = self.turn;
            let (repositories, links) = (seen.repositories, seen.links);
            tracing::info!(repositories, links, "store scan in progress");
        }
    }
}

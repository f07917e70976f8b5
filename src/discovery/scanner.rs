//! A walk through the store on a thread of its own, slow enough that nobody notices.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::discovery::Discovery;
use crate::oci::RepositoryName;
use crate::store::{Filesystem, ScanEvent, StaleTempFiles, StoreError};
use crate::telemetry::labels::ScanItem;
use crate::telemetry::metrics::Metrics;

/// Directories of layers that are looked into before the others get a turn.
const AT_A_TIME: u32 = 50;
/// How long such a turn takes at least: 2000 directories a second.
const TURN: Duration = Duration::from_millis(25);
/// Between two walks: what others have written meanwhile is found by the next.
const REST: Duration = Duration::from_secs(60 * 60);
/// After the store gave no answer.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Between two lines in the log.
const SAY: Duration = Duration::from_secs(30);
/// How soon the end of the process is noticed.
const BEAT: Duration = Duration::from_millis(200);

/// A walk that is going on; it ends with this.
#[derive(Debug)]
pub struct StoreScanner {
    _end: DropGuard,
}

/// Walks through the store again and again, and tells `discovery` what is there; what becomes of
/// files that were left behind says `stale_files`.
pub fn start_scan(
    store: Filesystem,
    stale_files: StaleTempFiles,
    discovery: Arc<Discovery>,
    metrics: Arc<Metrics>,
) -> std::io::Result<StoreScanner> {
    let end = CancellationToken::new();
    let mut walker = Walker {
        store,
        stale_files,
        discovery,
        metrics,
        end: end.clone(),
        after: None,
        seen: Seen::default(),
    };
    let thread = std::thread::Builder::new().name("survey".to_owned());
    thread.spawn(move || walker.run())?;
    Ok(StoreScanner {
        _end: end.drop_guard(),
    })
}

struct Walker {
    store: Filesystem,
    stale_files: StaleTempFiles,
    discovery: Arc<Discovery>,
    metrics: Arc<Metrics>,
    end: CancellationToken,
    /// The repository after which an interrupted walk goes on.
    after: Option<RepositoryName>,
    seen: Seen,
}

/// What one walk came by.
#[derive(Default)]
struct Seen {
    repositories: u64,
    links: u64,
    unreadable: u64,
}

impl Walker {
    fn run(&mut self) {
        while !self.end.is_cancelled() {
            match self.scan() {
                Ok(true) => {
                    self.end();
                    self.wait(REST);
                }
                // The registry has made no store yet, or the process ends.
                Ok(false) => self.wait(TRY_AGAIN),
                Err(error) => {
                    tracing::warn!(%error, "the walk through the store goes on later");
                    self.wait(TRY_AGAIN);
                }
            }
        }
    }

    /// One walk, or the rest of one; `false` where it did not come to the end.
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
                        tracing::warn!(%error, "the walk passes over what it cannot read");
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
        tracing::info!(
            repositories,
            links,
            unreadable,
            "the walk through the store is done"
        );
    }

    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.end.is_cancelled() && Instant::now() < until {
            std::thread::sleep(BEAT);
        }
    }
}

/// Keeps the walk slow, and says now and then how far it is.
struct ScanThrottle {
    steps: u32,
    turn: Instant,
    said: Instant,
}

impl ScanThrottle {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            steps: 0,
            turn: now,
            said: now,
        }
    }

    fn step(&mut self, seen: &Seen) {
        self.steps += 1;
        if !self.steps.is_multiple_of(AT_A_TIME) {
            return;
        }
        std::thread::sleep(TURN.saturating_sub(self.turn.elapsed()));
        self.turn = Instant::now();
        if self.said.elapsed() >= SAY {
            self.said = self.turn;
            let (repositories, links) = (seen.repositories, seen.links);
            tracing::info!(repositories, links, "walking through the store");
        }
    }
}

//! Scans the store on a thread of its own, slowly enough that clients notice nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::discovery::Discovery;
use crate::discovery::scan_progress::ScanProgress;
use crate::oci::RepositoryName;
use crate::store::{Filesystem, ScanEvent, StaleTempFiles, StoreError};
use crate::telemetry::metrics::Metrics;

/// Layer directories that are read before the scan pauses.
const AT_A_TIME: u32 = 50;
/// The least time for so many: at most 2000 directories a second.
const TURN: Duration = Duration::from_millis(25);
/// The pause after an error of the store.
const TRY_AGAIN: Duration = Duration::from_secs(30);
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
        end: end.clone(),
        after: None,
        progress: ScanProgress::new(discovery, metrics),
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
    end: CancellationToken,
    /// The repository after which an interrupted scan resumes.
    after: Option<RepositoryName>,
    progress: ScanProgress,
}

impl ScanThread {
    fn run(&mut self) {
        while !self.end.is_cancelled() {
            match self.scan() {
                Ok(true) => {
                    self.after = None;
                    self.progress.end();
                    // The next one finds what other writers have linked meanwhile.
                    self.wait(self.progress.rest());
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
        let progress = &mut self.progress;
        let (end, last) = (&self.end, &mut self.after);
        let mut visit = |step: ScanEvent<'_>| {
            match step {
                ScanEvent::Link {
                    repository,
                    digest,
                    is_there,
                } => {
                    if is_there {
                        progress.link(repository, digest);
                    }
                    pace.step(progress);
                }
                ScanEvent::Directory { name, listing } => {
                    progress.directory(name, listing);
                    pace.step(progress);
                }
                ScanEvent::Unreadable(error) => {
                    progress.unreadable(error);
                    pace.step(progress);
                }
                ScanEvent::Repository(repository) => {
                    progress.repository();
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

    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.end.is_cancelled() && Instant::now() < until {
            std::thread::sleep(BEAT);
        }
    }
}

/// Throttles the scan.
struct ScanThrottle {
    steps: u32,
    turn: Instant,
}

impl ScanThrottle {
    fn new() -> Self {
        Self {
            steps: 0,
            turn: Instant::now(),
        }
    }

    fn step(&mut self, progress: &mut ScanProgress) {
        self.steps += 1;
        if !self.steps.is_multiple_of(AT_A_TIME) {
            return;
        }
        std::thread::sleep(TURN.saturating_sub(self.turn.elapsed()));
        self.turn = Instant::now();
        progress.log();
    }
}

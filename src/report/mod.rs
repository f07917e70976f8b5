//! `crossmount report`: what a registry's store holds, and how often it was sent. It only reads,
//! and an operator can run it before an installation.
//!
//! First every link is scanned, and `links` keeps only its digest: 32 bytes each. Then the blobs
//! are scanned in the order of their digests, so that none need be kept. `totals` holds the result,
//! and `text` prints it for people. `bucket` does the same by lists of an object store. `source`
//! says where the store is.

mod bucket;
mod links;
mod source;
mod text;
mod totals;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub use source::ReportSource;
pub use totals::{Amount, Damage, Report, SharedLayers};

use crate::config::Durability;
use crate::report::links::LinkRows;
use crate::store::bucket::{BucketError, BucketOpenError};
use crate::store::{
    Filesystem, Lookup, OpenStore, ScanEvent, ScannedBlob, StaleTempFiles, StoreError,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No registry has written here.
    #[error(
        "{} holds no registry: set --root to the registry's rootdirectory, which contains docker/registry/v2",
        .0.display()
    )]
    NoStore(PathBuf),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket cannot be listed.
    #[error("the bucket {bucket}: {cause}{}", hint(cause))]
    Bucket {
        /// The bucket or container.
        bucket: String,
        /// Why.
        cause: BucketError,
    },
    /// No registry has written there.
    #[error("the bucket {bucket} holds no registry: it has no object below {base}")]
    EmptyBucket {
        /// The bucket or container.
        bucket: String,
        /// Where the registry's keys would begin.
        base: String,
    },
    /// The configuration of the bucket cannot be used.
    #[error(transparent)]
    Open(#[from] BucketOpenError),
    /// Metrics cannot be made.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// What was named does not say where the store is.
    #[error("{0}")]
    Source(String),
}

/// What the operator can do about a list that failed.
fn hint(cause: &BucketError) -> &'static str {
    match cause {
        BucketError::Denied { .. } => ": it takes credentials that may list the bucket",
        BucketError::Other(_) | BucketError::Timeout => {
            ": can this host reach it, and are there credentials in the environment?"
        }
        _ => "",
    }
}

/// Reports on a store. Directories or objects that cannot be read are counted in the report.
pub async fn report(source: &ReportSource) -> Result<Report, ReportError> {
    match source {
        ReportSource::Directory(root) => report_directory(root),
        ReportSource::Bucket(bucket) => bucket::report(bucket).await,
    }
}

/// Scans the store below `root`, as any user who may read it.
///
/// Single directories that cannot be read are counted in the report.
fn report_directory(root: &Path) -> Result<Report, ReportError> {
    let store = Filesystem::new(root, Durability::None);
    let found = store.on_open_to_read(|store| {
        let mut report = Report::default();
        let progress = Progress::start();
        let mut links = walk(store, &mut report, &progress)?;
        compare(store, &mut links, &mut report, &progress);
        progress.end();
        Ok(report)
    })?;
    found.ok_or_else(|| ReportError::NoStore(root.to_owned()))
}

/// Scans all links, and records those that are damaged.
fn walk(
    store: &OpenStore<'_>,
    report: &mut Report,
    progress: &Progress,
) -> Result<LinkRows, StoreError> {
    let mut links = LinkRows::default();
    let mut visit = |step: ScanEvent<'_>| {
        match step {
            ScanEvent::Link {
                repository,
                digest,
                is_there: true,
            } => {
                report.links += 1;
                match store.look_up(repository, digest) {
                    // The link is valid, and a mount of it saves no byte.
                    Ok(Lookup::Here(_)) if digest.names_nothing() => {}
                    Ok(Lookup::Here(_)) => links.add(digest),
                    Ok(Lookup::SourceMissing) => report.damage.broken_link(repository, digest),
                    Ok(Lookup::BlobMissing) => report.damage.dangling_link(repository, digest),
                    Err(error) => report.damage.unreadable(&error),
                }
                progress.link(report);
            }
            ScanEvent::Link { .. } | ScanEvent::Directory { .. } => {}
            ScanEvent::Repository(_) => report.repositories += 1,
            ScanEvent::Unreadable(error) => report.damage.unreadable(error),
        }
        ControlFlow::Continue(())
    };
    store.scan(None, StaleTempFiles::Leave, &mut visit)?;
    Ok(links)
}

/// Counts the links of each blob.
fn compare(store: &OpenStore<'_>, links: &mut LinkRows, report: &mut Report, progress: &Progress) {
    progress.blobs_begin();
    for first in 0..=u8::MAX {
        let mut row = links.row(first);
        // The visitor never breaks off.
        let _ = store.blobs(first, &mut |blob| {
            match blob {
                ScannedBlob::Whole { digest, .. } if digest.names_nothing() => {}
                ScannedBlob::Whole { digest, size } => report.blob(digest, size, row.count(digest)),
                ScannedBlob::Absent(digest) => report.damage.empty_blob(digest),
                ScannedBlob::Unreadable(error) => report.damage.unreadable(error),
            }
            ControlFlow::Continue(())
        });
        progress.row_done();
    }
    report.finish();
}

/// How often the line is redrawn while nothing changes.
const TICK: Duration = Duration::from_millis(200);
/// How many links are counted between two updates.
const EVERY: u64 = 256;

/// A line on standard error, if that is a terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub(crate) fn link(&self, report: &Report) {
        if report.links.is_multiple_of(EVERY) {
            let (repositories, links) = (report.repositories, report.links);
            self.0
                .set_message(format!("{repositories} repositories, {links} links"));
        }
    }

    /// One more page of blobs; the total is not known.
    pub(crate) fn blobs(&self, count: usize) {
        self.0.set_message(format!("{count} blobs"));
    }

    /// From here on the total is known.
    pub(crate) fn blobs_begin(&self) {
        self.0.set_length(256);
        self.0.set_position(0);
        let style = ProgressStyle::with_template("{bar:40} {percent}% of the blobs, {eta} left");
        if let Ok(style) = style {
            self.0.set_style(style);
        }
    }

    pub(crate) fn row_done(&self) {
        self.0.inc(1);
    }

    pub(crate) fn end(self) {
        self.0.finish_and_clear();
    }
}

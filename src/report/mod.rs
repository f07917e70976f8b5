//! `crossmount report`: what a registry's store holds, and how often it was sent, before anybody
//! installs anything. It only reads.
//!
//! First every link of a layer is looked at, and only its digest is kept, in `links`: 32 bytes
//! each. Then the blobs come by in the order of their digests, so that none of them need be kept.
//! `counted` is what comes out, `words` says it to people, and `progress` shows how far it is.

mod links;
mod progress;
mod text;
mod totals;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use totals::{Amount, Damage, Report, SharedLayers};

use crate::config::Durability;
use crate::report::links::LinkRows;
use crate::report::progress::Progress;
use crate::store::{
    Filesystem, Lookup, OpenStore, ScanEvent, ScannedBlob, StaleTempFiles, StoreError,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No registry has written here.
    #[error(
        "{} holds no registry: --root must be its rootdirectory, in which it has made docker/registry/v2",
        .0.display()
    )]
    NoStore(PathBuf),
    /// The disk gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks through the store below `root`, as any user who may read it.
///
/// [`ReportError`]; single directories that cannot be read are counted in the report.
pub fn report(root: &Path) -> Result<Report, ReportError> {
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

/// All links of layers, and what is wrong with some of them.
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
                    // It is whole, and spares nobody a byte.
                    Ok(Lookup::Here(_)) if digest.names_nothing() => {}
                    Ok(Lookup::Here(_)) => links.add(digest),
                    Ok(Lookup::SourceMissing) => report.damage.broken_link(repository, digest),
                    Ok(Lookup::BlobMissing) => report.damage.dangling_link(repository, digest),
                    Err(error) => report.damage.unreadable(&error),
                }
                progress.link(report);
            }
            ScanEvent::Link { .. } | ScanEvent::Folder => {}
            ScanEvent::Repository(_) => report.repositories += 1,
            ScanEvent::Unreadable(error) => report.damage.unreadable(error),
        }
        ControlFlow::Continue(())
    };
    store.scan(None, StaleTempFiles::Leave, &mut visit)?;
    Ok(links)
}

/// How often each blob is linked.
fn compare(store: &OpenStore<'_>, links: &mut LinkRows, report: &mut Report, progress: &Progress) {
    progress.blobs_begin();
    for first in 0..=u8::MAX {
        let mut row = links.row(first);
        // It never has enough.
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

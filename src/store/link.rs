//! Writes a layer link: whole, as durable as configured, never visible half-written.

use std::fs::File;
use std::io::Write;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use uuid::Uuid;

use crate::auth::Grant;
use crate::config::Durability;
use crate::oci::Digest;
use crate::store::layout;
use crate::store::open::{OpenStore, StoreError, StoredLink};
use crate::store::unsynced_dirs::SETTLED;

/// The name of the file that makes a layer part of a repository.
pub(crate) const NAME: &str = "link";
/// Precedes the UUID in the name of crossmount's temporary files.
const OURS: &str = "link.crossmount.";
const TEMPORARY: &str = ".tmp";

/// Whether a file name is that of a link that crossmount has not renamed into place yet.
pub(crate) fn is_temporary(name: &str) -> bool {
    let identifier = name.strip_prefix(OURS);
    let identifier = identifier.and_then(|rest| rest.strip_suffix(TEMPORARY));
    identifier.is_some_and(|text| Uuid::try_parse(text).is_ok())
}

/// How the writing of a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkResult {
    /// crossmount wrote the link.
    Written,
    /// The link existed and was left as it is.
    AlreadyLinked,
    /// The link is in place, but the blob's data disappeared meanwhile, so no mount is confirmed.
    BlobGone,
    /// Nothing was written or confirmed: permission was revoked before the link was visible.
    Revoked,
}

impl OpenStore<'_> {
    /// Links `digest` into the grant's target.
    ///
    /// `still_allowed` is checked just before the link becomes visible, or an existing one is
    /// confirmed. The blob's data is checked again once the link is in place. A link is never
    /// removed again.
    ///
    /// After a [`StoreError`] nothing is left behind but directories.
    pub fn link(
        &self,
        grant: &Grant,
        digest: &Digest,
        still_allowed: &dyn Fn() -> bool,
    ) -> Result<LinkResult, StoreError> {
        let directory = layout::link_directory(grant.target(), digest);
        let path = layout::layer_link(grant.target(), digest);
        let linked = match self.existing_link(&path, digest)? {
            Some(link) => self.confirm_durable(&directory, &link, still_allowed)?,
            // An empty or torn link of a crashed writer is replaced like a missing one.
            None => self.write(&directory, &path, digest, still_allowed)?,
        };
        match linked {
            LinkResult::Written | LinkResult::AlreadyLinked
                if self.data_size(digest)?.is_none() =>
            {
                Ok(LinkResult::BlobGone)
            }
            linked => Ok(linked),
        }
    }

    fn write(
        &self,
        directory: &str,
        path: &str,
        digest: &Digest,
        still_allowed: &dyn Fn() -> bool,
    ) -> Result<LinkResult, StoreError> {
        let durability = self.filesystem.durability;
        self.create_directories(directory)?;
        let temporary = format!("{directory}/{OURS}{}{TEMPORARY}", Uuid::new_v4());
        let written = self.write_temporary(&temporary, digest).and_then(|()| {
            // Another host may have written the link meanwhile. If crossmount replaced it, that
            // host's registry would meet a stale handle and answer 500.
            if let Some(link) = self.existing_link(path, digest)? {
                return self.confirm_durable(directory, &link, still_allowed);
            }
            if !still_allowed() {
                return Ok(LinkResult::Revoked);
            }
            self.rename(&temporary, path, digest)?;
            Ok(LinkResult::Written)
        });
        if !matches!(written, Ok(LinkResult::Written)) {
            self.remove(&temporary);
        }
        if durability == Durability::Full && matches!(written, Ok(LinkResult::Written)) {
            self.sync_directory(directory)?;
            self.sync_made(directory)?;
        }
        written
    }

    /// Writes the link's bytes into a file beside it: `blobs/` may be on another filesystem.
    fn write_temporary(&self, path: &str, digest: &Digest) -> Result<(), StoreError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let open = || rustix::fs::openat(&self.directory, path, flags, mode);
        let mut file = File::from(retry_on_intr(open).map_err(StoreError::call("open", path))?);
        file.write_all(digest.as_str().as_bytes())
            .map_err(|cause| Errno::from_io_error(&cause).unwrap_or(Errno::IO))
            .map_err(StoreError::call("write", path))?;
        if self.filesystem.durability != Durability::None {
            retry_on_intr(|| rustix::fs::fsync(&file)).map_err(StoreError::call("fsync", path))?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str, digest: &Digest) -> Result<(), StoreError> {
        let rename = || rustix::fs::renameat(&self.directory, from, &self.directory, to);
        match retry_on_intr(rename) {
            Ok(()) => Ok(()),
            // NFS may send a rename twice, and the first did the work: check before failing.
            Err(Errno::NOENT) if self.existing_link(to, digest)?.is_some() => Ok(()),
            Err(errno) => Err(StoreError::call("rename", to)(errno)),
        }
    }

    /// The link at a path, if it holds the digest.
    fn existing_link(&self, path: &str, digest: &Digest) -> Result<Option<StoredLink>, StoreError> {
        let link = self.read_link(path)?;
        Ok(link.filter(|link| link.content == digest.as_str().as_bytes()))
    }

    /// Confirms a link that exists already, once it is durable.
    fn confirm_durable(
        &self,
        directory: &str,
        link: &StoredLink,
        still_allowed: &dyn Fn() -> bool,
    ) -> Result<LinkResult, StoreError> {
        self.settle(directory, link)?;
        // The sync may have outlasted the time budget.
        Ok(if still_allowed() {
            LinkResult::AlreadyLinked
        } else {
            LinkResult::Revoked
        })
    }

    /// Makes an existing link as durable as one of crossmount's own before it is confirmed.
    ///
    /// Another mount may have written it and not synced it yet, or crashed before it could.
    fn settle(&self, directory: &str, link: &StoredLink) -> Result<(), StoreError> {
        let age = link
            .written
            .and_then(|written| SystemTime::now().duration_since(written).ok());
        let durability = self.filesystem.durability;
        if durability == Durability::None || age.is_some_and(|age| age > SETTLED) {
            return Ok(());
        }
        retry_on_intr(|| rustix::fs::fsync(&link.file))
            .map_err(StoreError::call("fsync", directory))?;
        match durability {
            Durability::Full => self.sync_ancestry(directory),
            Durability::File | Durability::None => Ok(()),
        }
    }

    /// Removes crossmount's temporary file; the registry ignores one that stays behind.
    fn remove(&self, path: &str) {
        let unlink = || rustix::fs::unlinkat(&self.directory, path, AtFlags::empty());
        if let Err(error) = retry_on_intr(unlink) {
            tracing::debug!(path, %error, "temporary file not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{Fixture, digest, grant};
    use std::os::unix::fs::MetadataExt;

    const TARGET: &str = "org/target";

    fn link(fixture: &Fixture, allowed: bool) -> LinkResult {
        fixture
            .store
            .on_open(|store| store.link(&grant(TARGET), &digest(), &|| allowed))
            .unwrap()
            .unwrap()
    }

    fn entries(fixture: &Fixture) -> Vec<String> {
        std::fs::read_dir(fixture.link_path(TARGET).parent().unwrap())
            .map(|entries| {
                entries
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default()
    }

    #[test]
    fn a_link_holds_seventy_one_bytes_and_nothing_stays_beside_it() {
        for durability in [Durability::Full, Durability::File, Durability::None] {
            let fixture = Fixture::with(durability);
            fixture.write_blob(b"layer");
            assert_eq!(link(&fixture, true), LinkResult::Written);
            let content = std::fs::read(fixture.link_path(TARGET)).unwrap();
            assert_eq!(content, digest().as_str().as_bytes());
            assert_eq!(entries(&fixture), ["link"]);
        }
    }

    #[test]
    fn an_existing_link_is_left_as_it_is() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link(TARGET, digest().as_str());
        let before = std::fs::metadata(fixture.link_path(TARGET)).unwrap();
        assert_eq!(link(&fixture, true), LinkResult::AlreadyLinked);
        let after = std::fs::metadata(fixture.link_path(TARGET)).unwrap();
        assert_eq!(before.ino(), after.ino());
        assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    }

    #[test]
    fn an_empty_link_of_a_crashed_writer_is_replaced() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link(TARGET, "");
        assert_eq!(link(&fixture, true), LinkResult::Written);
        let content = std::fs::read(fixture.link_path(TARGET)).unwrap();
        assert_eq!(content, digest().as_str().as_bytes());
    }

    #[test]
    fn what_is_no_longer_allowed_becomes_no_link() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        assert_eq!(link(&fixture, false), LinkResult::Revoked);
        assert!(entries(&fixture).is_empty());
    }

    #[test]
    fn an_existing_link_is_not_confirmed_when_that_is_no_longer_allowed() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link(TARGET, digest().as_str());
        assert_eq!(link(&fixture, false), LinkResult::Revoked);
        assert_eq!(entries(&fixture), ["link"]);
        assert_eq!(link(&fixture, true), LinkResult::AlreadyLinked);
    }

    #[test]
    fn vanished_data_is_reported_and_the_link_stays() {
        let fixture = Fixture::new();
        assert_eq!(link(&fixture, true), LinkResult::BlobGone);
        assert_eq!(entries(&fixture), ["link"]);
    }

    #[test]
    fn many_writers_of_one_link_all_succeed() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    assert!(matches!(
                        link(&fixture, true),
                        LinkResult::Written | LinkResult::AlreadyLinked
                    ));
                });
            }
        });
        assert_eq!(entries(&fixture), ["link"]);
    }
}

//! Is the digest linked in the source, and is its data there?

use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType};
use rustix::io::{Errno, retry_on_intr};

use super::filesystem::{OpenStore, StoreError};
use super::layout;
use crate::oci::{Digest, RepositoryName};

/// What the disk says about a source and a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Located {
    /// The source links the digest and its data is there.
    Here {
        /// Bytes of data.
        size: u64,
    },
    /// The source has no link, or one that does not hold the digest.
    SourceMissing,
    /// The link is there, the data is not, or it is empty.
    BlobMissing,
}

impl OpenStore<'_> {
    /// Looks for the source's link and the blob's data.
    ///
    /// # Errors
    /// [`StoreError`] where the disk gave no answer; absence is none.
    pub fn locate(&self, source: &RepositoryName, digest: &Digest) -> Result<Located, StoreError> {
        let link = self.read_link(&layout::layer_link(source, digest))?;
        if link.is_none_or(|link| link.content != digest.as_str().as_bytes()) {
            return Ok(Located::SourceMissing);
        }
        Ok(match self.data_size(digest)? {
            Some(size) => Located::Here { size },
            None => Located::BlobMissing,
        })
    }

    /// Whether `repository` holds a link to `digest` that was written at `since` or later.
    ///
    /// # Errors
    /// [`StoreError`] where the disk gave no answer.
    pub fn is_linked_since(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        since: SystemTime,
    ) -> Result<bool, StoreError> {
        let link = self.read_link(&layout::layer_link(repository, digest))?;
        Ok(link.is_some_and(|link| {
            link.content == digest.as_str().as_bytes()
                && link.written.is_some_and(|written| written >= since)
        }))
    }

    /// Bytes of the blob's data; `None` where it is absent, empty or no file.
    pub(super) fn data_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = layout::blob_data(digest);
        let stat = || rustix::fs::statat(&self.folder, &path, AtFlags::empty());
        let stat = match retry_on_intr(stat) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(StoreError::call("stat", &path)(errno)),
        };
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let size = u64::try_from(stat.st_size).ok();
        Ok(size.filter(|&size| is_file && size > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, digest, name};
    use super::*;
    use std::time::Duration;

    fn locate(fixture: &Fixture) -> Option<Located> {
        fixture
            .store
            .on_open(|store| store.locate(&name("src"), &digest()))
            .unwrap()
    }

    #[test]
    fn a_linked_blob_with_data_is_here() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link("src", digest().as_str());
        assert_eq!(locate(&fixture), Some(Located::Here { size: 5 }));
    }

    #[test]
    fn a_link_that_does_not_hold_the_digest_is_no_link() {
        for content in [
            String::new(),
            format!("{}\n", digest()),
            format!("sha256:{}", "0".repeat(64)),
            digest().as_str()[..70].to_owned(),
        ] {
            let fixture = Fixture::new();
            fixture.write_blob(b"layer");
            fixture.write_link("src", &content);
            assert_eq!(
                locate(&fixture),
                Some(Located::SourceMissing),
                "{content:?}"
            );
        }
    }

    #[test]
    fn absent_or_empty_data_is_a_missing_blob() {
        let fixture = Fixture::new();
        fixture.write_link("src", digest().as_str());
        assert_eq!(locate(&fixture), Some(Located::BlobMissing));
        fixture.write_blob(b"");
        assert_eq!(locate(&fixture), Some(Located::BlobMissing));
    }

    #[test]
    fn an_empty_volume_has_no_store() {
        let fixture = Fixture::empty();
        assert_eq!(locate(&fixture), None);
    }

    #[test]
    fn only_a_link_written_since_then_counts_as_seen() {
        let fixture = Fixture::new();
        let before = SystemTime::now() - Duration::from_secs(60);
        let later = SystemTime::now() + Duration::from_secs(60);
        let seen = |since| {
            fixture
                .store
                .on_open(|store| store.is_linked_since(&name("src"), &digest(), since))
                .unwrap()
                .unwrap()
        };
        fixture.write_link("src", digest().as_str());
        assert!(seen(before));
        assert!(!seen(later));
        fixture.write_link("src", "");
        assert!(!seen(before));
    }
}

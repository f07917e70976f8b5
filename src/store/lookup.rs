//! Looks up whether the source links the digest, and whether the blob's data exists.

use std::fs::File;
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::oci::{Digest, RepositoryName};
use crate::store::layout;
use crate::store::open::{OpenStore, StoreError};

/// What the store holds of a source's link and its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The source links the digest, and the blob's data exists.
    Here(BlobData),
    /// The source has no link, or one that does not hold the digest.
    SourceMissing,
    /// The link exists, but the data does not, or is empty though the digest names bytes.
    BlobMissing,
}

/// A blob's data file, as the filesystem describes it.
///
/// While none of this changes, the bytes are taken as unchanged too. The registry writes a blob's
/// data once, and any later write changes the modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobData {
    /// The length in bytes.
    pub size: u64,
    file: (u64, u64),
    modified: (i64, u64),
}

impl BlobData {
    /// `None` if it is no regular file, or empty though the digest names bytes: a registry that
    /// crashes leaves such files behind.
    fn of(stat: &Stat, digest: &Digest) -> Option<Self> {
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let size = u64::try_from(stat.st_size).ok();
        let size = size.filter(|&size| is_file && (size > 0 || digest.names_nothing()))?;
        Some(Self {
            size,
            file: (stat.st_dev, stat.st_ino),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        })
    }

    /// Describes an open file; `None` for the same reasons as a missing blob.
    pub fn of_open(file: &File, digest: &Digest) -> std::io::Result<Option<Self>> {
        Ok(Self::of(&rustix::fs::fstat(file)?, digest))
    }

    /// When the data was last written, by the store's clock.
    pub fn written(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.modified;
        let since = Duration::from_secs(u64::try_from(seconds).ok()?);
        let since = since.checked_add(Duration::from_nanos(nanoseconds))?;
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    /// Whether both describe the same file, whatever its content.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl OpenStore<'_> {
    /// Looks up the source's link and the blob's data; a missing one is no error.
    pub fn look_up(&self, source: &RepositoryName, digest: &Digest) -> Result<Lookup, StoreError> {
        let link = self.read_link(&layout::layer_link(source, digest))?;
        if link.is_none_or(|link| link.content != digest.as_str().as_bytes()) {
            return Ok(Lookup::SourceMissing);
        }
        Ok(match self.data(digest)? {
            Some(data) => Lookup::Here(data),
            None => Lookup::BlobMissing,
        })
    }

    /// Whether anything was ever pushed to or linked into `repository`.
    pub fn has_repository(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        for path in layout::repository_directories(repository) {
            if self.stat(&path)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the registry deleted a layer from `repository` at `since` or later, whichever
    /// process passed the request on.
    ///
    /// The registry removes the link and leaves its directory empty
    /// (`registry/storage/linkedblobstore.go`, `linkedBlobStatter.Clear`), whose time of change is
    /// that of the deletion. The directory of a mount in flight is not empty: its temporary file is
    /// there. A mount that failed leaves it empty too. Then the client uploads the layer, as it
    /// would without crossmount.
    pub fn was_deleted_since(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        since: SystemTime,
    ) -> Result<bool, StoreError> {
        let directory = layout::link_directory(repository, digest);
        let Some(stat) = self.stat(&directory)? else {
            return Ok(false);
        };
        let since = since
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let is_recent = i64::try_from(since.as_secs()).is_ok_and(|since| stat.st_mtime >= since);
        Ok(is_recent && self.entries(&directory)?.is_empty())
    }

    /// Whether `repository` holds a link to `digest` that was written at `since` or later.
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

    /// The blob's data; `None` if it is absent, no file, or empty though the digest names bytes.
    pub fn data(&self, digest: &Digest) -> Result<Option<BlobData>, StoreError> {
        let stat = self.stat(&layout::blob_data(digest))?;
        Ok(stat.and_then(|stat| BlobData::of(&stat, digest)))
    }

    /// The length of the blob's data; `None` as for [`OpenStore::data`].
    pub(crate) fn data_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.data(digest)?.map(|data| data.size))
    }

    /// Opens the blob's data for reading; `None` if there is no such file.
    pub fn open_data(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = layout::blob_data(digest);
        // NONBLOCK: opening must not wait, whatever kind of file this is.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let open = || rustix::fs::openat(&self.directory, &path, flags, Mode::empty());
        match retry_on_intr(open) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(StoreError::call("open", &path)(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{Fixture, digest, name};

    fn locate(fixture: &Fixture) -> Option<Lookup> {
        fixture
            .store
            .on_open(|store| store.look_up(&name("src"), &digest()))
            .unwrap()
    }

    #[test]
    fn a_linked_blob_with_data_is_here() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link("src", digest().as_str());
        let Some(Lookup::Here(data)) = locate(&fixture) else {
            panic!("{:?}", locate(&fixture))
        };
        assert_eq!(data.size, 5);
    }

    #[test]
    fn only_an_empty_directory_that_changed_since_shows_a_deletion() {
        let fixture = Fixture::new();
        let was_deleted = |since: SystemTime| {
            let found = fixture
                .store
                .on_open(|store| store.was_deleted_since(&name("dst"), &digest(), since));
            found.unwrap().unwrap()
        };
        let now = SystemTime::now();
        let an_hour_ago = now - Duration::from_secs(3600);
        assert!(!was_deleted(an_hour_ago), "nothing was ever there");
        let directory = fixture.link_path("dst").parent().unwrap().to_owned();
        std::fs::create_dir_all(&directory).unwrap();
        assert!(was_deleted(an_hour_ago));
        assert!(!was_deleted(now + Duration::from_secs(3600)));
        // A mount of another process, just before its rename.
        let temporary = directory.join("link.crossmount.0.tmp");
        std::fs::write(&temporary, "").unwrap();
        assert!(!was_deleted(an_hour_ago));
        std::fs::remove_file(temporary).unwrap();
        fixture.write_link("dst", digest().as_str());
        assert!(!was_deleted(an_hour_ago));
    }

    #[test]
    fn a_repository_is_there_once_something_was_pushed_to_it() {
        let fixture = Fixture::new();
        let is_there = |text: &str| {
            let found = fixture
                .store
                .on_open(|store| store.has_repository(&name(text)));
            found.unwrap().unwrap()
        };
        for directory in ["_layers", "_manifests", "_uploads"] {
            let text = format!("team/{}", &directory[1..]);
            assert!(!is_there(&text));
            let path = format!("repositories/{text}/{directory}");
            std::fs::create_dir_all(fixture.path(&path)).unwrap();
            assert!(is_there(&text), "{directory}");
        }
        assert!(!is_there("team"), "another one is below it");
    }

    #[test]
    fn data_that_is_touched_or_replaced_is_not_taken_for_the_same() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        let data = || {
            let data = fixture.store.on_open(|store| store.data(&digest()));
            data.unwrap().unwrap().unwrap()
        };
        let path = fixture.path(&layout::blob_data(&digest()));
        let file = || File::options().write(true).open(&path).unwrap();
        let before = data();
        assert_eq!(before, data());
        assert_eq!(BlobData::of_open(&file(), &digest()).unwrap(), Some(before));
        let later = SystemTime::now() + Duration::from_secs(1);
        file().set_modified(later).unwrap();
        let touched = data();
        assert_ne!(before, touched);
        assert!(before.is_same_file(&touched));
        let copy = path.with_extension("copy");
        std::fs::copy(&path, &copy).unwrap();
        File::options()
            .write(true)
            .open(&copy)
            .unwrap()
            .set_modified(later)
            .unwrap();
        std::fs::rename(&copy, &path).unwrap();
        let replaced = data();
        assert_ne!(touched, replaced);
        assert!(!touched.is_same_file(&replaced));
        file().set_len(4).unwrap();
        file().set_modified(later).unwrap();
        assert_ne!(replaced, data());
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
            assert_eq!(locate(&fixture), Some(Lookup::SourceMissing), "{content:?}");
        }
    }

    #[test]
    fn absent_or_empty_data_is_a_missing_blob() {
        let fixture = Fixture::new();
        fixture.write_link("src", digest().as_str());
        assert_eq!(locate(&fixture), Some(Lookup::BlobMissing));
        fixture.write_blob(b"");
        assert_eq!(locate(&fixture), Some(Lookup::BlobMissing));
    }

    #[test]
    fn of_the_digest_of_nothing_an_empty_file_is_the_whole_data() {
        let fixture = Fixture::new();
        let nothing = Digest::of(b"");
        let located = || {
            let located = fixture
                .store
                .on_open(|store| store.look_up(&name("src"), &nothing));
            located.unwrap().unwrap()
        };
        for (path, content) in [
            (layout::layer_link(&name("src"), &nothing), nothing.as_str()),
            (layout::blob_data(&nothing), ""),
        ] {
            assert!(!matches!(located(), Lookup::Here(_)), "{path}");
            let path = fixture.path(&path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        assert!(matches!(located(), Lookup::Here(data) if data.size == 0));
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

//! Finds the file in which Pulp stores a blob's bytes.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::oci::Digest;

/// The most domains that are searched.
const DOMAINS: usize = 1024;
/// How many bytes are read at once.
const CHUNK: usize = 256 * 1024;
/// The length of a domain's identifier, in characters.
const UUID: usize = 36;

/// Pulp's artifacts below its `MEDIA_ROOT`.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactStore(PathBuf);

/// One open artifact.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// The file, positioned at its beginning.
    pub file: File,
    /// The length in bytes.
    pub size: u64,
}

impl Artifact {
    /// The same artifact at its beginning, if its bytes have the digest.
    pub(crate) fn checked(mut self, digest: &Digest) -> io::Result<Self> {
        let (mut hash, mut left) = (Sha256::new(), self.size);
        let mut chunk = vec![0; CHUNK];
        while left > 0 {
            match (&self.file).take(left).read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    hash.update(&chunk[..read]);
                    left -= read as u64;
                }
            }
        }
        if !digest.names(&hash.finalize()) {
            return Err(io::Error::other("its bytes are not what its name says"));
        }
        self.file.rewind()?;
        Ok(self)
    }
}

/// Why artifacts cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "store.artifacts.rootdirectory: {path}: {cause}; set it to Pulp's MEDIA_ROOT, and let this user read it"
)]
pub struct ArtifactStoreError {
    path: PathBuf,
    cause: io::Error,
}

impl ArtifactStore {
    /// Checks that the directory is readable; Pulp creates `artifact` below it with its first one.
    pub(crate) fn open(media_root: &Path) -> Result<Self, ArtifactStoreError> {
        let artifacts = media_root.join("artifact");
        let fault = |path: &Path, cause| ArtifactStoreError {
            path: path.to_owned(),
            cause,
        };
        std::fs::read_dir(media_root).map_err(|cause| fault(media_root, cause))?;
        match std::fs::read_dir(&artifacts) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(fault(&artifacts, cause)),
            _ => Ok(Self(artifacts)),
        }
    }

    /// The artifact with this digest, in any domain; `None` if it is empty.
    ///
    /// Pulp has decided whether the caller may have it, and the bytes are hashed later.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Artifact> {
        let (directory, file) = digest.hex().split_at(2);
        open(&self.0.join(directory).join(file)).or_else(|| {
            let domains = self.domains();
            domains
                .into_iter()
                .find_map(|domain| open(&domain.join(directory).join(file)))
        })
    }

    fn domains(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names_domain = |path: &PathBuf| {
            let name = path.file_name().map(std::ffi::OsStr::len);
            name == Some(UUID)
        };
        let paths = entries.map(|entry| entry.path());
        paths.filter(names_domain).take(DOMAINS).collect()
    }
}

fn open(path: &Path) -> Option<Artifact> {
    let file = File::open(path).ok()?;
    let about = file.metadata().ok()?;
    let is_usable = about.is_file() && about.len() > 0;
    is_usable.then(|| Artifact {
        size: about.len(),
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HEX: &str = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

    fn place(root: &Path, domain: &str, bytes: &[u8]) {
        let directory = root.join("artifact").join(domain).join(&HEX[..2]);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(&HEX[2..]), bytes).unwrap();
    }

    fn find_size(root: &Path) -> Option<u64> {
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        let artifact = ArtifactStore::open(root).unwrap().find(&digest);
        artifact.map(|artifact| artifact.size)
    }

    #[test]
    fn an_artifact_is_found_with_and_without_domains() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(find_size(root.path()), None);
        place(root.path(), "", b"");
        assert_eq!(find_size(root.path()), None);
        place(root.path(), "0190b3a2-8a4e-7c31-9d3c-0d6f3d2f8e11", b"four");
        assert_eq!(find_size(root.path()), Some(4));
        place(root.path(), "", b"seven..");
        assert_eq!(find_size(root.path()), Some(7));
    }

    #[test]
    fn only_right_bytes_are_taken_and_all_of_them() {
        let root = tempfile::tempdir().unwrap();
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        let artifacts = ArtifactStore::open(root.path()).unwrap();
        place(root.path(), "", b"wrong");
        let wrong = artifacts.find(&digest).unwrap().checked(&digest);
        assert!(wrong.is_err());
        // The hash of "hello" and a newline.
        let hello = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let right = Digest::parse(&format!("sha256:{hello}")).unwrap();
        let directory = root.path().join("artifact").join(&hello[..2]);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(&hello[2..]), "hello\n").unwrap();
        let mut artifact = artifacts.find(&right).unwrap().checked(&right).unwrap();
        let mut bytes = String::new();
        artifact.file.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "hello\n");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let root = tempfile::tempdir().unwrap();
        let fault = ArtifactStore::open(&root.path().join("media")).unwrap_err();
        let text = fault.to_string();
        assert!(
            text.starts_with("store.artifacts.rootdirectory: "),
            "{text}"
        );
        assert!(text.contains("media"), "{text}");
    }
}

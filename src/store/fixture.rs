//! A store for unit tests.

use std::path::PathBuf;

use crate::auth::Grant;
use crate::config::Durability;
use crate::oci::{Digest, RepositoryName};
use crate::store::layout;
use crate::store::open::Filesystem;

pub(crate) struct Fixture {
    directory: tempfile::TempDir,
    pub store: Filesystem,
}

pub(crate) fn digest() -> Digest {
    Digest::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap()
}

pub(crate) fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

pub(crate) fn grant(target: &str) -> Grant {
    Grant::for_test(&name(target), &name("src"))
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(Durability::Full)
    }

    pub fn with(durability: Durability) -> Self {
        let mut fixture = Self::empty();
        fixture.store = Filesystem::new(fixture.directory.path(), durability);
        std::fs::create_dir_all(fixture.path("repositories")).unwrap();
        fixture
    }

    /// A volume on which the registry has not yet run.
    pub fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Filesystem::new(directory.path(), Durability::Full);
        Self { directory, store }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory
            .path()
            .join(layout::VERSION_DIRECTORY)
            .join(relative)
    }

    pub fn link_path(&self, repository: &str) -> PathBuf {
        self.path(&layout::layer_link(&name(repository), &digest()))
    }

    pub fn write_link(&self, repository: &str, content: &str) {
        let path = self.link_path(repository);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn write_blob(&self, data: &[u8]) {
        let path = self.path(&layout::blob_data(&digest()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }
}

//! Paths within the store, relative to [`VERSION_DIRECTORY`] (`registry/storage/paths.go`).

use crate::oci::{Digest, RepositoryName};

/// The store's directory below the registry's `rootdirectory`.
pub(crate) const VERSION_DIRECTORY: &str = "docker/registry/v2";

/// The name of the file that makes a layer part of a repository.
pub(crate) const LINK: &str = "link";

/// The directory of all repositories.
const REPOSITORIES: &str = "repositories";
/// The directory of a repository's links and of nothing else: where it is, there is a repository.
pub(crate) const LAYERS: &str = "_layers";

/// The directory of the repositories whose names begin with `name`; of all if it is empty.
pub(crate) fn below_repositories(name: &str) -> String {
    if name.is_empty() {
        return REPOSITORIES.to_owned();
    }
    format!("{REPOSITORIES}/{name}")
}

/// The directory of a repository's layer links.
pub(crate) fn links(repository: &RepositoryName) -> String {
    format!("{REPOSITORIES}/{repository}/{LAYERS}/sha256")
}

/// The directory that holds one layer link.
pub(crate) fn link_directory(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{}/{}", links(repository), digest.hex())
}

/// The registry makes at least one of these with the first push to a repository.
pub(crate) fn repository_directories(repository: &RepositoryName) -> [String; 3] {
    [LAYERS, "_manifests", "_uploads"]
        .map(|directory| format!("{REPOSITORIES}/{repository}/{directory}"))
}

/// The layer link: its 71 bytes say that the repository holds the digest.
pub(crate) fn layer_link(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{}/{LINK}", link_directory(repository, digest))
}

/// The directory of all blobs whose digest begins with this byte.
pub(crate) fn blobs_beginning_with(first: u8) -> String {
    format!("blobs/sha256/{first:02x}")
}

/// The file with the blob's bytes.
pub(crate) fn blob_data(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/sha256/{}/{hex}/data", &hex[..2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_registry() {
        let hex = "ab".repeat(32);
        let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
        let name = RepositoryName::parse("org/image").unwrap();
        assert_eq!(
            layer_link(&name, &digest),
            format!("repositories/org/image/_layers/sha256/{hex}/link")
        );
        assert_eq!(blob_data(&digest), format!("blobs/sha256/ab/{hex}/data"));
    }
}

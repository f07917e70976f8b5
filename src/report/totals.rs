//! The numbers of a report.

use std::cmp::Reverse;

use serde::Serialize;

use crate::oci::{Digest, RepositoryName};

/// How many shared layers are listed.
const NAMED: usize = 10;
/// How many damaged things of each kind are listed.
const EXAMPLES: usize = 20;

/// A number of blobs, and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// The number of blobs.
    pub count: u64,
    /// The sum of their bytes.
    pub bytes: u64,
}

/// A layer that several repositories hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedLayers {
    /// The layer's digest.
    pub digest: String,
    /// The layer's length in bytes.
    pub size: u64,
    /// The number of repositories that hold it.
    pub repositories: u64,
}

/// Damage of one kind.
#[derive(Debug, Default, Serialize)]
pub struct Damaged {
    /// How often it occurs.
    pub count: u64,
    /// The first occurrences.
    pub examples: Vec<String>,
}

/// Damage in the store, by kind.
#[derive(Debug, Default, Serialize)]
pub struct Damage {
    /// Links that do not hold their own digest; to the registry they do not exist.
    pub broken_links: Damaged,
    /// Links to blobs without data: a pull of them fails, and a client that sends a HEAD must
    /// upload them again.
    pub dangling_links: Damaged,
    /// Blobs without data.
    pub empty_blobs: Damaged,
    /// What could not be read.
    pub unreadable: Damaged,
}

/// What a store holds, and how often it was sent.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Repositories with layers.
    pub repositories: u64,
    /// Links of layers and configurations.
    pub links: u64,
    /// All blobs.
    pub blobs: Amount,
    /// Those that a repository holds as a layer or configuration.
    pub layers: Amount,
    /// Layers that more than one repository holds.
    pub shared: Amount,
    /// Manifests, and blobs for the garbage collection.
    pub others: Amount,
    /// Bytes of layers, each as often as it is linked.
    pub linked_bytes: u64,
    /// Bytes that mounts could have saved at most: each layer's, for every repository but the
    /// first. Some of them may have been mounted.
    pub sparable_bytes: u64,
    /// The layers that cost most, in descending order.
    pub most_shared: Vec<SharedLayers>,
    /// Damage in the store.
    pub damage: Damage,
    /// How many lists of objects this report took, if the store is an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_calls: Option<u64>,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl SharedLayers {
    /// Bytes that were sent more than once.
    pub fn sparable(&self) -> u64 {
        self.size
            .saturating_mul(self.repositories.saturating_sub(1))
    }
}

impl Report {
    /// Counts a blob with so many links.
    pub(crate) fn blob(&mut self, digest: &Digest, size: u64, links: u64) {
        self.blobs.add(size);
        if links == 0 {
            self.others.add(size);
            return;
        }
        self.layers.add(size);
        self.linked_bytes = self.linked_bytes.saturating_add(size.saturating_mul(links));
        if links == 1 {
            return;
        }
        self.shared.add(size);
        let layer = SharedLayers {
            digest: digest.as_str().to_owned(),
            size,
            repositories: links,
        };
        self.sparable_bytes = self.sparable_bytes.saturating_add(layer.sparable());
        self.most_shared.push(layer);
        if self.most_shared.len() >= 100 * NAMED {
            self.finish();
        }
    }

    /// Keeps only the layers that cost most.
    pub(crate) fn finish(&mut self) {
        self.most_shared
            .sort_by_cached_key(|layer| (Reverse(layer.sparable()), layer.digest.clone()));
        self.most_shared.truncate(NAMED);
    }
}

impl Damaged {
    fn add(&mut self, what: String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(what);
        }
    }
}

impl Damage {
    pub(crate) fn broken_link(&mut self, repository: &RepositoryName, digest: &Digest) {
        self.broken_links.add(format!("{repository}@{digest}"));
    }

    pub(crate) fn dangling_link(&mut self, repository: &RepositoryName, digest: &Digest) {
        self.dangling_links.add(format!("{repository}@{digest}"));
    }

    pub(crate) fn empty_blob(&mut self, digest: &Digest) {
        self.empty_blobs.add(digest.to_string());
    }

    /// Links to a blob without data, whose repositories are not known.
    pub(crate) fn dangling_links(&mut self, digest: &Digest, links: u64) {
        for _ in 0..links {
            self.dangling_links.add(digest.to_string());
        }
    }

    pub(crate) fn unreadable(&mut self, error: &dyn std::fmt::Display) {
        self.unreadable.add(error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> Digest {
        Digest::parse(&format!("sha256:{number:064x}")).unwrap()
    }

    #[test]
    fn every_repository_but_the_first_could_have_mounted() {
        let mut report = Report::default();
        for (number, size, links) in [(1, 10, 0), (2, 20, 1), (3, 30, 3)] {
            report.blob(&digest(number), size, links);
        }
        let amount = |count, bytes| Amount { count, bytes };
        assert_eq!(report.blobs, amount(3, 60));
        assert_eq!(report.others, amount(1, 10));
        assert_eq!(report.layers, amount(2, 50));
        assert_eq!(report.shared, amount(1, 30));
        assert_eq!(report.linked_bytes, 20 + 90);
        assert_eq!(report.sparable_bytes, 60);
    }

    #[test]
    fn the_costliest_layers_are_named_however_many_there_are() {
        let mut report = Report::default();
        for number in 0..5000 {
            // The most expensive ones are neither the first nor the last.
            report.blob(&digest(number), number * (5000 - number), 2);
        }
        report.finish();
        assert_eq!(report.most_shared.len(), NAMED);
        assert_eq!(report.most_shared[0].digest, digest(2500).to_string());
        let cost: Vec<_> = report
            .most_shared
            .iter()
            .map(SharedLayers::sparable)
            .collect();
        assert!(cost.is_sorted_by(|one, next| one >= next));
    }
}

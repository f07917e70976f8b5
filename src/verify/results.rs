//! The cache of verified blobs, bounded, for as long as the process lives.

use std::fmt;

use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;

use crate::oci::Digest;
use crate::store::BlobData;
use crate::verify::BlobVerdict;

/// The most good blobs, in some 10 MB; beyond, the least used are hashed again.
const MOST_GOOD: u64 = 100_000;
/// The most damaged blobs. They have a bound of their own, so that good ones do not evict them.
const MOST_DAMAGED: u64 = 10_000;
/// The initial capacity.
const EXPECTED: usize = 1024;

type CachedDigest = Cache<[u8; 32], BlobData>;

/// Each blob's data as it was when it was hashed.
pub(crate) struct VerifyCache {
    good: CachedDigest,
    damaged: CachedDigest,
}

impl Default for VerifyCache {
    fn default() -> Self {
        Self::new(MOST_GOOD, MOST_DAMAGED)
    }
}

impl fmt::Debug for VerifyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

impl VerifyCache {
    fn new(good: u64, damaged: u64) -> Self {
        let bounded = |most| Cache::with_weighter(EXPECTED, most, UnitWeighter);
        Self {
            good: bounded(good),
            damaged: bounded(damaged),
        }
    }

    /// The verdict on a blob whose data is `data` now.
    pub(crate) fn verdict(&self, digest: &Digest, data: &BlobData) -> BlobVerdict {
        let key = digest.bytes();
        let (good, damaged) = (self.good.get(&key), self.damaged.get(&key));
        if good == Some(*data) {
            return BlobVerdict::Good;
        }
        if damaged == Some(*data) {
            return BlobVerdict::Damaged;
        }
        // All byte sequences with one digest have one length.
        let is_other_size = good.is_some_and(|good| good.size != data.size);
        let mut before = good.iter().chain(&damaged);
        if is_other_size || before.any(|before| before.is_same_file(data)) {
            return BlobVerdict::Changed;
        }
        BlobVerdict::Unknown
    }

    pub(crate) fn is_damaged(&self, digest: &Digest) -> bool {
        self.damaged.peek(&digest.bytes()).is_some()
    }

    /// Records a good blob; returns whether it was damaged before.
    pub(crate) fn record_good(&self, digest: &Digest, data: BlobData) -> bool {
        let key = digest.bytes();
        self.good.insert(key, data);
        self.damaged.remove(&key).is_some()
    }

    pub(crate) fn record_damaged(&self, digest: &Digest, data: BlobData) {
        let key = digest.bytes();
        self.damaged.insert(key, data);
        self.good.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn digest(number: u64) -> Digest {
        // Uniformly distributed, as hashes are.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Digest::parse(&format!("sha256:{spread:016x}{number:048x}")).unwrap()
    }

    fn data(path: &Path) -> BlobData {
        BlobData::of_open(&File::open(path).unwrap(), &digest(1))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_verdict_holds_for_the_data_that_was_hashed_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (directory.path().join("data"), directory.path().join("new"));
        let results = VerifyCache::default();
        let it = digest(1);
        fs::write(&path, "layer").unwrap();
        let first = data(&path);
        assert_eq!(results.verdict(&it, &first), BlobVerdict::Unknown);
        assert!(!results.record_good(&it, first));
        assert_eq!(results.verdict(&it, &first), BlobVerdict::Good);
        assert_eq!(results.verdict(&digest(2), &first), BlobVerdict::Unknown);

        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(1))
            .unwrap();
        let touched = data(&path);
        assert_eq!(results.verdict(&it, &touched), BlobVerdict::Changed);
        results.record_damaged(&it, touched);
        assert_eq!(results.verdict(&it, &touched), BlobVerdict::Damaged);
        assert_eq!(results.verdict(&it, &first), BlobVerdict::Changed);
        assert!(results.is_damaged(&it) && !results.is_damaged(&digest(2)));

        fs::write(&new, "layer").unwrap();
        let replaced = data(&new);
        assert_eq!(results.verdict(&it, &replaced), BlobVerdict::Unknown);
        assert!(results.record_good(&it, replaced));
        assert_eq!(results.verdict(&it, &replaced), BlobVerdict::Good);
        assert!(!results.is_damaged(&it));
    }

    #[test]
    fn another_file_of_another_size_cannot_be_a_good_blobs() {
        let directory = tempfile::tempdir().unwrap();
        let [path, longer] = ["data", "longer"].map(|name| directory.path().join(name));
        fs::write(&path, "layer").unwrap();
        fs::write(&longer, "layers").unwrap();
        let results = VerifyCache::default();
        results.record_good(&digest(1), data(&path));
        assert_eq!(
            results.verdict(&digest(1), &data(&longer)),
            BlobVerdict::Changed
        );
        // The right size of a damaged blob is not known.
        results.record_damaged(&digest(2), data(&path));
        assert_eq!(
            results.verdict(&digest(2), &data(&longer)),
            BlobVerdict::Unknown
        );
    }

    #[test]
    fn the_cache_is_bounded_and_good_blobs_evict_no_damaged_one() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"layer").unwrap();
        let data = BlobData::of_open(&file, &digest(1)).unwrap().unwrap();
        let results = VerifyCache::new(1000, 1000);
        results.record_damaged(&digest(0), data);
        for number in 1..5000 {
            results.record_good(&digest(number), data);
        }
        let kept = results.good.len();
        assert!((500..=1000).contains(&kept), "{kept}");
        assert_eq!(results.verdict(&digest(0), &data), BlobVerdict::Damaged);
        for number in 5000..10_000 {
            results.record_damaged(&digest(number), data);
        }
        assert!(results.damaged.len() <= 1000, "{}", results.damaged.len());
    }
}

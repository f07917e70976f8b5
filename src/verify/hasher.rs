//! Hashes one blob, and notices if it changes meanwhile.

use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::Advice;
use sha2::{Digest as _, Sha256};

use crate::oci::Digest;
use crate::store::BlobData;
use crate::verify::rate_limit::RateLimiter;

/// Two writes within a tick of the store's clock have the same modification time.
const TICK: Duration = Duration::from_millis(20);

/// The result for one blob.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HashResult {
    /// Its bytes have the digest.
    Good(BlobData),
    /// They do not.
    Damaged(BlobData),
    /// They changed meanwhile, so nothing is known.
    Changed,
    /// It has no data.
    Absent,
    /// The process ended first.
    Ended,
}

/// Hashes files at a limited rate.
#[derive(Debug)]
pub(crate) struct Hasher {
    rate: RateLimiter,
    buffer: Vec<u8>,
}

impl Hasher {
    pub(crate) fn new(rate: RateLimiter) -> Self {
        let buffer = vec![0; rate.chunk()];
        Self { rate, buffer }
    }

    /// Hashes an open file; `rest` waits, and returns whether to go on.
    pub(crate) fn hash(
        &mut self,
        mut file: &File,
        digest: &Digest,
        rest: &mut dyn FnMut(Duration) -> bool,
    ) -> std::io::Result<HashResult> {
        let Some(before) = BlobData::of_open(file, digest)? else {
            return Ok(HashResult::Absent);
        };
        let age = before
            .written()
            .and_then(|written| SystemTime::now().duration_since(written).ok());
        if age.is_some_and(|age| age < TICK) && !rest(TICK) {
            return Ok(HashResult::Ended);
        }
        // The bytes on the disk count, not those of the upload that are still in the page cache.
        forget(file, 0, 0);
        let (mut hash, mut offset) = (Sha256::new(), 0);
        while offset < before.size {
            let left = usize::try_from(before.size - offset).unwrap_or(usize::MAX);
            let chunk = left.min(self.buffer.len());
            if !rest(self.rate.take(chunk, Instant::now())) {
                return Ok(HashResult::Ended);
            }
            let read = match file.read(&mut self.buffer[..chunk]) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            hash.update(&self.buffer[..read]);
            forget(file, offset, read as u64);
            offset += read as u64;
        }
        if BlobData::of_open(file, digest)? != Some(before) {
            return Ok(HashResult::Changed);
        }
        Ok(if digest.names(&hash.finalize()) {
            HashResult::Good(before)
        } else {
            HashResult::Damaged(before)
        })
    }
}

/// Frees the page cache for files that are pulled; a `length` of 0 means the rest of the file.
fn forget(file: &File, offset: u64, length: u64) {
    // Only a hint, which some filesystems do not support.
    let _ = rustix::fs::fadvise(file, offset, NonZero::new(length), Advice::DontNeed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::FileExt;

    /// Writes bytes to a file and hashes it, calling `meanwhile` at each pause.
    fn examined(
        bytes: &[u8],
        digest: &Digest,
        rate: u64,
        mut meanwhile: impl FnMut(&File, usize) -> bool,
    ) -> HashResult {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        fs::write(&path, bytes).unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        let begin = Instant::now();
        let mut hasher = Hasher::new(RateLimiter::new(rate, begin));
        let mut rests = 0;
        let mut rest = |time: Duration| {
            rests += 1;
            if rests == 1 {
                // Only until the clock has ticked: the test needs no more.
                std::thread::sleep(time.min(TICK));
            }
            meanwhile(&writer, rests)
        };
        let file = File::open(&path).unwrap();
        hasher.hash(&file, digest, &mut rest).unwrap()
    }

    #[test]
    fn bytes_are_good_only_where_they_are_the_digests() {
        for size in [1, 99, 100, 101, 1000, 300_000, 600_001] {
            for rate in [1000, 10 << 30] {
                if size / 100 > 10_000 && rate == 1000 {
                    continue;
                }
                let bytes = vec![7; size];
                let digest = Digest::of(&bytes);
                let rests = |_: &File, _| true;
                assert!(matches!(
                    examined(&bytes, &digest, rate, rests),
                    HashResult::Good(data) if data.size == size as u64
                ));
                for at in [0, size / 2, size - 1] {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= 1;
                    let found = examined(&flipped, &digest, rate, rests);
                    assert!(matches!(found, HashResult::Damaged(_)), "{size} {at}");
                }
                let found = examined(&bytes[1..], &digest, rate, rests);
                let is_nothing = size == 1 && found == HashResult::Absent;
                assert!(
                    is_nothing || matches!(found, HashResult::Damaged(_)),
                    "{size}"
                );
            }
        }
    }

    #[test]
    fn no_bytes_are_good_where_the_digest_is_that_of_nothing() {
        let found = |bytes: &[u8], digest: &Digest| examined(bytes, digest, 1000, |_, _| true);
        let (nothing, something) = (Digest::of(b""), Digest::of(b"b"));
        assert!(matches!(found(b"", &nothing), HashResult::Good(data) if data.size == 0));
        assert_eq!(found(b"", &something), HashResult::Absent);
        assert!(matches!(found(b"b", &nothing), HashResult::Damaged(_)));
    }

    #[test]
    fn what_changes_while_it_is_hashed_is_neither_good_nor_damaged() {
        let bytes = vec![7; 1000];
        let digest = Digest::of(&bytes);
        let at_third = |change: fn(&File)| {
            move |file: &File, rest: usize| {
                if rest == 3 {
                    change(file);
                }
                true
            }
        };
        let changes: [fn(&File); 5] = [
            |file| file.write_all_at(&[8], 900).unwrap(),
            |file| file.set_modified(SystemTime::UNIX_EPOCH).unwrap(),
            |file| file.set_len(50).unwrap(),
            |file| file.set_len(0).unwrap(),
            |file| file.set_len(5000).unwrap(),
        ];
        for change in changes {
            let found = examined(&bytes, &digest, 1000, at_third(change));
            assert_eq!(found, HashResult::Changed);
        }
    }

    #[test]
    fn the_end_of_the_process_is_the_end_of_it() {
        let bytes = vec![7; 100_000];
        let mut most = 0;
        let found = examined(&bytes, &Digest::of(&bytes), 1000, |_, rest| {
            most = rest;
            rest < 5
        });
        assert_eq!((found, most), (HashResult::Ended, 5));
    }

    #[test]
    fn bytes_are_read_at_the_rate() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[7; 1000]).unwrap();
        let mut hasher = Hasher::new(RateLimiter::new(100, Instant::now()));
        let (mut waited, mut rests) = (Duration::ZERO, 0);
        std::io::Seek::rewind(&mut file).unwrap();
        let found = hasher.hash(&file, &Digest::of(&[7; 1000]), &mut |time| {
            waited = waited.max(time);
            rests += 1;
            true
        });
        assert!(matches!(found.unwrap(), HashResult::Good(_)));
        // The pauses are not slept here, so the last of a hundred chunks has to wait for all.
        assert!(waited > Duration::from_secs(9), "{waited:?}");
        assert!((100..=101).contains(&rests), "{rests}");
    }
}

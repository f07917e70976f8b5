//! Bytes saved and uploaded in the last 24 hours, in buckets of five minutes.
//!
//! No request pays for it: a timer and every view of the page read the counters. A bucket begins at
//! a multiple of five minutes in UTC, so a UTC day is always whole buckets. After a restart the
//! history is empty.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// The length of a bucket.
pub(crate) const BUCKET: Duration = Duration::from_secs(5 * 60);
/// The most buckets: 24 hours, with the bucket that is being filled.
const BUCKETS: u64 = 288;

/// Bytes that clients did not have to send, and bytes that they sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Transferred {
    pub saved_bytes: u64,
    pub uploaded_bytes: u64,
}

/// A ring of buckets, oldest first. A bucket is missing if the host slept.
#[derive(Debug)]
pub(crate) struct History {
    older: VecDeque<Bucket>,
    current: Bucket,
    /// The counters at the last sample.
    sampled: Transferred,
}

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Buckets since 1970.
    index: u64,
    pub transferred: Transferred,
}

impl History {
    /// Begins with counters at zero.
    pub(crate) fn new(now: SystemTime) -> Self {
        Self {
            older: VecDeque::new(),
            current: Bucket::at(index(now)),
            sampled: Transferred::default(),
        }
    }

    /// Adds what the counters have grown by since the last sample.
    pub(crate) fn sample(&mut self, now: SystemTime, counters: Transferred) {
        // The growth belongs to the bucket of the last sample: the timer samples when one ends.
        let grown = counters.since(self.sampled);
        self.current.transferred = self.current.transferred.plus(grown);
        self.sampled = counters;
        let now = index(now);
        // The clock was set back. The buckets keep their distance from now.
        let back = self.current.index.saturating_sub(now);
        for bucket in self.older.iter_mut().chain([&mut self.current]) {
            bucket.index = bucket.index.saturating_sub(back);
        }
        if now > self.current.index {
            self.older.push_back(self.current);
            self.current = Bucket::at(now);
        }
        let is_old = |bucket: &Bucket| bucket.index + BUCKETS <= now;
        while self.older.front().is_some_and(is_old) {
            self.older.pop_front();
        }
    }

    /// The buckets, oldest first.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.older.iter().copied().chain([self.current])
    }

    /// The counters at the last sample.
    #[cfg(test)]
    pub(crate) fn sampled(&self) -> Transferred {
        self.sampled
    }

    /// The sum since midnight, UTC.
    pub(crate) fn today(&self) -> Transferred {
        let midnight = self.current.index - self.current.index % BUCKETS;
        self.buckets()
            .filter(|bucket| bucket.index >= midnight)
            .fold(Transferred::default(), |sum, bucket| {
                sum.plus(bucket.transferred)
            })
    }
}

impl Bucket {
    fn at(index: u64) -> Self {
        let transferred = Transferred::default();
        Self { index, transferred }
    }

    /// When it begins, in seconds since 1970.
    pub(crate) fn start(self) -> u64 {
        self.index * BUCKET.as_secs()
    }
}

impl Transferred {
    fn plus(self, other: Self) -> Self {
        Self {
            saved_bytes: self.saved_bytes + other.saved_bytes,
            uploaded_bytes: self.uploaded_bytes + other.uploaded_bytes,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            saved_bytes: self.saved_bytes.saturating_sub(before.saved_bytes),
            uploaded_bytes: self.uploaded_bytes.saturating_sub(before.uploaded_bytes),
        }
    }
}

/// The bucket of a time; a clock before 1970 counts as 1970.
fn index(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
    since_1970.unwrap_or_default().as_secs() / BUCKET.as_secs()
}

#[cfg(test)]
mod tests;

//! The queue of blobs to hash, each at most once.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::oci::Digest;

/// A bounded queue that one thread takes from.
#[derive(Debug)]
pub(crate) struct VerifyQueue {
    most: usize,
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    order: VecDeque<Digest>,
    /// The queued digests, and the one that is being hashed.
    all: HashSet<Digest>,
    is_over: bool,
}

/// The result of queuing a blob.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is queued; the number is the queue length.
    Waits(usize),
    /// It was queued already, or is being hashed.
    Already,
    /// The queue is full.
    Full,
}

impl VerifyQueue {
    /// Bounded to so many.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, digest: &Digest) -> Pushed {
        let mut state = self.state.lock();
        if state.all.contains(digest) {
            return Pushed::Already;
        }
        if state.all.len() >= self.most {
            return Pushed::Full;
        }
        state.all.insert(digest.clone());
        state.order.push_back(digest.clone());
        self.changed.notify_all();
        Pushed::Waits(state.all.len())
    }

    /// Takes the first, and waits for one. `None` at the end.
    pub(crate) fn next(&self) -> Option<Digest> {
        let mut state = self.state.lock();
        let has_nothing_to_do = |state: &mut QueueState| state.order.is_empty() && !state.is_over;
        self.changed.wait_while(&mut state, has_nothing_to_do);
        if state.is_over {
            return None;
        }
        state.order.pop_front()
    }

    /// The taken one is done; returns the queue length.
    pub(crate) fn complete(&self, digest: &Digest) -> usize {
        let mut state = self.state.lock();
        state.all.remove(digest);
        state.all.len()
    }

    /// Waits so long, or until the end; returns whether to go on.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        let goes_on = |state: &mut QueueState| !state.is_over;
        self.changed.wait_while_for(&mut state, goes_on, time);
        !state.is_over
    }

    /// Ends the queue: no more is taken, and every waiting thread wakes up.
    pub(crate) fn end(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(600);

    fn digest(number: u64) -> Digest {
        Digest::parse(&format!("sha256:{number:064x}")).unwrap()
    }

    #[test]
    fn each_waits_once_in_order_until_it_is_done() {
        let queue = VerifyQueue::new(10);
        assert_eq!(queue.push(&digest(1)), Pushed::Waits(1));
        assert_eq!(queue.push(&digest(2)), Pushed::Waits(2));
        assert_eq!(queue.push(&digest(1)), Pushed::Already);
        assert_eq!(queue.next(), Some(digest(1)));
        assert_eq!(queue.push(&digest(1)), Pushed::Already);
        assert_eq!(queue.complete(&digest(1)), 1);
        assert_eq!(queue.push(&digest(1)), Pushed::Waits(2));
        assert_eq!(queue.next(), Some(digest(2)));
        assert_eq!(queue.complete(&digest(2)), 1);
        assert_eq!(queue.next(), Some(digest(1)));
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let queue = VerifyQueue::new(3);
        for number in 0..3 {
            assert_ne!(queue.push(&digest(number)), Pushed::Full);
        }
        assert_eq!(queue.push(&digest(3)), Pushed::Full);
        // The one that is being hashed counts too.
        assert_eq!(queue.next(), Some(digest(0)));
        assert_eq!(queue.push(&digest(3)), Pushed::Full);
        assert_eq!(queue.complete(&digest(0)), 2);
        assert_eq!(queue.push(&digest(3)), Pushed::Waits(3));
    }

    #[test]
    fn the_end_wakes_every_waiting_thread() {
        let queue = VerifyQueue::new(3);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| queue.next());
            let rests = scope.spawn(|| queue.rest(LONG));
            assert!(queue.rest(Duration::from_millis(20)));
            queue.end();
            assert_eq!(waits.join().unwrap(), None);
            assert!(!rests.join().unwrap());
        });
        let begun = Instant::now();
        queue.push(&digest(1));
        assert!(!queue.rest(LONG));
        assert_eq!(queue.next(), None);
        assert!(begun.elapsed() < LONG / 2);
    }
}

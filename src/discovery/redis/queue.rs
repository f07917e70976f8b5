//! Changes on their way to Redis: no request waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lru::LruCache;
use parking_lot::Mutex;
use redis::{Pipeline, pipe};
use tokio::sync::mpsc;

use crate::discovery::redis::connection::{Connection, RequestKind};
use crate::discovery::redis::flights::{Flight, FlightId, add_flight, remove_flight};
use crate::discovery::redis::keys::Keys;
use crate::discovery::redis::{MOST_HOLDERS, MOST_USES, USES_COUNT_FOR};
use crate::oci::RepositoryName;
use crate::telemetry::labels::RedisResult;
use crate::telemetry::metrics::Metrics;
use crate::util::Fingerprint;

/// The queue length, beyond which changes are dropped: a megabyte or two.
const WAITING: usize = 8 * 1024;
/// The most changes that are sent with one request.
const BATCH: usize = 64;
/// The most changes that are not sent again.
const SENT: usize = 16 * 1024;
/// For so long a link is not sent again.
const LINK_IS_SENT_FOR: Duration = Duration::from_secs(60 * 60);
/// For so long a use is not sent again: it expires sooner than a link.
const USE_IS_SENT_FOR: Duration = Duration::from_secs(10 * 60);
/// How long a link stays after it was last seen.
const LINKS_COUNT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A change of what replicas share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Link([u8; 32], RepositoryName),
    NoLink([u8; 32], RepositoryName),
    Use(Fingerprint, RepositoryName),
    NoUse(Fingerprint, RepositoryName),
    Push(Fingerprint),
    /// A deletion that the registry confirmed; it counts for so long.
    Deletion([u8; 32], RepositoryName, Duration),
    /// A deletion that the registry refused.
    NoDeletion([u8; 32], RepositoryName),
    /// How far an upload is.
    Flight([u8; 32], FlightId, Flight),
    NoFlight([u8; 32], FlightId),
}

/// Queues changes.
#[derive(Debug)]
pub(super) struct ChangeQueue {
    queue: mpsc::Sender<Change>,
    sent: Arc<SentChanges>,
    is_full: AtomicBool,
    metrics: Arc<Metrics>,
}

/// Changes that were sent a short time ago, through the connection of this number.
#[derive(Debug)]
struct SentChanges {
    all: Mutex<LruCache<Change, Instant>>,
    connection: AtomicU64,
}

impl ChangeQueue {
    pub(super) fn new(metrics: Arc<Metrics>) -> (Self, ChangeSender) {
        let (queue, changes) = mpsc::channel(WAITING);
        let sent = Arc::new(SentChanges {
            all: Mutex::new(LruCache::unbounded()),
            connection: AtomicU64::new(0),
        });
        let sender = ChangeSender {
            changes,
            sent: sent.clone(),
        };
        let queue = Self {
            queue,
            sent,
            is_full: AtomicBool::new(false),
            metrics,
        };
        (queue, sender)
    }

    /// Queues a change without waiting; a full queue drops it. A change that was sent a short time
    /// ago through the same connection is not sent again.
    pub(super) fn push(&self, change: Change, connection: u64) {
        if !self.sent.is_new(&change, connection) {
            return;
        }
        match self.queue.try_send(change) {
            Ok(()) => self.is_full.store(false, Ordering::Relaxed),
            Err(
                mpsc::error::TrySendError::Full(change) | mpsc::error::TrySendError::Closed(change),
            ) => {
                self.sent.forget(&change);
                self.metrics.redis_request(RedisResult::Dropped);
                if !self.is_full.swap(true, Ordering::Relaxed) {
                    tracing::warn!("redis changes dropped: queue full");
                }
            }
        }
    }
}

impl SentChanges {
    fn is_new(&self, change: &Change, connection: u64) -> bool {
        let counts_for = match change {
            Change::Link(..) => LINK_IS_SENT_FOR,
            Change::Use(..) | Change::Push(_) => USE_IS_SENT_FOR,
            Change::NoLink(digest, repository) => {
                self.forget(&Change::Link(*digest, repository.clone()));
                return true;
            }
            Change::NoUse(login, repository) => {
                self.forget(&Change::Use(*login, repository.clone()));
                return true;
            }
            Change::Deletion(..)
            | Change::NoDeletion(..)
            | Change::Flight(..)
            | Change::NoFlight(..) => return true,
        };
        let mut all = self.all.lock();
        // What an earlier connection wrote may be lost: the server may have been restarted.
        if self.connection.swap(connection, Ordering::Relaxed) != connection {
            all.clear();
        }
        if all.get(change).is_some_and(|at| at.elapsed() < counts_for) {
            return false;
        }
        all.put(change.clone(), Instant::now());
        if all.len() > SENT {
            all.pop_lru();
        }
        true
    }

    fn forget(&self, change: &Change) {
        self.all.lock().pop(change);
    }
}

/// Sends the queued changes.
pub(super) struct ChangeSender {
    changes: mpsc::Receiver<Change>,
    sent: Arc<SentChanges>,
}

impl ChangeSender {
    /// Ends with the queue.
    pub(super) async fn run(mut self, connection: Arc<Connection>) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.changes.recv_many(&mut batch, BATCH).await > 0 {
            if connection.is_cluster() {
                // Keys are on different servers.
                for change in batch.drain(..) {
                    self.send(&connection, &[change]).await;
                }
            } else {
                self.send(&connection, &batch).await;
                batch.clear();
            }
        }
    }

    async fn send(&self, connection: &Connection, changes: &[Change]) {
        let mut commands = pipe();
        for change in changes {
            add_commands(&mut commands, change, connection.keys());
        }
        let sent = connection.request(RequestKind::Write, |mut link| async move {
            commands.query_async::<()>(&mut link).await
        });
        if sent.await.is_none() {
            for change in changes {
                self.sent.forget(change);
            }
        }
    }
}

fn add_commands(commands: &mut Pipeline, change: &Change, keys: &Keys) {
    match change {
        Change::Link(digest, repository) => {
            let key = keys.holders(digest);
            add_to_set(commands, &key, repository, MOST_HOLDERS, LINKS_COUNT_FOR);
        }
        Change::NoLink(digest, repository) => {
            let command = commands.cmd("ZREM").arg(keys.holders(digest));
            command.arg(repository.as_str()).ignore();
        }
        Change::Use(login, repository) => {
            let key = keys.uses(login);
            add_to_set(commands, &key, repository, MOST_USES, USES_COUNT_FOR);
        }
        Change::NoUse(login, repository) => {
            let command = commands.cmd("ZREM").arg(keys.uses(login));
            command.arg(repository.as_str()).ignore();
        }
        Change::Push(login) => {
            let command = commands.cmd("SET").arg(keys.pushed(login)).arg(1);
            command.arg("EX").arg(USES_COUNT_FOR.as_secs()).ignore();
        }
        Change::Deletion(digest, repository, counts_for) => {
            let key = keys.deletion(digest, repository);
            let command = commands.cmd("SET").arg(key).arg(1);
            command.arg("PX").arg(milliseconds(*counts_for)).ignore();
        }
        Change::NoDeletion(digest, repository) => {
            let key = keys.deletion(digest, repository);
            commands.cmd("DEL").arg(key).ignore();
        }
        Change::Flight(digest, id, flight) => {
            add_flight(commands, &keys.flights(digest), *id, flight);
        }
        Change::NoFlight(digest, id) => {
            remove_flight(commands, &keys.flights(digest), *id);
        }
    }
}

/// Adds the repository to a sorted set, in which only the latest stay.
fn add_to_set(
    commands: &mut Pipeline,
    key: &[u8],
    repository: &RepositoryName,
    most: isize,
    counts_for: Duration,
) {
    let name = repository.as_str();
    commands.cmd("ZADD").arg(key).arg(now()).arg(name).ignore();
    let first_kept = -(most + 1);
    let command = commands.cmd("ZREMRANGEBYRANK").arg(key);
    command.arg(0).arg(first_kept).ignore();
    let command = commands.cmd("EXPIRE").arg(key);
    command.arg(counts_for.as_secs()).ignore();
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// At least one: a server takes no zero.
pub(super) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    fn link(number: u8) -> Change {
        Change::Link([number; 32], name("a"))
    }

    fn queue() -> (ChangeQueue, ChangeSender) {
        ChangeQueue::new(Arc::new(Metrics::new(None).unwrap()))
    }

    /// The changes that wait.
    fn waiting(sender: &mut ChangeSender) -> Vec<Change> {
        std::iter::from_fn(|| sender.changes.try_recv().ok()).collect()
    }

    #[test]
    fn a_link_is_sent_once_through_one_connection() {
        let (queue, mut sender) = queue();
        for number in [1, 1, 2, 1] {
            queue.push(link(number), 1);
        }
        assert_eq!(waiting(&mut sender), [link(1), link(2)]);
        queue.push(link(1), 2);
        assert_eq!(waiting(&mut sender), [link(1)]);
    }

    #[test]
    fn a_link_that_was_forgotten_or_not_sent_is_sent_again() {
        let (queue, mut sender) = queue();
        let gone = Change::NoLink([1; 32], name("a"));
        for change in [link(1), gone.clone(), link(1)] {
            queue.push(change, 1);
        }
        assert_eq!(waiting(&mut sender), [link(1), gone, link(1)]);
        sender.sent.forget(&link(1));
        queue.push(link(1), 1);
        assert_eq!(waiting(&mut sender), [link(1)]);
    }

    #[test]
    fn a_full_queue_drops_changes_and_counts_them() {
        let metrics = Arc::new(Metrics::new(None).unwrap());
        let (queue, mut sender) = ChangeQueue::new(metrics.clone());
        let change = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            Change::Link(digest, name("a"))
        };
        for number in 0..=WAITING {
            queue.push(change(number), 1);
        }
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        let line = "crossmount_redis_requests_total{result=\"dropped\"} 1";
        assert!(text.contains(line), "{text}");
        assert_eq!(waiting(&mut sender).len(), WAITING);
        // What was dropped is sent the next time.
        queue.push(change(WAITING), 1);
        assert_eq!(waiting(&mut sender), [change(WAITING)]);
    }
}

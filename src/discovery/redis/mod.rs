//! What replicas share through Redis or Valkey: which repositories hold a digest, which layers were
//! deleted, which repositories a login used, and which uploads are in flight.
//!
//! | file | what |
//! |---|---|
//! | `connector` | makes connections to one server, Sentinels or a cluster |
//! | `connection` | the one connection, its time limit, and what ends it |
//! | `keys` | the names of the keys |
//! | `flights` | uploads in flight |
//! | `queue` | changes, which no request waits for |
//!
//! All of it is a suggestion, as is the local knowledge: access, disk and registry decide anew. It
//! is kept for one request alone, so that a hostile server cannot push out what was learned here.
//! Without Redis, or with one that is slow or wrong, only the local knowledge is used.
//!
//! What a server sends is cut to 256 or 128 names, and a name to 256 bytes, before it is parsed. Of
//! the uploads of a layer 64 are parsed, of 512 bytes each. The library reads a response as a whole
//! before that, so only the operator's own server must be used.
//!
//! | key, behind the prefix | value |
//! |---|---|
//! | `l`, digest | sorted set of the repositories that hold it, by the second it was last seen; the latest 256, for 7 days |
//! | `d`, digest, repository | set while no HEAD brings the layer back: for `discovery.deleted_for` |
//! | `u`, fingerprint of a login | sorted set of the repositories that it used, by the second; the latest 128, for an hour |
//! | `w`, fingerprint of a login | set for an hour after the login pushed |
//! | `f`, digest | hash of the uploads in flight, for 5 s after the last change |
//!
//! A field of `f` is 8 bytes that identify the replica, and 8 for the upload. Its value has eight
//! words: state, a number that changes each time, age in milliseconds, bytes, length, kind of
//! credentials, fingerprint of the login, repository. `-` stands for what is not known. A replica
//! writes its uploads anew each second, and removes only its own, or those that are out of date.
//!
//! A digest is its 32 bytes. A fingerprint is HMAC-SHA-256 of the `Authorization` header, with a key
//! that only the replicas have. No credential is in Redis.

mod connection;
mod connector;
mod flights;
mod keys;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use connection::error_text;
pub use connector::RedisSetupError;
pub(crate) use connector::{Connector, Link};
pub(crate) use flights::{Flight, FlightId, FlightState};

use crate::auth::{Credentials, Use};
use crate::config::RedisConfig;
use crate::discovery::redis::connection::{Connection, RequestKind};
use crate::discovery::redis::queue::{Change, ChangeQueue, milliseconds, now};
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::telemetry::metrics::Metrics;
use crate::util::{Fingerprint, Fingerprints};

/// The most holders of a digest.
const MOST_HOLDERS: isize = 256;
/// The most repositories that a login used.
const MOST_USES: isize = 128;
/// How long a use counts.
const USES_COUNT_FOR: Duration = Duration::from_secs(60 * 60);
/// How long the start waits for the first connection, so that the first requests can use it.
const START: Duration = Duration::from_secs(1);

/// What replicas share.
#[derive(Debug)]
pub struct SharedIndex {
    connection: Arc<Connection>,
    queue: ChangeQueue,
    fingerprints: Option<Fingerprints>,
    _end: DropGuard,
}

/// What Redis says about one request. All of it is a suggestion.
#[derive(Debug, Default)]
pub(crate) struct SharedKnowledge {
    /// Repositories that may hold the layer.
    pub holders: Vec<RepositoryName>,
    /// Whether the layer was recently deleted from the target, or is being deleted.
    pub is_deleted: bool,
    /// Repositories that the caller's login used within the last hour.
    pub used: Vec<RepositoryName>,
    /// Whether the caller's login pushed within the last hour.
    pub has_pushed: bool,
}

/// A deletion in flight that other replicas see.
#[derive(Debug)]
pub(crate) struct SharedDeletion {
    index: Arc<SharedIndex>,
    blob: BlobRef,
    counts_for: Duration,
    /// Whether no other deletion of the layer had been recorded before.
    is_first: bool,
}

impl SharedIndex {
    /// Connects in the background, and waits for the first attempt, but not for long.
    pub(crate) async fn start(
        settings: &RedisConfig,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, RedisSetupError> {
        let connector = Connector::new(settings)?;
        let connection = Arc::new(Connection::new(settings, metrics.clone()));
        let (queue, sender) = ChangeQueue::new(metrics);
        let end = CancellationToken::new();
        let (stop, kept) = (end.clone(), connection.clone());
        tokio::spawn(async move {
            let sent = sender.run(kept.clone());
            tokio::select! {
                () = stop.cancelled() => {}
                () = kept.keep(connector) => {}
                () = sent => {}
            }
        });
        let _ = tokio::time::timeout(START, connection.tried()).await;
        let key = settings.fingerprint_key.as_ref();
        Ok(Arc::new(Self {
            connection,
            queue,
            fingerprints: key.map(|key| Fingerprints::with_key(key.expose())),
            _end: end.drop_guard(),
        }))
    }

    /// Fetches what is known about a layer, and about a login if one is given.
    pub(crate) async fn fetch(
        &self,
        target: &BlobRef,
        login: Option<&Credentials>,
    ) -> SharedKnowledge {
        let keys = self.connection.keys();
        let digest = target.digest.bytes();
        let holders = keys.holders(&digest);
        let deletion = keys.deletion(&digest, &target.repository);
        let login = login.and_then(|login| self.fingerprint(login));
        let login = login.map(|login| (keys.uses(&login), keys.pushed(&login)));
        let fetched = self
            .connection
            .request(RequestKind::Read, |link| async move {
                // All commands are sent before the first response comes, on a cluster too.
                tokio::try_join!(
                    fetch_holders(link.clone(), holders),
                    exists(link.clone(), deletion),
                    fetch_login(link, login),
                )
            });
        let Some((holders, is_deleted, (used, has_pushed))) = fetched.await else {
            return SharedKnowledge::default();
        };
        SharedKnowledge {
            holders: parse_names(&holders, MOST_HOLDERS),
            is_deleted,
            used: parse_names(&used, MOST_USES),
            has_pushed,
        }
    }

    /// Records that a repository holds a layer.
    pub(crate) fn record_link(&self, repository: &RepositoryName, digest: &Digest) {
        self.push(Change::Link(digest.bytes(), repository.clone()));
    }

    /// Forgets that a repository holds a layer.
    pub(crate) fn forget_link(&self, repository: &RepositoryName, digest: &Digest) {
        self.push(Change::NoLink(digest.bytes(), repository.clone()));
    }

    /// Records that the registry let these credentials use a repository.
    pub(crate) fn record_use(&self, login: &Credentials, repository: &RepositoryName, what: Use) {
        let Some(login) = self.fingerprint(login) else {
            return;
        };
        self.push(Change::Use(login, repository.clone()));
        if what == Use::Pushed {
            self.push(Change::Push(login));
        }
    }

    /// Forgets that these credentials used a repository.
    pub(crate) fn forget_use(&self, login: &Credentials, repository: &RepositoryName) {
        if let Some(login) = self.fingerprint(login) {
            self.push(Change::NoUse(login, repository.clone()));
        }
    }

    /// Records that a layer is about to be deleted, before the registry gets the request.
    ///
    /// If this process ends without a response of the registry, the deletion counts as done.
    pub(crate) async fn begin_delete(
        self: &Arc<Self>,
        blob: &BlobRef,
        counts_for: Duration,
    ) -> SharedDeletion {
        let keys = self.connection.keys();
        let key = keys.deletion(&blob.digest.bytes(), &blob.repository);
        let set = self
            .connection
            .request(RequestKind::Write, |mut link| async move {
                let mut command = redis::cmd("SET");
                command.arg(key).arg(1).arg("NX").arg("PX");
                command.arg(milliseconds(counts_for));
                command.query_async::<Option<String>>(&mut link).await
            });
        SharedDeletion {
            // Without a response it may be recorded or not.
            is_first: set.await.is_none_or(|set| set.is_some()),
            index: self.clone(),
            blob: blob.clone(),
            counts_for,
        }
    }

    fn push(&self, change: Change) {
        self.queue.push(change, self.connection.made());
    }

    fn fingerprint(&self, login: &Credentials) -> Option<Fingerprint> {
        let header = login.header()?;
        Some(
            self.fingerprints
                .as_ref()?
                .fingerprint(&[header.as_bytes()]),
        )
    }
}

impl SharedDeletion {
    /// The registry has deleted the layer: its time begins anew.
    pub(crate) fn confirm(&self) {
        let BlobRef { repository, digest } = &self.blob;
        let change = Change::Deletion(digest.bytes(), repository.clone(), self.counts_for);
        self.index.push(change);
    }

    /// The registry has refused the deletion. An earlier one still counts.
    pub(crate) fn refuse(&self) {
        if self.is_first {
            let BlobRef { repository, digest } = &self.blob;
            let change = Change::NoDeletion(digest.bytes(), repository.clone());
            self.index.push(change);
        }
    }
}

async fn fetch_holders(mut link: Link, key: Vec<u8>) -> RedisResult<Vec<Vec<u8>>> {
    let mut command = redis::cmd("ZREVRANGE");
    command.arg(key).arg(0).arg(MOST_HOLDERS - 1);
    command.query_async(&mut link).await
}

async fn exists(mut link: Link, key: Vec<u8>) -> RedisResult<bool> {
    redis::cmd("EXISTS").arg(key).query_async(&mut link).await
}

/// The repositories that a login used, and whether it pushed.
async fn fetch_login(
    link: Link,
    keys: Option<(Vec<u8>, Vec<u8>)>,
) -> RedisResult<(Vec<Vec<u8>>, bool)> {
    let Some((uses, pushed)) = keys else {
        return Ok((Vec::new(), false));
    };
    tokio::try_join!(fetch_uses(link.clone(), uses), exists(link, pushed))
}

async fn fetch_uses(mut link: Link, key: Vec<u8>) -> RedisResult<Vec<Vec<u8>>> {
    let since = now().saturating_sub(USES_COUNT_FOR.as_secs());
    let mut command = redis::cmd("ZREVRANGEBYSCORE");
    command.arg(key).arg("+inf").arg(since);
    command.arg("LIMIT").arg(0).arg(MOST_USES);
    command.query_async(&mut link).await
}

/// The names among what a server sent, which may be anything.
fn parse_names(texts: &[Vec<u8>], most: isize) -> Vec<RepositoryName> {
    let names = texts.iter().take(most.unsigned_abs()).filter_map(|text| {
        // No longer text is looked at.
        let text = text.get(..text.len().min(LONGEST_NAME + 1))?;
        RepositoryName::parse(std::str::from_utf8(text).ok()?).ok()
    });
    names.filter(RepositoryName::is_mountable).collect()
}

/// No name is longer, in bytes.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests;

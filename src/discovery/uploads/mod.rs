//! Uploads in flight, and the HEADs that are held until such an upload is complete.
//!
//! | file | what |
//! |---|---|
//! | this one | what other parts call: claim, begin, progress, end, wait |
//! | `table` | the uploads in flight, by digest and by upload session |
//! | `leader` | one upload that HEADs may wait for, and whether it is still worth it |
//! | `rates` | how fast uploads are: an upload that cannot be in time is not waited for |
//! | `arrivals` | the layers that arrived a short while ago |
//! | `cooldown` | what is not waited for, because it was waited for in vain |
//! | `named_layers` | the digests that a manifest names |
//! | `push_request` | a request of a push whose layers wait for their manifest |
//! | `upload_request` | a request that sends a part of an upload |
//! | `sharing` | publishes uploads for other replicas |
//! | `remote` | uploads through other replicas, as one HEAD sees them |
//! | `replicas` | a HEAD reads the uploads of other replicas, and of all clients one goes on |
//!
//! A HEAD that gets 404 claims the layer: its client will likely upload it. The first response 202
//! to that client's next POST turns the claim into an upload. No HEAD waits for the claim of a client
//! that is not proved to have push. A HEAD of another client waits for
//! the upload only if that client may pull the repository into which the layer goes. Nothing but a
//! HEAD is ever held.
//!
//! Some registries mount a layer only after a manifest of its repository names it. There a HEAD waits
//! until that manifest, as long as its client's push goes on. If crossmount can copy the layer, the
//! HEAD waits until the layer is uploaded.
//!
//! There is no thread, and without other replicas no timer: each held HEAD looks whether its upload
//! is alive. The first that finds it dead takes its place, and the other HEADs wait for that client.
//!
//! With Redis, uploads through other replicas count too. Before a client goes on, its replica adds
//! the claim to those of all replicas and reads them in one step. So of two that claim at the same
//! moment the second sees the first, and waits for it.

mod arrivals;
mod cooldown;
mod leader;
mod named_layers;
mod push_request;
mod rates;
mod remote;
mod replicas;
mod sharing;
mod table;
mod upload_request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

pub(crate) use push_request::{PushRequest, PushStep};
pub(crate) use sharing::SharedFlights;
pub(crate) use upload_request::UploadRequest;

use crate::auth::Credentials;
use crate::discovery::uploads::leader::LeaderId;
use crate::discovery::uploads::replicas::RemoteView;
use crate::discovery::uploads::sharing::Sharing;
use crate::discovery::uploads::table::{Asking, Look, UploadTable};
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::util::{Fingerprint, Fingerprints, NoRandomness};

/// The most HEADs that are held at once.
const MOST_HELD: usize = 1024;
/// So many HEADs are mounted at once when a layer has arrived: more would wait for the store until
/// their time is over, and their clients would all upload the layer.
const MOST_MOUNTED_AT_ONCE: usize = 16;
/// How often a held HEAD looks whether its upload is alive.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A layer that arrived so long before a HEAD got 404 may have come after the registry looked.
const LOOK_BACK: Duration = Duration::from_secs(1);
/// The longest time that jib is let wait: it gives up after 20 seconds.
const JIB_WAITS: Duration = Duration::from_secs(15);

/// The uploads in flight through this process.
#[derive(Debug)]
pub(crate) struct UploadsInFlight {
    /// How long a HEAD is held at most.
    bound: Duration,
    mountable: Mountable,
    table: Mutex<UploadTable>,
    places: Semaphore,
    turns: Semaphore,
    /// Shows how many HEADs are held.
    held: IntGauge,
    fingerprints: Fingerprints,
    /// Where other replicas' uploads are read.
    shared: Option<Arc<dyn SharedFlights>>,
}

/// When a layer of one repository can be mounted into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mountable {
    /// Once it is uploaded.
    Uploaded,
    /// Once a manifest of its repository names it. Before, crossmount perhaps copies it.
    Named { copies: bool },
}

/// The clients that push to a repository with one credential. All tokens count as one: a client may
/// get several for one push.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Login {
    pub(crate) repository: RepositoryName,
    credential: Option<Fingerprint>,
}

/// A client that pushes to a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pusher {
    pub(crate) repository: RepositoryName,
    credential: Fingerprint,
    /// Whether each login has another credential.
    is_token: bool,
}

/// A HEAD that got 404 and may be held.
#[derive(Debug)]
pub(crate) struct WaitingHead<'a> {
    uploads: &'a UploadsInFlight,
    pusher: Pusher,
    /// Whether the client is proved to have push on the target.
    is_proved: bool,
    digest: Digest,
    since: Instant,
    until: Instant,
    /// The repositories for which it was decided whether the client may pull.
    decided: Vec<RepositoryName>,
    /// Those of them that it may pull.
    allowed: Vec<RepositoryName>,
    place: Option<SemaphorePermit<'a>>,
    was_held: bool,
    /// Held until the next look: the table counts the HEADs that wait for an upload.
    changed: Option<watch::Receiver<()>>,
    /// Whether the table knows that this client's push waits.
    is_listed: bool,
    /// The repositories from which a copy was tried.
    tried: Vec<RepositoryName>,
    /// What arrived before that, the HEAD has seen.
    seen: Instant,
    remote: RemoteView,
}

/// Why a HEAD is not held, or not any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The layer is in this repository now.
    Arrived(Arc<RepositoryName>),
    /// The layer is in this repository now, and the registry does not mount it elsewhere yet.
    Uploaded(Arc<RepositoryName>),
    /// An upload goes into a repository for which the client's access is to be decided.
    Undecided,
    /// The client goes on, and will likely upload the layer itself.
    Released,
    /// The longest time is over, and the client goes on.
    TimedOut,
}

/// Why a HEAD does not wait.
enum Ended {
    /// It goes on; the claim is not known to other replicas yet.
    GoesOn(Option<LeaderId>),
    Otherwise(Waited),
}

impl UploadsInFlight {
    /// HEADs are held for `bound` at most, and counted in `held` meanwhile.
    pub(crate) fn new(bound: Duration, held: IntGauge) -> Result<Self, NoRandomness> {
        Ok(Self {
            bound,
            mountable: Mountable::Uploaded,
            table: Mutex::default(),
            places: Semaphore::new(MOST_HELD),
            turns: Semaphore::new(MOST_MOUNTED_AT_ONCE),
            held,
            fingerprints: Fingerprints::new()?,
            shared: None,
        })
    }

    /// For a registry that mounts layers so.
    pub(crate) fn mounting(self, mountable: Mountable) -> Self {
        Self { mountable, ..self }
    }

    /// Shares the uploads with other replicas.
    pub(crate) fn sharing(mut self, shared: Arc<dyn SharedFlights>) -> Result<Self, NoRandomness> {
        // So that each replica recognizes a login that waited in vain at another one.
        if let Some(fingerprints) = shared.fingerprints() {
            self.fingerprints = fingerprints;
        }
        self.table.get_mut().sharing = Some(Sharing::new(shared.clone())?);
        self.shared = Some(shared);
        Ok(self)
    }

    fn pusher(&self, repository: &RepositoryName, credentials: &Credentials) -> Pusher {
        let header = credentials.header().map(http::HeaderValue::as_bytes);
        let scheme = header.and_then(|header| header.get(..7));
        Pusher {
            repository: repository.clone(),
            credential: self.fingerprints.fingerprint(&[header.unwrap_or_default()]),
            is_token: scheme.is_some_and(|it| it.eq_ignore_ascii_case(b"bearer ")),
        }
    }

    /// A HEAD that got 404. `user_agent` names the client's program.
    ///
    /// If the client is proved to have push on the target, its claim counts at once. Otherwise no
    /// HEAD waits for it before the registry has opened an upload session for it.
    pub(crate) fn head(
        &self,
        blob: &BlobRef,
        credentials: &Credentials,
        is_proved: bool,
        user_agent: &str,
    ) -> WaitingHead<'_> {
        let bound = if user_agent.starts_with("jib/") {
            self.bound.min(JIB_WAITS)
        } else {
            self.bound
        };
        let since = Instant::now();
        WaitingHead {
            uploads: self,
            pusher: self.pusher(&blob.repository, credentials),
            is_proved,
            digest: blob.digest.clone(),
            since,
            until: since + bound,
            decided: vec![blob.repository.clone()],
            allowed: vec![blob.repository.clone()],
            place: None,
            was_held: false,
            changed: None,
            is_listed: false,
            tried: Vec::new(),
            seen: since.checked_sub(LOOK_BACK).unwrap_or(since),
            remote: RemoteView::new(),
        }
    }

    /// The registry opened an upload session for a client. `digest` is the layer, if the request
    /// named it.
    pub(crate) fn begin(
        &self,
        repository: &RepositoryName,
        credentials: &Credentials,
        session: &str,
        digest: Option<&Digest>,
    ) {
        let pusher = self.pusher(repository, credentials);
        self.table.lock().begin(&pusher, session, digest);
    }

    /// A request that sends a part of an upload; `None` if no HEAD waits for that upload.
    pub(crate) fn request(
        self: &Arc<Self>,
        session: &str,
        digest: Option<&Digest>,
        length: Option<u64>,
    ) -> Option<UploadRequest> {
        let upload = self.table.lock().request(session, digest, length)?;
        Some(UploadRequest::new(self.clone(), upload))
    }

    /// A request of a push; `None` if no layer waits for its manifest in front of such a registry.
    pub(crate) fn push_request(
        self: &Arc<Self>,
        repository: &RepositoryName,
        credentials: &Credentials,
        step: PushStep,
    ) -> Option<PushRequest> {
        if self.mountable == Mountable::Uploaded {
            return None;
        }
        let login = self.pusher(repository, credentials).login();
        let mut table = self.table.lock();
        let progress = table.pushes.progress(login.clone());
        let is_awaited = table.has_uploaded_layers(repository);
        drop(table);
        Some(PushRequest::new(
            self.clone(),
            login,
            progress,
            step,
            is_awaited,
        ))
    }

    /// A client has uploaded a layer.
    pub(crate) fn uploaded(&self, blob: &BlobRef) {
        let mut table = self.table.lock();
        match self.mountable {
            Mountable::Uploaded => table.arrived(&blob.repository, &blob.digest),
            Mountable::Named { .. } => table.uploaded(&blob.repository, &blob.digest),
        }
    }

    /// Whether the registry has a layer in this repository that it does not mount elsewhere yet.
    pub(crate) fn waits_for_manifest(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let table = self.table.lock();
        table.waits_for_manifest(repository, &digest.bytes())
    }

    /// The registry mounts a layer from this repository now, however it came there.
    pub(crate) fn arrived(&self, blob: &BlobRef) {
        self.table.lock().arrived(&blob.repository, &blob.digest);
    }
}

impl<'a> WaitingHead<'a> {
    /// Waits until the HEAD may be mounted, after the layer has arrived.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'a>> {
        self.uploads.turns.acquire().await.ok()
    }

    /// Until when the HEAD is held at most.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Ends when the longest time of the HEAD is over.
    pub(crate) async fn time_over(&self) {
        tokio::time::sleep_until(self.until.into()).await;
    }

    /// Repositories into which the layer is being uploaded, for which the client's access is to be
    /// decided before it may wait for them.
    pub(crate) fn undecided(&self) -> Vec<RepositoryName> {
        self.uploads.table.lock().undecided(&self.asking())
    }

    /// Records whether the client may pull from a repository.
    pub(crate) fn decide(&mut self, repository: RepositoryName, may_pull: bool) {
        if may_pull {
            self.allowed.push(repository.clone());
        }
        self.decided.push(repository);
    }

    /// Waits for an upload into a repository from which the client may pull. Without one, or if all
    /// places are taken, the client goes on at once.
    ///
    /// A client that goes on has claimed the layer. Dropping the future gives the place back.
    pub(crate) async fn wait(&mut self) -> Waited {
        loop {
            if let Some(waited) = self.end_contest() {
                return waited;
            }
            self.fetch_remote().await;
            let mut changed = match self.look() {
                Ok(changed) => changed,
                Err(Ended::GoesOn(Some(claim))) => {
                    self.begin_contest(claim).await;
                    continue;
                }
                Err(Ended::GoesOn(None)) => return Waited::Released,
                Err(Ended::Otherwise(waited)) => return waited,
            };
            let pause = LOOK_EVERY.min(self.until.saturating_duration_since(Instant::now()));
            match &mut changed {
                // Looked at again in either case.
                Some(changed) => drop(tokio::time::timeout(pause, changed.changed()).await),
                None => tokio::time::sleep(pause).await,
            }
            self.remote.is_stale = true;
            self.changed = changed;
        }
    }

    /// Where changes are seen, if the client waits.
    fn look(&mut self) -> Result<Option<watch::Receiver<()>>, Ended> {
        let mut table = self.uploads.table.lock();
        // Kept until the end: the table counts who waits for an upload.
        let _waited_for = self.changed.take();
        self.end_listing(&mut table);
        if self.place.is_some() && Instant::now() >= self.until {
            table.waited_in_vain(&self.asking());
            return Err(Ended::Otherwise(Waited::TimedOut));
        }
        let place = self
            .place
            .take()
            .or_else(|| self.uploads.places.try_acquire().ok());
        match table.look(&self.asking(), place.is_some()) {
            Look::Wait(changed) => {
                self.hold(place);
                if self.uploads.mountable != Mountable::Uploaded {
                    self.is_listed = true;
                    let login = self.pusher.login();
                    table.pushes.begin_wait(login, self.digest.bytes());
                }
                Ok(changed)
            }
            Look::Undecided => {
                // A held HEAD keeps its place meanwhile.
                self.place = place.filter(|_| self.was_held);
                Err(Ended::Otherwise(Waited::Undecided))
            }
            Look::Arrived(repository) => {
                drop(table);
                self.place = place.filter(|_| self.was_held);
                self.seen = Instant::now();
                self.mark_tried(&repository);
                Err(Ended::Otherwise(Waited::Arrived(repository)))
            }
            Look::Uploaded(repository) => {
                if *repository == self.pusher.repository {
                    self.place = place.filter(|_| self.was_held);
                } else {
                    self.hold(place);
                }
                self.tried.push((*repository).clone());
                Err(Ended::Otherwise(Waited::Uploaded(repository)))
            }
            Look::GoOn(claim) => Err(Ended::GoesOn(claim)),
        }
    }

    fn hold(&mut self, place: Option<SemaphorePermit<'a>>) {
        self.place = place;
        if !self.was_held {
            self.was_held = true;
            self.uploads.held.inc();
        }
    }

    fn end_listing(&mut self, table: &mut UploadTable) {
        if std::mem::take(&mut self.is_listed) {
            let digest = self.digest.bytes();
            table.pushes.end_wait(&self.pusher.login(), &digest);
        }
    }

    /// Whether the HEAD was held.
    pub(crate) fn is_held(&self) -> bool {
        self.was_held
    }

    /// How long it is since the registry's 404.
    pub(crate) fn held_for(&self) -> Duration {
        self.since.elapsed()
    }

    fn asking(&self) -> Asking<'_> {
        Asking {
            pusher: &self.pusher,
            digest: self.digest.bytes(),
            decided: &self.decided,
            allowed: &self.allowed,
            since: self.seen,
            until: self.until,
            copies: self.uploads.mountable == Mountable::Named { copies: true },
            tried: &self.tried,
            is_held: self.was_held,
            is_proved: self.is_proved,
            remote: &self.remote.uploads,
        }
    }
}

impl Pusher {
    fn login(&self) -> Login {
        Login {
            repository: self.repository.clone(),
            credential: (!self.is_token).then_some(self.credential),
        }
    }
}

impl Drop for WaitingHead<'_> {
    fn drop(&mut self) {
        if self.is_listed {
            let uploads = self.uploads;
            self.end_listing(&mut uploads.table.lock());
        }
        if self.was_held {
            self.uploads.held.dec();
        }
    }
}

#[cfg(test)]
mod tests;

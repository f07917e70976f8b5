//! Uploads in flight, and the HEADs that are held until such an upload is complete.
//!
//! | file | what |
//! |---|---|
//! | this one | what other parts call for an upload: begin, request, uploaded, arrived |
//! | `waiting_head` | a HEAD that waits: it claims the layer, or is held until the layer is there |
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
mod waiting_head;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Semaphore;

pub(crate) use push_request::{PushRequest, PushStep};
pub(crate) use sharing::SharedFlights;
pub(crate) use upload_request::UploadRequest;
pub(crate) use waiting_head::{Waited, WaitingHead};

use crate::auth::Credentials;
use crate::discovery::uploads::sharing::Sharing;
use crate::discovery::uploads::table::UploadTable;
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::util::{Fingerprint, Fingerprints, NoRandomness};

/// The most HEADs that are held at once.
const MOST_HELD: usize = 1024;
/// So many HEADs are mounted at once when a layer has arrived: more would wait for the store until
/// their time is over, and their clients would all upload the layer.
const MOST_MOUNTED_AT_ONCE: usize = 16;

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

    /// How long a HEAD is held at most.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.bound
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
        let pusher = self.pusher(repository, credentials);
        let token = pusher.is_token.then_some(pusher.credential);
        let login = pusher.login();
        let mut table = self.table.lock();
        let progress = table.pushes.progress(login.clone());
        let is_awaited = table.has_uploaded_layers(repository);
        drop(table);
        Some(PushRequest::new(
            self.clone(),
            login,
            progress,
            token,
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

impl Pusher {
    fn login(&self) -> Login {
        Login {
            repository: self.repository.clone(),
            credential: (!self.is_token).then_some(self.credential),
        }
    }
}

#[cfg(test)]
mod tests;

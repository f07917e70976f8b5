//! Layers that Pulp holds and does not mount yet: their bytes are uploaded from its own artifacts.
//!
//! Images that are pushed at the same time share layers which Pulp does not mount before their
//! first manifest is there, though it shows them to whoever may pull (pending blobs). Then, and
//! only then, the bytes are copied on the server's side, for a caller to whom Pulp has just shown
//! the blob, with that caller's own credentials. `artifact` finds and hashes the file, `reading`
//! reads it and hashes it again, `upload` is the session in the registry, `pace` judges how long it would take.

mod artifact;
mod reader;
mod throughput;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use artifact::{ArtifactStore, ArtifactStoreError};

use crate::blob_copy::artifact::Artifact;
use crate::blob_copy::throughput::ThroughputEstimate;
use crate::blob_copy::upload::{BlobUpload, UploadError};
use crate::config;
use crate::mount::MountRequest;
use crate::oci::{Digest, RepositoryName};
use crate::upstream::{CallerIdentity, DelegatedClient, PendingResponse};
use crate::util::blocking_pool::BlockingPool;

/// Files that are looked for and hashed at once, and that wait for it.
const LOOKS: (usize, usize) = (2, 64);
/// How long Pulp may take, beyond the deadline, for bytes that nobody waits for any more.
const LONGER: Duration = Duration::from_secs(60);

/// Relays blobs, within bounds.
#[derive(Debug)]
pub struct BlobCopier {
    client: DelegatedClient,
    artifacts: ArtifactStore,
    settings: config::ArtifactsConfig,
    places: Arc<Semaphore>,
    workers: BlockingPool,
    pace: ThroughputEstimate,
}

/// A blob that a caller wants in another repository.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// What to mount.
    pub request: MountRequest,
    /// For whom.
    pub name: CallerIdentity,
}

/// A blob that was relayed.
#[derive(Debug)]
pub struct CopiedBlob {
    /// The registry's answer to the end of the upload, a 201.
    pub answer: PendingResponse,
    /// Bytes of the blob.
    pub size: u64,
}

/// Why a blob was not relayed.
#[derive(Debug, thiserror::Error)]
enum CopyFailure {
    #[error("the source is below a pull-through path")]
    PullThrough,
    #[error("as many as may be are being relayed")]
    Busy,
    #[error("the registry does not show the blob to this caller: {0}")]
    NotShown(StatusCode),
    #[error("there is no artifact")]
    NoArtifact,
    #[error("it is too large, or would take too long")]
    TooLarge,
    #[error("it was not done in time")]
    Late,
    #[error("its task died")]
    Died,
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl BlobCopier {
    /// Asks by `client`.
    pub fn new(
        client: DelegatedClient,
        settings: &config::ArtifactsConfig,
    ) -> Result<Self, ArtifactStoreError> {
        Ok(Self {
            client,
            artifacts: ArtifactStore::open(&settings.root)?,
            places: Arc::new(Semaphore::new(settings.concurrency)),
            settings: settings.clone(),
            workers: BlockingPool::new(LOOKS.0, LOOKS.1),
            pace: ThroughputEstimate::default(),
        })
    }

    /// Relays a blob; `None` where that is not to be, or did not succeed.
    pub async fn copy(self: &Arc<Self>, request: CopyRequest) -> Option<CopiedBlob> {
        // On a task of its own: a client that goes away leaves no session behind.
        let done = tokio::spawn(self.clone().run(request)).await;
        match done.unwrap_or(Err(CopyFailure::Died)) {
            Ok(relayed) => Some(relayed),
            Err(reason) => {
                tracing::debug!(%reason, "a blob was not relayed");
                None
            }
        }
    }

    async fn run(self: Arc<Self>, request: CopyRequest) -> Result<CopiedBlob, CopyFailure> {
        if self.is_pulled_through(&request.request.source) {
            return Err(CopyFailure::PullThrough);
        }
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| CopyFailure::Busy)?;
        let deadline = Instant::now() + self.settings.deadline;
        let shown = tokio::time::timeout_at(deadline, self.is_shown(&request));
        shown.await.map_err(|_| CopyFailure::Late)??;
        let artifact = self
            .artifact(&request.request.target.digest, deadline)
            .await?;
        let size = artifact.size;

        let (began, given_up) = (Instant::now(), CancellationToken::new());
        let carrying = tokio::spawn({
            let (relay, given_up) = (self.clone(), given_up.clone());
            async move {
                let carried = relay.copy_artifact(&request, artifact, &given_up).await;
                drop(place);
                carried
            }
        });
        let carried = tokio::time::timeout_at(deadline, carrying).await;
        if let Ok(Ok(Ok(_))) | Err(_) = carried {
            self.pace.record(size, began.elapsed());
        }
        match carried {
            Ok(Ok(carried)) => Ok(carried.map(|answer| CopiedBlob { answer, size })?),
            Ok(Err(_)) => Err(CopyFailure::Died),
            Err(_) => {
                given_up.cancel();
                Err(CopyFailure::Late)
            }
        }
    }

    /// The artifact, if its bytes are right and there is time for it.
    ///
    /// All of them are hashed first: Pulp keeps what it has got of an upload that breaks off.
    async fn artifact(&self, digest: &Digest, deadline: Instant) -> Result<Artifact, CopyFailure> {
        let (artifacts, wanted) = (self.artifacts.clone(), digest.clone());
        let found = self.workers.run(deadline, move || artifacts.find(&wanted));
        let found = found.await.map_err(|_| CopyFailure::Late)?;
        let artifact = found.ok_or(CopyFailure::NoArtifact)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if artifact.size > self.settings.max_size || !self.pace.fits(artifact.size, left) {
            return Err(CopyFailure::TooLarge);
        }
        let wanted = digest.clone();
        let checked = self
            .workers
            .run(deadline, move || artifact.checked(&wanted));
        let checked = checked.await.map_err(|_| CopyFailure::Late)?;
        checked.map_err(|error| {
            tracing::warn!(%error, %digest, "an artifact cannot be used");
            CopyFailure::NoArtifact
        })
    }

    /// Uploads an artifact. What was given up meanwhile goes on until Pulp has taken the bytes
    /// that were under way, because it would bring back a session that is deleted before that.
    async fn copy_artifact(
        self: &Arc<Self>,
        request: &CopyRequest,
        artifact: Artifact,
        given_up: &CancellationToken,
    ) -> Result<PendingResponse, UploadError> {
        let (client, name) = (&self.client, &request.name);
        let upload = BlobUpload::begin(client, name, &request.request.target.repository).await?;
        let digest = &request.request.target.digest;
        let sending = upload.send(client, name, artifact, digest, given_up);
        let sent = tokio::time::timeout(self.settings.deadline + LONGER, sending).await;
        match sent.unwrap_or(Err(UploadError::Late)) {
            Ok(answer) => Ok(answer),
            Err(fault) => {
                let (relay, request) = (self.clone(), request.clone());
                // Nobody waits for it.
                tokio::spawn(async move {
                    upload.cancel(&relay.client, &request.name).await;
                });
                Err(fault)
            }
        }
    }

    /// Whether a question about a blob would make Pulp ask another registry.
    fn is_pulled_through(&self, source: &RepositoryName) -> bool {
        let paths = &self.settings.pull_through;
        paths.iter().any(|path| source.is_below(path))
    }

    /// Pulp answers 302 where this caller may pull and the repository has the blob, pending ones
    /// included. Where that leads to is a signed address, which is nobody's business here.
    async fn is_shown(&self, request: &CopyRequest) -> Result<(), CopyFailure> {
        let (source, digest) = (&request.request.source, &request.request.target.digest);
        let path = format!("v2/{source}/blobs/{digest}");
        let answer = self
            .client
            .request(Method::HEAD, &path, &request.name)
            .await;
        let answer = answer.map_err(upload::no_response)?;
        match answer.status() {
            StatusCode::FOUND => Ok(()),
            status => Err(CopyFailure::NotShown(status)),
        }
    }
}

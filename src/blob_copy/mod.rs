//! Copies layers that Pulp holds and does not mount yet: crossmount uploads Pulp's own artifacts.
//!
//! Images that are pushed at the same time share layers. Pulp does not mount them before their
//! first manifest exists, though it shows them to every caller who may pull (pending blobs). Only
//! then the bytes are copied on the server's side, with the caller's own credentials, and only for
//! a caller to whom Pulp has just shown the blob.
//!
//! `artifact` finds and hashes the file, and `reader` reads it and hashes it again. `upload` is the
//! session in the registry, and `throughput` estimates how long a copy takes.

mod artifact;
mod reader;
mod throughput;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use artifact::{ArtifactStore, ArtifactStoreError};

use crate::blob_copy::artifact::Artifact;
use crate::blob_copy::throughput::ThroughputEstimate;
use crate::blob_copy::upload::{BlobUpload, UploadError};
use crate::config;
use crate::mount::MountRequest;
use crate::oci::{Digest, RepositoryName};
use crate::upstream::{CallerIdentity, DelegatedClient, PendingResponse};
use crate::util::blocking_pool::BlockingPool;

/// Files that are searched and hashed at once, and the queue length.
const LOOKS: (usize, usize) = (2, 64);
/// How long Pulp may take beyond the deadline, when no client waits any more.
const LONGER: Duration = Duration::from_secs(60);

/// Copies blobs, within bounds.
#[derive(Debug)]
pub(crate) struct BlobCopier {
    client: DelegatedClient,
    artifacts: ArtifactStore,
    settings: config::ArtifactsConfig,
    places: Arc<Semaphore>,
    workers: BlockingPool,
    pace: ThroughputEstimate,
}

/// A caller's request for a blob in another repository.
#[derive(Debug, Clone)]
pub(crate) struct CopyRequest {
    /// The mount that Pulp does not make.
    pub request: MountRequest,
    /// The caller.
    pub name: CallerIdentity,
    /// Whether the request waits until fewer copies are in flight.
    waits: bool,
}

impl CopyRequest {
    /// A request that is not copied if too many copies are in flight.
    pub(crate) fn new(request: MountRequest, name: CallerIdentity) -> Self {
        Self {
            request,
            name,
            waits: false,
        }
    }

    /// A request whose client waits anyway.
    pub(crate) fn waiting(request: MountRequest, name: CallerIdentity) -> Self {
        Self {
            waits: true,
            ..Self::new(request, name)
        }
    }
}

/// One of the copies that may be in flight at once.
struct Place {
    permit: OwnedSemaphorePermit,
    /// Until when the copy must be finished.
    deadline: Instant,
}

/// A copied blob.
#[derive(Debug)]
pub(crate) struct CopiedBlob {
    /// The registry's 201 to the end of the upload.
    pub answer: PendingResponse,
    /// The blob's length in bytes.
    pub size: u64,
}

/// Why a blob was not copied.
#[derive(Debug, thiserror::Error)]
enum CopyFailure {
    #[error("the source is below a pull-through path")]
    PullThrough,
    #[error("too many copies are in flight")]
    Busy,
    #[error("the registry does not show the blob to this caller: {0}")]
    NotShown(StatusCode),
    #[error("there is no artifact")]
    NoArtifact,
    #[error("the blob is too large, or would take too long")]
    TooLarge,
    #[error("the copy was not finished in time")]
    Late,
    #[error("the task panicked")]
    Died,
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl BlobCopier {
    pub(crate) fn new(
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

    /// Copies a blob; `None` if it must not be copied, or the copy failed.
    pub(crate) async fn copy(self: &Arc<Self>, request: CopyRequest) -> Option<CopiedBlob> {
        let done = match self.place(&request).await {
            // On its own task: a client that disconnects leaves no session open.
            Ok(place) => tokio::spawn(self.clone().run(request, place))
                .await
                .unwrap_or(Err(CopyFailure::Died)),
            Err(failure) => Err(failure),
        };
        match done {
            Ok(relayed) => Some(relayed),
            Err(error) => {
                tracing::debug!(%error, "blob not copied");
                None
            }
        }
    }

    async fn run(
        self: Arc<Self>,
        request: CopyRequest,
        Place { permit, deadline }: Place,
    ) -> Result<CopiedBlob, CopyFailure> {
        let shown = tokio::time::timeout_at(deadline, self.is_shown(&request));
        shown.await.map_err(|_| CopyFailure::Late)??;
        let artifact = self
            .artifact(&request.request.target.digest, deadline)
            .await?;
        let size = artifact.size;

        let (began, given_up) = (Instant::now(), CancellationToken::new());
        let carrying = tokio::spawn({
            let (copier, given_up) = (self.clone(), given_up.clone());
            async move {
                let carried = copier.copy_artifact(&request, artifact, &given_up).await;
                drop(permit);
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

    /// A place for the copy. A client that disconnects gives up its wait.
    async fn place(&self, request: &CopyRequest) -> Result<Place, CopyFailure> {
        if self.is_pulled_through(&request.request.source) {
            return Err(CopyFailure::PullThrough);
        }
        let deadline = Instant::now() + self.settings.deadline;
        let places = self.places.clone();
        let permit = if request.waits {
            let permit = tokio::time::timeout_at(deadline, places.acquire_owned()).await;
            permit.map_err(|_| CopyFailure::Late)?.ok()
        } else {
            places.try_acquire_owned().ok()
        };
        let permit = permit.ok_or(CopyFailure::Busy)?;
        Ok(Place { permit, deadline })
    }

    /// The artifact, if its bytes are right and there is enough time.
    ///
    /// They are hashed before the upload, because Pulp keeps the bytes of one that breaks off.
    async fn artifact(&self, digest: &Digest, deadline: Instant) -> Result<Artifact, CopyFailure> {
        let (artifacts, wanted) = (self.artifacts.clone(), digest.clone());
        let artifact = self.workers.run(deadline, move || artifacts.find(&wanted));
        let artifact = artifact.await.map_err(|_| CopyFailure::Late)?;
        let artifact = artifact.ok_or(CopyFailure::NoArtifact)?;
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
            tracing::warn!(%error, %digest, "artifact check failed");
            CopyFailure::NoArtifact
        })
    }

    /// Uploads an artifact. After the deadline the upload goes on until Pulp has taken the bytes in
    /// flight: if the session were deleted before, those bytes would create it again.
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
                let (copier, request) = (self.clone(), request.clone());
                // No client waits for it.
                tokio::spawn(async move {
                    upload.cancel(&copier.client, &request.name).await;
                });
                Err(fault)
            }
        }
    }

    /// Whether a request for a blob would make Pulp send one to another registry.
    fn is_pulled_through(&self, source: &RepositoryName) -> bool {
        let paths = &self.settings.pull_through;
        paths.iter().any(|path| source.is_below(path))
    }

    /// Pulp responds 302 if this caller may pull and the repository has the blob, pending ones
    /// included. The redirect's signed URL is not followed.
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

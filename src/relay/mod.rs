//! Layers that Pulp holds and does not mount yet: their bytes are uploaded from its own artifacts.
//!
//! Images that are pushed at the same time share layers which Pulp does not mount before their
//! first manifest is there, though it shows them to whoever may pull (pending blobs). Then, and
//! only then, the bytes are copied on the server's side, for a caller to whom Pulp has just shown
//! the blob, with that caller's own credentials. `artifact` finds the file, `reading` reads and
//! hashes it, `upload` is the session in the registry, `pace` judges how long it would take.

mod artifact;
mod pace;
mod reading;
mod upload;

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::access::Credentials;
use crate::config;
use crate::mount::MountRequest;
use crate::oci::RepositoryName;
use crate::upstream::{Exchange, Held};
use crate::workers::Workers;

pub use artifact::{Artifacts, ArtifactsFault};
use pace::Pace;
use upload::{Asker, Upload};

/// Files that are looked for at once, and that wait for it.
const LOOKS: (usize, usize) = (2, 64);

/// Relays blobs, within bounds.
#[derive(Debug)]
pub struct Relay {
    exchange: Arc<Exchange>,
    /// The registry's own, with slashes at both ends.
    prefix: String,
    artifacts: Artifacts,
    settings: config::Artifacts,
    places: Arc<Semaphore>,
    workers: Workers,
    pace: Pace,
}

/// A blob that a caller wants in another repository.
#[derive(Debug, Clone)]
pub struct Errand {
    /// What to mount.
    pub request: MountRequest,
    /// The caller's own.
    pub credentials: Credentials,
    /// The client's, for which its token was made.
    pub host: HeaderValue,
}

/// A blob that was relayed.
#[derive(Debug)]
pub struct Relayed {
    /// The registry's answer to the end of the upload, a 201.
    pub answer: Held,
    /// Bytes of the blob.
    pub size: u64,
}

/// Why a blob was not relayed.
#[derive(Debug, thiserror::Error)]
enum NotRelayed {
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
    #[error(transparent)]
    Upload(#[from] upload::UploadFault),
}

impl Relay {
    /// Through `exchange`, to the registry with this prefix.
    ///
    /// # Errors
    /// [`ArtifactsFault`], where the artifacts cannot be read.
    pub fn new(
        exchange: Arc<Exchange>,
        prefix: &str,
        settings: &config::Artifacts,
    ) -> Result<Self, ArtifactsFault> {
        Ok(Self {
            exchange,
            prefix: prefix.to_owned(),
            artifacts: Artifacts::open(&settings.root)?,
            places: Arc::new(Semaphore::new(settings.concurrency)),
            settings: settings.clone(),
            workers: Workers::new(LOOKS.0, LOOKS.1),
            pace: Pace::default(),
        })
    }

    /// Relays a blob; `None` where that is not to be, or did not succeed.
    pub async fn attempt(self: &Arc<Self>, errand: Errand) -> Option<Relayed> {
        // On a task of its own: a client that goes away leaves no session behind.
        let relay = self.clone();
        let done = tokio::spawn(async move { relay.run(&errand).await }).await;
        match done {
            Ok(Ok(relayed)) => Some(relayed),
            Ok(Err(reason)) => {
                tracing::debug!(%reason, "a blob was not relayed");
                None
            }
            Err(error) => {
                tracing::error!(%error, "a relay died");
                None
            }
        }
    }

    async fn run(&self, errand: &Errand) -> Result<Relayed, NotRelayed> {
        if self.is_pulled_through(&errand.request.source) {
            return Err(NotRelayed::PullThrough);
        }
        let place = self.places.clone().try_acquire_owned();
        let _place = place.map_err(|_| NotRelayed::Busy)?;
        let began = Instant::now();
        let deadline = began + self.settings.deadline;
        let asker = Asker {
            exchange: &self.exchange,
            prefix: &self.prefix,
            host: &errand.host,
            credentials: &errand.credentials,
        };
        let shown = tokio::time::timeout_at(deadline, self.is_shown(&asker, &errand.request));
        shown.await.map_err(|_| NotRelayed::Late)??;

        let (artifacts, digest) = (self.artifacts.clone(), errand.request.digest.clone());
        let found = self.workers.run(deadline, move || artifacts.find(&digest));
        let artifact = found.await.map_err(|_| NotRelayed::Late)?;
        let artifact = artifact.ok_or(NotRelayed::NoArtifact)?;
        let size = artifact.size;
        let left = deadline.saturating_duration_since(Instant::now());
        if size > self.settings.max_size || !self.pace.fits(size, left) {
            return Err(NotRelayed::TooLarge);
        }

        let upload = Upload::begin(&asker, &errand.request.target, deadline).await?;
        let (sending, digest) = (Instant::now(), &errand.request.digest);
        let sent = tokio::time::timeout_at(deadline, upload.send(&asker, artifact, digest)).await;
        self.pace.learn(size, sending.elapsed());
        match sent {
            Ok(Ok(answer)) => Ok(Relayed { answer, size }),
            Ok(Err(fault)) => {
                upload.give_up(&asker).await;
                Err(fault.into())
            }
            Err(_) => {
                upload.give_up(&asker).await;
                Err(NotRelayed::Late)
            }
        }
    }

    /// Whether a question about a blob would make Pulp ask another registry.
    fn is_pulled_through(&self, source: &RepositoryName) -> bool {
        self.settings.pull_through.iter().any(|path| {
            let rest = source.as_str().strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Pulp answers 302 where this caller may pull and the repository has the blob, pending ones
    /// included. Where that leads to is a signed address, which is nobody's business here.
    async fn is_shown(&self, asker: &Asker<'_>, request: &MountRequest) -> Result<(), NotRelayed> {
        let path = format!("v2/{}/blobs/{}", request.source, request.digest);
        let answer = asker.ask(Method::HEAD, &path).await?;
        match answer.status() {
            StatusCode::FOUND => Ok(()),
            status => Err(NotRelayed::NotShown(status)),
        }
    }
}

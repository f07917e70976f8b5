//! One attempt: the registry is asked to mount from one source, and a session it opens is ended.

use std::sync::Arc;

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use crate::auth::Credentials;
use crate::discovery::Discovery;
use crate::mount::MountRequest;
use crate::oci::{BlobRef, RepositoryName};
use crate::proxy::observe::shows_layer;
use crate::store::bucket::{Bucket, BucketLookup};
use crate::upstream::{CallerIdentity, DelegatedClient, FirstByte, PendingResponse, UploadSession};

/// The client on whose behalf the registry is asked, and the deadline.
#[derive(Debug, Clone)]
pub(crate) struct SuggestionCaller {
    pub name: CallerIdentity,
    pub credentials: Credentials,
    pub deadline: Instant,
}

impl SuggestionCaller {
    /// The same for a client that waits at least until then.
    pub(crate) fn waiting_until(&self, until: std::time::Instant) -> Arc<Self> {
        Arc::new(Self {
            deadline: self.deadline.max(until.into()),
            ..self.clone()
        })
    }
}

/// A mount that the registry made.
pub(crate) struct SuggestedMount {
    /// The registry's 201.
    pub answer: Box<PendingResponse>,
    /// The length of the layer in bytes; 0 if the registry did not say it.
    pub size: u64,
}

/// How an attempt ended.
pub(crate) enum AttemptResult {
    /// With a mount.
    Mounted(SuggestedMount),
    /// The source does not hold the layer, or not yet.
    Useless,
    /// The caller may not pull the source.
    Refused,
    /// The registry gave no response that allows a further attempt.
    Silent,
}

/// Sends the subrequests of an attempt with the caller's credentials.
#[derive(Debug, Clone)]
pub(crate) struct MountAttempt {
    pub client: DelegatedClient,
    pub discovery: Arc<Discovery>,
    /// The registry's object store, if crossmount may list it for this caller.
    pub bucket: Option<Arc<Bucket>>,
    pub caller: Arc<SuggestionCaller>,
}

impl MountAttempt {
    /// Asks the registry to mount.
    pub(crate) async fn mount(&self, mount: MountRequest) -> AttemptResult {
        // On its own task: so neither a client that disconnects nor the deadline leaves an upload
        // session open.
        let tried = tokio::spawn(self.clone().run(mount));
        match tokio::time::timeout_at(self.caller.deadline, tried).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(_)) | Err(_) => AttemptResult::Silent,
        }
    }

    /// The response to a HEAD for the layer in a repository.
    pub(crate) async fn head_blob(
        &self,
        BlobRef { repository, digest }: &BlobRef,
    ) -> Option<PendingResponse> {
        let path = format!("v2/{repository}/blobs/{digest}");
        let asked = self.client.request(Method::HEAD, &path, &self.caller.name);
        let answer = tokio::time::timeout_at(self.caller.deadline, asked).await;
        answer.ok()?.ok()
    }

    /// Whether a repository exists, as far as the registry shows it to the caller in time.
    pub(crate) async fn has_repository(&self, repository: &RepositoryName) -> bool {
        let asked = self.client.has_repository(repository, &self.caller.name);
        let answer = tokio::time::timeout_at(self.caller.deadline, asked).await;
        matches!(answer, Ok(Ok(true)))
    }

    async fn run(self, mount: MountRequest) -> AttemptResult {
        let size = match self.check_blob(&mount).await {
            Ok(size) => size,
            Err(tried) => return tried,
        };
        let from = utf8_percent_encode(mount.source.as_str(), NON_ALPHANUMERIC);
        let digest = utf8_percent_encode(mount.target.digest.as_str(), NON_ALPHANUMERIC);
        let target = &mount.target.repository;
        let path = format!("v2/{target}/blobs/uploads/?from={from}&mount={digest}");
        let asked = self.client.request(Method::POST, &path, &self.caller.name);
        let Ok(answer) = asked.await else {
            return AttemptResult::Silent;
        };
        match answer.status() {
            StatusCode::CREATED => AttemptResult::Mounted(SuggestedMount {
                answer: Box::new(answer),
                size,
            }),
            StatusCode::ACCEPTED => {
                self.discovery
                    .forget_link(&mount.source, &mount.target.digest);
                self.cancel_upload(&answer, target);
                AttemptResult::Useless
            }
            // Pulp responds so, too, for a layer that it shows and does not mount yet.
            StatusCode::NOT_FOUND => AttemptResult::Useless,
            status => result_of(status),
        }
    }

    /// Checks that the blob's bytes exist: a registry may mount a blob that only its cache holds.
    /// Returns their number, or 0 if the registry does not say it. Drops the source from the index
    /// if the registry does not have the blob there.
    async fn check_blob(&self, mount: &MountRequest) -> Result<u64, AttemptResult> {
        if mount.target.digest.names_nothing() {
            return self.check_empty_blob(mount).await.map(|()| 0);
        }
        if let Some(found) = self.look_up(mount).await {
            return found;
        }
        let (source, digest) = (&mount.source, &mount.target.digest);
        let asked = self.client.first_byte(source, digest, &self.caller.name);
        let seen = tokio::time::timeout_at(self.caller.deadline, asked).await;
        match seen.map_err(|_| AttemptResult::Silent)? {
            Ok(FirstByte::Read(size)) => Ok(size.unwrap_or_default()),
            Ok(FirstByte::Refused(status)) => Err(self.blob_not_readable(mount, status)),
            // A registry may break off the response if it cannot read a blob.
            Ok(FirstByte::Absent) | Err(_) => Err(AttemptResult::Useless),
        }
    }

    /// Looks the link and the data up in the bucket; `None` if there is none, or it does not say.
    async fn look_up(&self, mount: &MountRequest) -> Option<Result<u64, AttemptResult>> {
        let (source, digest) = (&mount.source, &mount.target.digest);
        let found = self.bucket.as_ref()?;
        match found.look_up(source, digest, self.caller.deadline).await {
            Ok(BucketLookup::Here { size }) => Some(Ok(size)),
            Ok(BucketLookup::SourceMissing | BucketLookup::BlobMissing) => {
                self.discovery.forget_link(source, digest);
                Some(Err(AttemptResult::Useless))
            }
            Err(error) => {
                tracing::debug!(%error, "bucket lookup failed");
                None
            }
        }
    }

    /// The blob of no bytes has no first byte; a HEAD must do.
    async fn check_empty_blob(&self, mount: &MountRequest) -> Result<(), AttemptResult> {
        let Some(answer) = self
            .head_blob(&mount.target.in_repository(&mount.source))
            .await
        else {
            return Err(AttemptResult::Silent);
        };
        match answer.status() {
            status if shows_layer(status) => Ok(()),
            status => Err(self.blob_not_readable(mount, status)),
        }
    }

    fn blob_not_readable(&self, mount: &MountRequest, status: StatusCode) -> AttemptResult {
        match status {
            StatusCode::NOT_FOUND => {
                self.discovery
                    .forget_link(&mount.source, &mount.target.digest);
                AttemptResult::Useless
            }
            // The registry may fail to read only this blob.
            status if status.is_server_error() => AttemptResult::Useless,
            StatusCode::METHOD_NOT_ALLOWED => AttemptResult::Useless,
            status => result_of(status),
        }
    }

    /// Ends the upload session in the background.
    pub(crate) fn cancel_upload(&self, answer: &PendingResponse, target: &RepositoryName) {
        if let Some(session) = UploadSession::from_response(answer, target) {
            let (client, caller) = (self.client.clone(), self.caller.clone());
            tokio::spawn(async move { session.cancel(&client, &caller.name).await });
        }
    }
}

fn result_of(status: StatusCode) -> AttemptResult {
    tracing::debug!(status = status.as_u16(), "suggested mount not made");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AttemptResult::Refused,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::TOO_MANY_REQUESTS => AttemptResult::Silent,
        status if status.is_server_error() => AttemptResult::Silent,
        _ => AttemptResult::Useless,
    }
}

//! One upload session in the registry, with the caller's own credentials.

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_util::sync::CancellationToken;

use crate::blob_copy::artifact::Artifact;
use crate::blob_copy::reader;
use crate::oci::{Digest, RepositoryName};
use crate::upstream::{CallerIdentity, DelegatedClient, PendingResponse, UploadSession};

/// Why an upload failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the registry did not answer: {0}")]
    NoAnswer(&'static str),
    #[error("the registry answered {step} with {status}")]
    Refused {
        step: &'static str,
        status: StatusCode,
    },
    #[error("the registry returned no upload session of this repository")]
    NoSession,
    #[error("the upload was not finished in time")]
    Late,
    #[error("the registry returned another digest")]
    OtherDigest,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct BlobUpload(UploadSession);

impl BlobUpload {
    pub(crate) async fn begin(
        client: &DelegatedClient,
        name: &CallerIdentity,
        target: &RepositoryName,
    ) -> Result<Self, UploadError> {
        let directory = format!("v2/{target}/blobs/uploads/");
        let answer = client.request(Method::POST, &directory, name).await;
        let answer = answer.map_err(no_response)?;
        let answer = expect("the beginning", StatusCode::ACCEPTED, answer)?;
        let session = UploadSession::from_response(&answer, target);
        session.map(Self).ok_or(UploadError::NoSession)
    }

    /// Sends the artifact, and completes the session with the digest of its bytes.
    ///
    /// One PATCH without a range: Pulp hashes its bytes, unlike those of a PUT.
    pub(crate) async fn send(
        &self,
        client: &DelegatedClient,
        name: &CallerIdentity,
        artifact: Artifact,
        digest: &Digest,
        given_up: &CancellationToken,
    ) -> Result<PendingResponse, UploadError> {
        if given_up.is_cancelled() {
            return Err(UploadError::Late);
        }
        let head = client.head(&Method::PATCH, self.0.target(), name);
        let mut head = head.map_err(no_response)?;
        let kind = HeaderValue::from_static("application/octet-stream");
        head.insert_header(header::CONTENT_TYPE, kind)
            .map_err(no_response)?;
        let (size, chunks) = (artifact.size, reader::read(artifact, digest.clone()));
        let sent = client.subrequests().send_with(head, size, chunks).await;
        expect(
            "the bytes",
            StatusCode::ACCEPTED,
            sent.map_err(no_response)?,
        )?;
        if given_up.is_cancelled() {
            return Err(UploadError::Late);
        }

        let digest_in_query = utf8_percent_encode(digest.as_str(), NON_ALPHANUMERIC);
        let end = self.0.target_with(&format!("digest={digest_in_query}"));
        let answer = client.request(Method::PUT, &end, name).await;
        let answer = answer.map_err(no_response)?;
        let answer = expect("the end", StatusCode::CREATED, answer)?;
        let named = answer.headers().get("docker-content-digest");
        if named.is_none_or(|named| named != digest.as_str()) {
            return Err(UploadError::OtherDigest);
        }
        Ok(answer)
    }

    /// Deletes the session.
    pub(crate) async fn cancel(&self, client: &DelegatedClient, name: &CallerIdentity) {
        self.0.cancel(client, name).await;
    }
}

fn expect(
    step: &'static str,
    wanted: StatusCode,
    answer: PendingResponse,
) -> Result<PendingResponse, UploadError> {
    match answer.status() {
        status if status == wanted => Ok(answer),
        status => Err(UploadError::Refused { step, status }),
    }
}

/// Only the error's kind: the whole message may quote a head.
#[allow(
    clippy::boxed_local,
    clippy::needless_pass_by_value,
    reason = "Pingora's errors come boxed"
)]
pub(crate) fn no_response(error: Box<pingora::Error>) -> UploadError {
    UploadError::NoAnswer(match error.etype() {
        pingora::ErrorType::InternalError => "the bytes were abandoned",
        kind => kind.as_str(),
    })
}

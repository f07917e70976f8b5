//! A request of a push, in front of a registry that mounts a layer only after its manifest.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::discovery::uploads::leader::Progress;
use crate::discovery::uploads::named_layers::NamedLayers;
use crate::discovery::uploads::{Login, UploadsInFlight};
use crate::oci::BlobRef;
use crate::util::Fingerprint;

/// What a request of a push asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushStep {
    /// An upload session.
    Open,
    /// To take a manifest.
    Manifest,
    /// Whether a layer is there.
    Look,
    /// To take a part of a layer.
    Layer,
}

/// Shows that a push goes on.
///
/// All tokens of a repository count as one client. So a request with a token shows it only after
/// the registry took a write with that token: a token that the registry refuses shows nothing.
#[derive(Debug)]
pub(crate) struct PushRequest {
    uploads: Arc<UploadsInFlight>,
    login: Login,
    progress: Arc<Progress>,
    /// The token with which the registry has taken no write of this push yet.
    unproved: Option<Fingerprint>,
    step: PushStep,
    is_body_complete: bool,
    /// What the request's body names, if it is a manifest that may name layers for which HEADs wait.
    manifest: Option<NamedLayers>,
}

impl PushRequest {
    pub(super) fn new(
        uploads: Arc<UploadsInFlight>,
        login: Login,
        progress: Arc<Progress>,
        token: Option<Fingerprint>,
        step: PushStep,
        is_awaited: bool,
    ) -> Self {
        if step == PushStep::Open {
            progress.begin_opening();
        }
        let unproved = token.filter(|token| !progress.has_proved(token));
        let manifest = (step == PushStep::Manifest && is_awaited).then(NamedLayers::default);
        Self {
            uploads,
            login,
            progress,
            unproved,
            step,
            is_body_complete: false,
            manifest,
        }
    }

    /// A piece of the body came.
    pub(crate) fn add(&mut self, piece: &Bytes) {
        if self.unproved.is_none() {
            self.progress.add(piece.len() as u64);
        }
        let Some(manifest) = &mut self.manifest else {
            return;
        };
        let digests = manifest.digests_in(piece);
        if !digests.is_empty() {
            let table = self.uploads.table.lock();
            let repository = &self.login.repository;
            for digest in &digests {
                if table.waits_for_manifest(repository, &digest.bytes()) {
                    manifest.keep(digest);
                }
            }
        }
    }

    /// The body is complete.
    pub(crate) fn complete_body(&mut self) {
        if !self.is_body_complete && self.unproved.is_none() {
            self.is_body_complete = true;
            self.progress.complete_body();
        }
    }

    /// The registry responded. The layers that a manifest names may be mounted once it was taken.
    pub(crate) fn settle(&mut self, status: StatusCode) {
        if status.is_success()
            && self.step != PushStep::Look
            && let Some(token) = self.unproved.take()
        {
            self.progress.prove(token);
        }
        let Some(manifest) = self.manifest.take() else {
            return;
        };
        if status == StatusCode::CREATED {
            self.publish(manifest);
        } else if status.is_client_error() && !is_tried_again(status) {
            self.uploads.table.lock().manifest_refused(&self.login);
        }
    }

    fn publish(&self, manifest: NamedLayers) {
        for digest in manifest.into_layers() {
            let repository = self.login.repository.clone();
            self.uploads.arrived(&BlobRef { repository, digest });
        }
    }
}

/// Whether a refusal does not end the push: its client sends the manifest once more, with a token
/// or later. Or another client sent it, which may not push here.
fn is_tried_again(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    )
}

impl Drop for PushRequest {
    fn drop(&mut self) {
        if self.is_body_complete {
            self.progress.end_body();
        }
        if self.step == PushStep::Open {
            self.progress.end_opening();
        }
    }
}

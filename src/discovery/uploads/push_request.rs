//! A request of a push, in front of a registry that mounts a layer only after its manifest.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::discovery::uploads::leader::Progress;
use crate::discovery::uploads::named_layers::NamedLayers;
use crate::discovery::uploads::{Login, UploadsInFlight};
use crate::oci::BlobRef;

/// What a request of a push asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushStep {
    /// An upload session.
    Open,
    /// To take a manifest.
    Manifest,
    /// Whether a layer is there, or to take a part of it.
    Layer,
}

/// Shows that a push goes on.
#[derive(Debug)]
pub(crate) struct PushRequest {
    uploads: Arc<UploadsInFlight>,
    login: Login,
    progress: Arc<Progress>,
    is_body_complete: bool,
    opens: bool,
    /// What the request's body names, if it is a manifest that may name layers for which HEADs wait.
    manifest: Option<NamedLayers>,
}

impl PushRequest {
    pub(super) fn new(
        uploads: Arc<UploadsInFlight>,
        login: Login,
        progress: Arc<Progress>,
        step: PushStep,
        is_awaited: bool,
    ) -> Self {
        let opens = step == PushStep::Open;
        if opens {
            progress.begin_opening();
        }
        let manifest = (step == PushStep::Manifest && is_awaited).then(NamedLayers::default);
        Self {
            uploads,
            login,
            progress,
            is_body_complete: false,
            opens,
            manifest,
        }
    }

    /// A piece of the body came.
    pub(crate) fn add(&mut self, piece: &Bytes) {
        self.progress.add(piece.len() as u64);
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
        if !self.is_body_complete {
            self.is_body_complete = true;
            self.progress.complete_body();
        }
    }

    /// The registry responded. The layers that a manifest names may be mounted once it was taken.
    pub(crate) fn settle(&mut self, status: StatusCode) {
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
        if self.opens {
            self.progress.end_opening();
        }
    }
}

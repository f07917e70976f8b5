//! What the registry's own responses show in passing.

use std::sync::Arc;

use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};

use crate::auth::Unauthorized;
use crate::mount::{
    Forward, ForwardForm, MountRequest, Mounts, PendingVerification, StoreVerification,
};
use crate::oci::{BlobRef, Digest, RepositoryName, finds_scope_insufficient, refuses_token};
use crate::proxy::context::{MountState, RequestContext};
use crate::proxy::response;
use crate::proxy::route::Route;
use crate::proxy::upload_parts;
use crate::proxy::write_refusal::{self, WriteRefusal};
use crate::telemetry::outcome::{Outcome, Reason};
use crate::upstream::{ReachabilityCheck, RegistryState};

/// Records what responses show: new links, layers, refused writes and contradicted decisions.
#[derive(Debug)]
pub(crate) struct ResponseObserver {
    prefix: String,
    mounts: Arc<Mounts>,
    verification: StoreVerification,
    registry_state: Arc<RegistryState>,
    reachability: Arc<ReachabilityCheck>,
}

impl ResponseObserver {
    pub(crate) fn new(
        prefix: &str,
        mounts: Arc<Mounts>,
        verification: StoreVerification,
        registry_state: Arc<RegistryState>,
        reachability: Arc<ReachabilityCheck>,
    ) -> Self {
        Self {
            prefix: prefix.to_owned(),
            mounts,
            verification,
            registry_state,
            reachability,
        }
    }

    /// Begins a request that may make the registry write a link.
    pub(crate) fn begin_verification(&self) -> Option<PendingVerification> {
        self.verification.begin()
    }

    /// Records that no connection to the registry could be made.
    pub(crate) fn record_unreachable(&self) {
        self.reachability.record_unreachable();
    }

    /// Records a subrequest that got no response.
    pub(crate) fn record_failure(&self, error: &pingora::Error) {
        if response::is_unconnected(error.etype()) {
            self.reachability.record_unreachable();
        } else if response::is_connection_lost(error) {
            self.reachability.check_after_failure();
        }
    }

    /// Records that a connection to the registry broke.
    pub(crate) fn record_broken_connection(&self) {
        self.reachability.check_after_failure();
    }

    /// Observes a response's head before the client gets it.
    pub(crate) async fn observe(
        &self,
        request: &RequestHeader,
        head: &ResponseHeader,
        context: &mut RequestContext,
    ) {
        match head.status {
            StatusCode::CREATED => self.verify_store(head, context).await,
            status if shows_layer(status) => self.record_layer(context).await,
            StatusCode::METHOD_NOT_ALLOWED => self.record_write_refusal(request, head),
            StatusCode::UNAUTHORIZED => self.record_challenge(head, context).await,
            _ => {}
        }
        if let MountState::Forwarded(forward) = &mut context.mount {
            settle(forward, head.status);
        }
        if let Some(uploads) = &self.mounts.uploads {
            upload_parts::record_session(uploads, head, context);
        }
    }

    /// The registry has just linked a blob: verifies that the link is in crossmount's store.
    async fn verify_store(&self, head: &ResponseHeader, context: &RequestContext) {
        let digest = head
            .headers
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| Digest::parse(text).ok());
        let (Some(repository), Some(digest)) = (target_of(&context.route), digest) else {
            return;
        };
        let blob = BlobRef {
            repository: repository.clone(),
            digest,
        };
        if let Some(since) = &context.pending_verification {
            self.verification.check_link(&blob, since).await;
        }
        let credentials = context.credentials.as_ref();
        if let Some(mount) = native_mount(context).filter(|it| it.target.digest == blob.digest) {
            let source = blob.in_repository(&mount.source);
            self.mounts.record_push(&source, credentials).await;
        }
        self.mounts.record_push(&blob, credentials).await;
    }

    /// The registry served a layer, or told a client that it exists.
    async fn record_layer(&self, context: &RequestContext) {
        if let Route::Blob(blob) = &context.route {
            let credentials = context.credentials.as_ref();
            self.mounts.record_link(blob, credentials).await;
        }
    }

    /// A 405 to a write revokes everything that rests on the registry being writable.
    fn record_write_refusal(&self, request: &RequestHeader, head: &ResponseHeader) {
        let (target, method) = (request.raw_path(), &request.method);
        match write_refusal::classify(&self.prefix, target, method, &head.headers) {
            WriteRefusal::Nothing => {}
            WriteRefusal::NoWrites => self.registry_state.record_write_refused(),
            WriteRefusal::NoUploads => self.registry_state.record_upload_refused(),
        }
    }

    async fn record_challenge(&self, head: &ResponseHeader, context: &mut RequestContext) {
        let Some(credentials) = &context.credentials else {
            return;
        };
        let granted = match &context.mount {
            MountState::Forwarded(forward) => forward.granted.as_ref(),
            MountState::None | MountState::Done { .. } => None,
        };
        let refused = Unauthorized {
            credentials,
            granted,
            is_token_refused: refuses_token(&head.headers),
        };
        let is_mismatch = self.mounts.record_refusal(&refused).await;
        if let MountState::Forwarded(forward) = &mut context.mount {
            if is_mismatch {
                forward.reason = Reason::AccessMismatch;
            }
            // The registry reports a missing scope only for a token that it has verified.
            if finds_scope_insufficient(&head.headers) {
                self.mounts.record_challenge(forward);
            }
        }
    }
}

/// The mount that was forwarded in the form in which the client sent it.
fn native_mount(context: &RequestContext) -> Option<&MountRequest> {
    match (&context.route, &context.mount) {
        (Route::Mount(mount), MountState::Forwarded(forward))
            if forward.form == ForwardForm::AsItCame =>
        {
            Some(mount)
        }
        _ => None,
    }
}

/// The repository into which a request may make the registry write a link.
pub(crate) fn target_of(route: &Route) -> Option<&RepositoryName> {
    match route {
        Route::Upload(repository) => Some(repository),
        Route::Mount(MountRequest { target, .. }) | Route::SourcelessMount(target) => {
            Some(&target.repository)
        }
        Route::AmbiguousMount(_) | Route::Blob(_) | Route::Deletion(_) | Route::Other => None,
    }
}

/// Whether the response to a request for a layer shows that it exists: whole, in part or elsewhere.
pub(crate) fn shows_layer(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::OK
            | StatusCode::PARTIAL_CONTENT
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
    )
}

/// Sets outcome and reason of a mount that was forwarded before the store was verified.
fn settle(forward: &mut Forward, status: StatusCode) {
    if forward.outcome != Outcome::Native || status == StatusCode::CREATED {
        return;
    }
    forward.outcome = Outcome::Forwarded;
    if forward.reason == Reason::None {
        forward.reason = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Denied,
            StatusCode::METHOD_NOT_ALLOWED => Reason::ReadOnly,
            status if status.is_server_error() => Reason::UpstreamUnavailable,
            _ => Reason::None,
        };
    }
}

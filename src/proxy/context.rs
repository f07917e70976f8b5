//! The state of one request between its phases.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::auth::Credentials;
use crate::discovery::PendingDelete;
use crate::discovery::uploads::{PushRequest, UploadRequest};
use crate::mount::{Forward, Mounted, PendingVerification};
use crate::proxy::body_progress::BodyProgress;
use crate::proxy::route::Route;
use crate::server::drain::InFlight;
use crate::server::header_timeout::HeaderGuard;
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::telemetry::request_id::RequestId;
use crate::telemetry::trace::Trace;
use crate::upstream::SharedWrite;

/// The state of one request between Pingora's phases.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) id: RequestId,
    /// The client's trace context.
    pub(crate) trace: Option<Trace>,
    pub(crate) started: Instant,
    /// When the request was last sent to the registry.
    pub(crate) sent_at: Option<Instant>,
    /// How long the registry took to begin its response.
    pub(crate) response_time: Option<Duration>,
    pub(crate) route: Route,
    /// Whether the request's body is a blob, or a part of one.
    pub(crate) is_blob_upload: bool,
    /// Set while the store is not verified, on a request that may make the registry write a link.
    pub(crate) pending_verification: Option<PendingVerification>,
    pub(crate) mount: MountState,
    /// Set if the request sends a part of an upload for which HEADs may wait.
    pub(crate) upload: Option<UploadRequest>,
    /// Set if the request is one of a push whose layers may wait for their manifest.
    pub(crate) push: Option<PushRequest>,
    /// Set if the request deletes a layer.
    pub(crate) deletion: Option<PendingDelete>,
    /// The credentials that were sent to the registry's API.
    pub(crate) credentials: Option<Credentials>,
    /// Whether the mount was counted already.
    pub(crate) is_counted: bool,
    /// Whether the response began before the request's body had ended.
    pub(crate) is_early_response: bool,
    /// How many connections to the registry failed.
    pub(crate) failed_connections: usize,
    /// How often the request was sent again.
    pub(crate) resent: usize,
    /// Set if the request is a write that may share its connection with other writes.
    pub(crate) shared_write: Option<SharedWrite>,
    /// Which bytes of the body were seen.
    pub(crate) body: BodyProgress,
    pub(crate) _in_flight: InFlight,
    _head: HeaderGuard,
}

/// How far a mount has come.
#[derive(Debug)]
pub(crate) enum MountState {
    /// The request is no mount.
    None,
    /// crossmount responded with 201.
    Done {
        /// `Mounted` or `AlreadyLinked`.
        outcome: Outcome,
        /// The blob's length in bytes.
        size: u64,
        /// How crossmount came to the source.
        via: Via,
    },
    /// The request is forwarded, and the registry responds.
    Forwarded(Forward),
}

impl MountState {
    pub(crate) fn done(mounted: &Mounted) -> Self {
        Self::Done {
            outcome: mounted.outcome,
            size: mounted.size,
            via: mounted.via,
        }
    }
}

impl RequestContext {
    pub(crate) fn new(in_flight: InFlight) -> Self {
        Self {
            id: RequestId::new(),
            trace: None,
            started: Instant::now(),
            sent_at: None,
            response_time: None,
            route: Route::Other,
            is_blob_upload: false,
            pending_verification: None,
            mount: MountState::None,
            upload: None,
            push: None,
            deletion: None,
            credentials: None,
            is_counted: false,
            is_early_response: false,
            failed_connections: 0,
            resent: 0,
            shared_write: None,
            body: BodyProgress::default(),
            _in_flight: in_flight,
            _head: HeaderGuard::now(),
        }
    }

    /// Ends the deletion that this request is, by the registry's status.
    pub(crate) fn settle_delete(&mut self, status: StatusCode) {
        if let Some(mut deletion) = self.deletion.take() {
            if status.is_success() {
                deletion.record_deleted();
            } else if !status.is_server_error() {
                deletion.record_refused();
            }
        }
    }

    /// The registry responded to a part of an upload, or of a push. Without success the upload has
    /// broken off.
    pub(crate) fn settle_upload(&mut self, status: StatusCode) {
        if let Some(mut upload) = self.upload.take()
            && status.is_success()
        {
            upload.record_success();
        }
        if let Some(push) = &mut self.push {
            push.settle(status);
        }
    }

    /// Forwards a mount for a reason that needs no decision.
    pub(crate) fn forward_as_it_came(&mut self, reason: Reason) {
        self.mount = MountState::Forwarded(Forward::as_it_came(reason));
    }
}

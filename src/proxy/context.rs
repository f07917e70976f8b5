//! What is known of one request while it is on its way.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::auth::Credentials;
use crate::discovery::PendingDelete;
use crate::mount::{Forward, Mounted, PendingVerification};
use crate::proxy::route::Route;
use crate::server::drain::InFlight;
use crate::server::header_timeout::HeaderGuard;
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::telemetry::request_id::RequestId;
use crate::telemetry::trace::Trace;

/// One request's state between Pingora's phases.
#[derive(Debug)]
pub struct RequestContext {
    pub(crate) id: RequestId,
    /// The trace to which the client says that it belongs.
    pub(crate) trace: Option<Trace>,
    pub(crate) started: Instant,
    /// When the request went to the registry, the last time.
    pub(crate) asked: Option<Instant>,
    /// How long the registry took to begin its answer.
    pub(crate) answered_after: Option<Duration>,
    pub(crate) route: Route,
    /// Where a link of the registry's own is still to be seen.
    pub(crate) since: Option<PendingVerification>,
    pub(crate) mount: MountState,
    /// The deletion that this request is.
    pub(crate) deletion: Option<PendingDelete>,
    /// The credentials that went to the registry with a question to its API.
    pub(crate) shown: Option<Credentials>,
    /// Whether the mount was counted already.
    pub(crate) is_counted: bool,
    /// Whether the answer began before the request's body had ended.
    pub(crate) is_answered_early: bool,
    /// How many connections could not be made for it.
    pub(crate) unconnected: usize,
    /// How often it was sent again.
    pub(crate) resent: usize,
    pub(crate) _in_flight: InFlight,
    _head: HeaderGuard,
}

/// Where a mount stands.
#[derive(Debug)]
pub(crate) enum MountState {
    /// The request is no mount.
    None,
    /// Answered here.
    Done {
        /// Written or already there.
        outcome: Outcome,
        /// Bytes of the blob.
        size: u64,
        /// How its source was found.
        via: Via,
    },
    /// The registry answers.
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
            asked: None,
            answered_after: None,
            route: Route::Other,
            since: None,
            mount: MountState::None,
            deletion: None,
            shown: None,
            is_counted: false,
            is_answered_early: false,
            unconnected: 0,
            resent: 0,
            _in_flight: in_flight,
            _head: HeaderGuard::now(),
        }
    }

    /// The registry has answered this request, if it is a deletion.
    pub(crate) fn settle_delete(&mut self, status: StatusCode) {
        if let Some(mut deletion) = self.deletion.take() {
            if status.is_success() {
                deletion.record_deleted();
            } else if !status.is_server_error() {
                deletion.record_refused();
            }
        }
    }

    /// A mount that is the registry's from the beginning.
    pub(crate) fn forward_as_it_came(&mut self, reason: Reason) {
        self.mount = MountState::Forwarded(Forward::as_it_came(reason));
    }
}

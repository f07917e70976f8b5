//! What is known of one request while it is on its way.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::classify::Route;
use super::head::HeaderGuard;
use crate::access::Credentials;
use crate::discovery::PendingDelete;
use crate::mount::{Forward, Mounted, PendingVerification};
use crate::ops::{InFlight, RequestId, Trace};
use crate::outcome::{Outcome, Reason, Via};

/// One request's state between Pingora's phases.
#[derive(Debug)]
pub struct RequestContext {
    pub(super) id: RequestId,
    /// The trace to which the client says that it belongs.
    pub(super) trace: Option<Trace>,
    pub(super) started: Instant,
    /// When the request went to the registry, the last time.
    pub(super) asked: Option<Instant>,
    /// How long the registry took to begin its answer.
    pub(super) answered_after: Option<Duration>,
    pub(super) route: Route,
    /// Where a link of the registry's own is still to be seen.
    pub(super) since: Option<PendingVerification>,
    pub(super) mount: MountState,
    /// The deletion that this request is.
    pub(super) deletion: Option<PendingDelete>,
    /// The credentials that went to the registry with a question to its API.
    pub(super) shown: Option<Credentials>,
    /// Whether the mount was counted already.
    pub(super) is_counted: bool,
    /// Whether the answer began before the request's body had ended.
    pub(super) is_answered_early: bool,
    /// How many connections could not be made for it.
    pub(super) unconnected: usize,
    /// How often it was sent again.
    pub(super) resent: usize,
    pub(super) _in_flight: InFlight,
    _head: HeaderGuard,
}

/// Where a mount stands.
#[derive(Debug)]
pub(super) enum MountState {
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
    pub(super) fn done(mounted: &Mounted) -> Self {
        Self::Done {
            outcome: mounted.outcome,
            size: mounted.size,
            via: mounted.via,
        }
    }
}

impl RequestContext {
    pub(super) fn new(in_flight: InFlight) -> Self {
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
    pub(super) fn deletion_answered(&mut self, status: StatusCode) {
        if let Some(mut deletion) = self.deletion.take() {
            if status.is_success() {
                deletion.was_done();
            } else if !status.is_server_error() {
                deletion.was_refused();
            }
        }
    }

    /// A mount that is the registry's from the beginning.
    pub(super) fn forward_at_once(&mut self, reason: Reason) {
        self.mount = MountState::Forwarded(Forward::as_it_came(reason));
    }
}

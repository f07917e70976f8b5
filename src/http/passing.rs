//! What the registry's own answers show as they pass by.

use std::sync::Arc;

use http::{Method, StatusCode};
use pingora::http::ResponseHeader;

use super::classify::Route;
use super::context::{Context, MountState};
use crate::mount::{Forward, MountRequest, Mounts, Sightings, Since};
use crate::oci::{Digest, RepositoryName};
use crate::outcome::{Outcome, Reason};
use crate::upstream::Standing;

/// Learns from answers that pass by.
#[derive(Debug)]
pub struct Passing {
    mounts: Arc<Mounts>,
    sightings: Sightings,
    standing: Arc<Standing>,
}

impl Passing {
    /// Tells `mounts`, `sightings` and `standing` what is learned.
    #[must_use]
    pub fn new(mounts: Arc<Mounts>, sightings: Sightings, standing: Arc<Standing>) -> Self {
        Self {
            mounts,
            sightings,
            standing,
        }
    }

    /// A request begins that may end with a link of the registry's own.
    pub(super) fn begin(&self) -> Option<Since> {
        self.sightings.begin()
    }

    /// A connection to the registry could not be made, or broke.
    pub(super) fn registry_lost(&self) {
        self.standing.unreachable();
    }

    /// Looks at an answer's head before the client gets it.
    pub(super) async fn look(&self, method: &Method, head: &ResponseHeader, context: &mut Context) {
        match head.status {
            StatusCode::CREATED => self.look_for_link(head, context).await,
            StatusCode::METHOD_NOT_ALLOWED => self.note_refused_write(method, &context.route),
            _ => {}
        }
        if let MountState::Forwarded(forward) = &mut context.mount {
            if head.status == StatusCode::UNAUTHORIZED {
                self.mounts.was_challenged(forward);
            }
            settle(forward, head.status);
        }
    }

    /// The registry says that it has just linked a blob: the link must appear in our store.
    async fn look_for_link(&self, head: &ResponseHeader, context: &Context) {
        let digest = head
            .headers
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| Digest::parse(text).ok());
        if let (Some(repository), Some(digest), Some(since)) =
            (linked_into(&context.route), digest, &context.since)
        {
            self.sightings.linked(repository, &digest, since).await;
        }
    }

    fn note_refused_write(&self, method: &Method, route: &Route) {
        match *method {
            Method::POST if *route != Route::Other => self.standing.refused_upload(),
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
                self.standing.refused_write();
            }
            _ => {}
        }
    }
}

/// The repository into which a request may make the registry write a link.
pub(super) fn linked_into(route: &Route) -> Option<&RepositoryName> {
    match route {
        Route::Upload(repository) => Some(repository),
        Route::Mount(MountRequest { target, .. }) => Some(target),
        Route::OddMount | Route::SourcelessMount | Route::Other => None,
    }
}

/// Counts a forwarded mount by what the registry made of it.
fn settle(forward: &mut Forward, status: StatusCode) {
    if status == StatusCode::CREATED {
        forward.outcome = match forward.outcome {
            Outcome::WouldMount => Outcome::WouldMount,
            _ => Outcome::Native,
        };
    } else if forward.outcome == Outcome::Native {
        forward.outcome = Outcome::Forwarded;
        forward.reason = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Denied,
            StatusCode::METHOD_NOT_ALLOWED => Reason::ReadOnly,
            status if status.is_server_error() => Reason::UpstreamUnavailable,
            _ => Reason::None,
        };
    }
}

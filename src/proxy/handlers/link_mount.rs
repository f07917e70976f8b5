//! In front of distribution: crossmount mounts with a link in the store, or forwards the request.

use std::sync::Arc;
use std::time::Instant;

use http::{StatusCode, header};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::auth::Credentials;
use crate::config::ResponseHeaders;
use crate::discovery::StoreScanner;
use crate::discovery::uploads::WaitingHead;
use crate::mount::{Caller, Decision, HeadMount, MountRequest, Mounted, Mounts};
use crate::notifications::{Event, Notifier};
use crate::oci::{BlobRef, RepositoryName};
use crate::proxy::context::{MountState, RequestContext};
use crate::proxy::handlers::client_wait::head_response;
use crate::proxy::handlers::held_head::{HeldHead, HeldMount, HeldRequest};
use crate::proxy::location::Locations;
use crate::proxy::observe::{ResponseObserver, target_of};
use crate::proxy::request_id::event_request;
use crate::proxy::response::{self, Response};
use crate::proxy::route::Route;
use crate::server::drain::Drain;
use crate::telemetry::labels::HeldResult;
use crate::telemetry::outcome::{Reason, Via};
use crate::upstream::SubrequestClient;

/// Longest URL of an event, in characters: a longer one names no host that could be resolved.
const LONGEST_URL: usize = 1024;

/// The link for which a HEAD may be held.
struct HeldLink<'a> {
    mounts: &'a Mounts,
    target: &'a BlobRef,
    caller: Caller<'a>,
}

impl HeldMount for HeldLink<'_> {
    type Found = HeadMount;

    fn here() -> HeadMount {
        HeadMount::Here
    }

    fn result_of(found: &HeadMount) -> Option<HeldResult> {
        match found {
            HeadMount::NotFound => None,
            HeadMount::Decided(Decision::Done(_)) => Some(HeldResult::Linked),
            HeadMount::Decided(Decision::Forward(_)) | HeadMount::Here | HeadMount::NotTried => {
                Some(HeldResult::Released)
            }
        }
    }

    async fn decide_uploads(&self, waiting: &mut WaitingHead<'_>) {
        self.mounts
            .decide_uploads(waiting, self.target, &self.caller)
            .await;
    }

    async fn mount(&self, _source: &RepositoryName, _until: Instant) -> HeadMount {
        self.mounts
            .mount_for_head(self.target, &self.caller, Via::Wait)
            .await
    }
}

/// Responds to mounts of linked layers, and forwards the rest.
#[derive(Debug)]
pub(crate) struct LinkMountHandler {
    pub(crate) locations: Locations,
    pub(crate) response_headers: ResponseHeaders,
    pub(crate) mounts: Arc<Mounts>,
    pub(crate) observer: ResponseObserver,
    pub(crate) subrequests: Arc<SubrequestClient>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) drain: Arc<Drain>,
    /// The scan ends with the handler.
    pub(crate) _scanner: Option<StoreScanner>,
}

impl LinkMountHandler {
    /// `Ok(None)` forwards the request.
    pub(crate) async fn handle(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        if target_of(&context.route).is_some() {
            context.pending_verification = self.observer.begin_verification();
        }
        match context.route.clone() {
            Route::Mount(request) => return self.mount(session, &request, context).await,
            Route::SourcelessMount(target) => {
                return self.mount_without_source(session, &target, context).await;
            }
            Route::Deletion(blob) => {
                context.deletion = self.mounts.begin_delete(&blob).await;
            }
            Route::Blob(blob) if self.mounts.mounts_on_head() => {
                return Box::pin(self.head(session, &blob, context)).await;
            }
            Route::AmbiguousMount(_) => context.forward_as_it_came(Reason::OddRequest),
            Route::Upload(_) | Route::Blob(_) | Route::Other => {}
        }
        Ok(None)
    }

    /// A mount that names its source.
    async fn mount(
        &self,
        session: &mut Session,
        request: &MountRequest,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let head = session.req_header();
        let target = &request.target;
        let Some(location) = self.locations.for_blob(target, &head.headers) else {
            context.forward_as_it_came(Reason::OddRequest);
            return Ok(None);
        };
        let credentials = Credentials::new(head.headers.get(header::AUTHORIZATION));
        let caller = Caller {
            credentials: &credentials,
            id: &context.id,
        };
        let decision = self.mounts.attempt(request, &caller).await;
        self.respond_created(session, decision, target, &location, context)
    }

    /// A mount that names no source.
    async fn mount_without_source(
        &self,
        session: &mut Session,
        target: &BlobRef,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let head = session.req_header();
        let Some(location) = self.locations.for_blob(target, &head.headers) else {
            context.forward_as_it_came(Reason::SourceMissing);
            return Ok(None);
        };
        let credentials = Credentials::new(head.headers.get(header::AUTHORIZATION));
        let caller = Caller {
            credentials: &credentials,
            id: &context.id,
        };
        let decision = self.mounts.attempt_without_source(target, &caller).await;
        self.respond_created(session, decision, target, &location, context)
    }

    /// Responds 201 if the layer is linked.
    fn respond_created(
        &self,
        session: &Session,
        decision: Decision,
        target: &BlobRef,
        location: &str,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        match decision {
            Decision::Forward(forward) => {
                context.mount = MountState::Forwarded(forward);
                Ok(None)
            }
            Decision::Done(mounted) => {
                self.notify(session.req_header(), &mounted, target, location, context);
                context.mount = MountState::done(&mounted);
                let head = response::created(&target.digest, location, &self.response_headers)?;
                Ok(Some(Response::Own(Box::new(head), None)))
            }
        }
    }

    /// A HEAD for a layer, which may lead to a mount.
    ///
    /// The registry responds first. If crossmount then links the layer, the registry gets the HEAD
    /// once more, so that the response is its own.
    async fn head(
        &self,
        session: &mut Session,
        blob: &BlobRef,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let answered = head_response(session, context, &self.subrequests).await;
        let answered = answered.inspect_err(|error| self.observer.record_failure(error))?;
        let Some((head, answer)) = answered else {
            return Ok(None);
        };
        if answer.status() == StatusCode::NOT_FOUND
            && self.mount_or_wait(session, blob, &head, context).await?
        {
            return Ok(None);
        }
        self.observer.observe(&head, answer.head(), context).await;
        Ok(Some(Response::Upstream(Box::new(answer))))
    }

    /// Links the layer of a HEAD that got 404, perhaps after an upload of it that is in flight.
    /// Returns whether the registry gets the HEAD again.
    async fn mount_or_wait(
        &self,
        session: &mut Session,
        blob: &BlobRef,
        head: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<bool> {
        let Some(credentials) = context.credentials.clone() else {
            return Ok(false);
        };
        let id = context.id.clone();
        let caller = Caller {
            credentials: &credentials,
            id: &id,
        };
        let found = self.mounts.mount_for_head(blob, &caller, Via::Head).await;
        if !matches!(found, HeadMount::NotFound) {
            return Ok(self.settle_head(found, blob, head, context));
        }
        let agent = head.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        let Some(waiting) = self
            .mounts
            .waiting_head(blob, &caller, agent.unwrap_or_default())
        else {
            return Ok(false);
        };
        let mount = HeldLink {
            mounts: &self.mounts,
            target: blob,
            caller,
        };
        let request = HeldRequest {
            target: blob,
            id: &id,
            metrics: &self.mounts.metrics,
        };
        let mut wait = HeldHead::new(mount, &self.drain, waiting, request);
        let found = wait.until_arrived(session).await?;
        drop(wait);
        match found {
            Some(found) => Ok(self.settle_head(found, blob, head, context)),
            None => Ok(false),
        }
    }

    /// Records what became of a HEAD; returns whether the registry gets it again.
    fn settle_head(
        &self,
        found: HeadMount,
        blob: &BlobRef,
        head: &RequestHeader,
        context: &mut RequestContext,
    ) -> bool {
        match found {
            HeadMount::Decided(Decision::Done(mounted)) => {
                if let Some(location) = self.locations.for_blob(blob, &head.headers) {
                    self.notify(head, &mounted, blob, &location, context);
                }
                context.mount = MountState::done(&mounted);
                true
            }
            HeadMount::Decided(Decision::Forward(forward)) => {
                context.mount = MountState::Forwarded(forward);
                false
            }
            HeadMount::Here => true,
            HeadMount::NotFound | HeadMount::NotTried => false,
        }
    }

    /// Queues the registry's webhook event for a mount.
    fn notify(
        &self,
        head: &RequestHeader,
        mounted: &Mounted,
        target: &BlobRef,
        location: &str,
        context: &RequestContext,
    ) {
        self.notifier.notify(&Event {
            target: target.clone(),
            source: mounted.source.clone(),
            size: mounted.size,
            url: location.chars().take(LONGEST_URL).collect(),
            user: mounted.user.clone(),
            request: event_request(head, &context.id),
        });
    }
}

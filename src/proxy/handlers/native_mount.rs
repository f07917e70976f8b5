//! In front of Pulp and other registries: the registry itself mounts. A response that breaks
//! clients is replaced by the response to a plain upload.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::auth::Credentials;
use crate::blob_copy::{BlobCopier, CopiedBlob, CopyRequest};
use crate::discovery::BucketScanner;
use crate::discovery::uploads::UploadsInFlight;
use crate::mount::{Forward, MountRequest};
use crate::native_mount::{Action, MountResponse, NativeMountRules, outcome_of};
use crate::oci::BlobRef;
use crate::proxy::context::{MountState, RequestContext};
use crate::proxy::handlers::client_wait::{head_response, while_client_waits};
use crate::proxy::handlers::held_head::{HeldHead, HeldRequest};
use crate::proxy::handlers::suggested_mount::{
    Suggested, SuggestedMount, SuggestedMounts, SuggestionRights,
};
use crate::proxy::request_target;
use crate::proxy::response::Response;
use crate::proxy::route::{Ambiguity, Route};
use crate::server::drain::Drain;
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::telemetry::trace::Trace;
use crate::upstream::{CallerIdentity, PendingResponse, SubrequestClient};

/// The longest error body that is read, in bytes.
const LONGEST_ERROR: usize = 64 * 1024;
/// How long an error's body may take after its head before it is passed on unread.
const ERROR_LIMIT: Duration = Duration::from_secs(5);

/// Sends mounts to the registry, and replaces refusals that break clients.
#[derive(Debug)]
pub(crate) struct NativeMountHandler {
    native: NativeMountRules,
    subrequests: Arc<SubrequestClient>,
    /// Copies layers that Pulp does not mount yet.
    copier: Option<Arc<BlobCopier>>,
    /// Finds layers whose source the client does not know.
    suggestions: Option<SuggestedMounts>,
    drain: Arc<Drain>,
    /// Lists the registry's object store for the suggestions.
    _scanner: Option<BucketScanner>,
}

/// What the client asks to mount.
enum WantedMount {
    /// A layer of a named source.
    Named(MountRequest),
    /// A layer of any source.
    Sourceless(BlobRef),
    /// An ambiguous query, which only the registry can judge.
    Ambiguous,
}

/// The response to the client, and how it is counted.
struct ClientResponse {
    answer: PendingResponse,
    state: MountState,
}

impl NativeMountHandler {
    pub(crate) fn new(
        native: NativeMountRules,
        subrequests: Arc<SubrequestClient>,
        copier: Option<Arc<BlobCopier>>,
        suggestions: Option<SuggestedMounts>,
        drain: Arc<Drain>,
    ) -> Self {
        Self {
            native,
            subrequests,
            copier,
            suggestions,
            drain,
            _scanner: None,
        }
    }

    /// Keeps a scan running as long as the handler.
    pub(crate) fn with_scanner(self, scanner: Option<BucketScanner>) -> Self {
        Self {
            _scanner: scanner,
            ..self
        }
    }

    /// The uploads for which HEADs may wait.
    pub(crate) fn uploads(&self) -> Option<&Arc<UploadsInFlight>> {
        self.suggestions.as_ref()?.uploads.as_ref()
    }

    /// Handles the request; `None` forwards it.
    pub(crate) async fn handle(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let (request, reason) = match context.route.clone() {
            Route::Mount(request) => (WantedMount::Named(request), Reason::None),
            Route::SourcelessMount(target) => {
                (WantedMount::Sourceless(target), Reason::SourceMissing)
            }
            Route::AmbiguousMount(Ambiguity::Words) => (WantedMount::Ambiguous, Reason::OddRequest),
            Route::AmbiguousMount(Ambiguity::Form) => {
                context.forward_as_it_came(Reason::OddRequest);
                return Ok(None);
            }
            Route::Blob(blob) => return self.head(session, &blob, context).await,
            Route::Deletion(blob) => {
                if let Some(suggestions) = &self.suggestions {
                    context.deletion = Some(suggestions.begin_delete(&blob).await);
                }
                return Ok(None);
            }
            Route::Upload(_) | Route::Other => return Ok(None),
        };
        // Counted as this unless the registry responds.
        context.forward_as_it_came(Reason::UpstreamUnavailable);
        let head = session.req_header().clone();
        context.credentials = Credentials::from_single_header(&head.headers);
        let response = while_client_waits(session, context, self.mount(&head, &request)).await?;
        context.mount = with_reason(response.state, reason);
        self.observe(response.answer.head(), context).await;
        Ok(Some(Response::Upstream(Box::new(response.answer))))
    }

    /// Observes a response's head before the client gets it.
    pub(crate) async fn observe(&self, head: &ResponseHeader, context: &RequestContext) {
        if let Some(suggestions) = &self.suggestions {
            suggestions.observe(head, context).await;
        }
    }

    /// A HEAD for a layer. The registry responds first; if it then mounts the layer, it gets the
    /// HEAD once more.
    async fn head(
        &self,
        session: &mut Session,
        blob: &BlobRef,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let Some(suggestions) = self.suggestions.as_ref().filter(|it| it.mounts_on_head()) else {
            return Ok(None);
        };
        let Some((head, answer)) = head_response(session, context, &self.subrequests).await? else {
            return Ok(None);
        };
        if answer.status() == StatusCode::NOT_FOUND {
            let found = suggestions.mount_for_head(blob, &head, &answer).await;
            let (found, via) = match found {
                Suggested::NotFound(rights) => {
                    let wait = self.wait(session, blob, &head, context, rights);
                    (Box::pin(wait).await?, Via::Wait)
                }
                found => (found, Via::Head),
            };
            match found {
                Suggested::Mounted(mounted) => {
                    context.mount = suggested(mounted, via).state;
                    return Ok(None);
                }
                Suggested::Copied(copied) => {
                    context.mount = done(*copied, via).state;
                    return Ok(None);
                }
                Suggested::Here => return Ok(None),
                Suggested::NotFound(_) | Suggested::NotTried => {}
            }
        }
        self.observe(answer.head(), context).await;
        Ok(Some(Response::Upstream(Box::new(answer))))
    }

    /// Holds a HEAD for which nothing was mounted while another client uploads the layer, and then
    /// has the registry mount it.
    async fn wait(
        &self,
        session: &mut Session,
        blob: &BlobRef,
        head: &RequestHeader,
        context: &RequestContext,
        rights: SuggestionRights,
    ) -> Result<Suggested> {
        let Some(suggestions) = &self.suggestions else {
            return Ok(Suggested::NotTried);
        };
        let Some(waiting) = suggestions.waiting_head(blob, head, &rights).await else {
            return Ok(Suggested::NotTried);
        };
        let request = HeldRequest {
            target: blob,
            id: &context.id,
            metrics: &suggestions.metrics,
        };
        let mount = suggestions.held_mount(blob, head, rights, self.copier.as_ref());
        let mut wait = HeldHead::new(mount, &self.drain, waiting, request);
        let found = wait.until_arrived(session).await?;
        Ok(found.unwrap_or(Suggested::NotTried))
    }

    /// Sends the mount, and then what the rules put in its place.
    async fn mount(&self, head: &RequestHeader, request: &WantedMount) -> Result<ClientResponse> {
        if let Some(suggestions) = &self.suggestions
            && let WantedMount::Sourceless(target) = request
            && let Some(mounted) = suggestions.mount_sourceless(target, head).await
        {
            return Ok(suggested(mounted, Via::Discovery));
        }
        let request = match request {
            WantedMount::Named(request) => Some(request),
            WantedMount::Sourceless(_) | WantedMount::Ambiguous => None,
        };
        let mut mount = head.clone();
        if let Some(request) = request.filter(|_| self.native.needs_bare_query()) {
            mount.set_raw_path(&request_target::bare_mount(head.raw_path(), request))?;
        }
        let mut answer = self.subrequests.send(mount).await?;
        let credentials = Credentials::new(head.headers.get(header::AUTHORIZATION));
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = if self.native.reads_errors(status) {
            // A body that comes too late is passed on as it comes.
            let read = tokio::time::timeout(ERROR_LIMIT, answer.body(LONGEST_ERROR));
            read.await.unwrap_or(Ok(None))?
        } else {
            None
        };
        let action = self.native.action(&MountResponse {
            request,
            credentials: &credentials,
            status,
            headers: &headers,
            body,
        });
        let Action::Upload {
            reason,
            is_blob_missing,
        } = action
        else {
            if let Some(request) = request.filter(|_| status == StatusCode::CREATED) {
                self.record_source(request);
            }
            if let Some(request) = request.filter(|_| status == StatusCode::ACCEPTED)
                && self.native.suggests_after_upload()
                && let Some(suggestions) = &self.suggestions
                && let Some(mounted) = suggestions
                    .mount_in_place_of(&answer, &request.target, head)
                    .await
            {
                return Ok(suggested(mounted, Via::Discovery));
            }
            return Ok(forwarded_response(answer));
        };
        if let Some(request) = request {
            if let Some(suggestions) = &self.suggestions
                && let Some(mounted) = suggestions.mount(&request.target, head, &answer).await
            {
                return Ok(suggested(mounted, Via::Discovery));
            }
            if is_blob_missing
                && let Some(copied) = self.copy_blob(head, request, &credentials).await
            {
                self.record_source(request);
                return Ok(done(copied, Via::From));
            }
        }
        self.upload(head, answer, reason).await
    }

    /// Records that the source that the client named holds the layer.
    fn record_source(&self, request: &MountRequest) {
        if let Some(suggestions) = &self.suggestions {
            suggestions.record_source(&request.target.in_repository(&request.source));
        }
    }

    async fn copy_blob(
        &self,
        head: &RequestHeader,
        request: &MountRequest,
        credentials: &Credentials,
    ) -> Option<CopiedBlob> {
        let copier = self.copier.as_ref()?;
        let name = CallerIdentity::for_request(&head.headers, credentials.header())?;
        copier.copy(CopyRequest::new(request.clone(), name)).await
    }

    /// Starts a plain upload in place of a refused mount.
    async fn upload(
        &self,
        head: &RequestHeader,
        refused: PendingResponse,
        reason: Reason,
    ) -> Result<ClientResponse> {
        let mut plain = head.clone();
        plain.set_raw_path(&request_target::plain_upload(head.raw_path()))?;
        let answer = match self.subrequests.send(plain).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = error.etype().as_str();
                let trace = Trace::current();
                let trace_id = trace.as_ref().map(Trace::id);
                tracing::warn!(trace_id, error, "replacement upload failed");
                return Ok(forwarded_response(refused));
            }
        };
        if refused.status() == StatusCode::UNAUTHORIZED && !answer.status().is_success() {
            // The upload is refused too, and only the mount's challenge names all missing scopes.
            return Ok(forwarded_response(refused));
        }
        Ok(ClientResponse {
            answer,
            state: MountState::Forwarded(Forward::as_it_came(reason)),
        })
    }
}

/// The registry's own response to the mount.
fn forwarded_response(answer: PendingResponse) -> ClientResponse {
    let (outcome, reason) = outcome_of(answer.status());
    let forward = Forward {
        outcome,
        ..Forward::as_it_came(reason)
    };
    ClientResponse {
        answer,
        state: MountState::Forwarded(forward),
    }
}

/// The registry's response to a mount from a suggested source. The client did not send the layer.
fn suggested(mounted: SuggestedMount, via: Via) -> ClientResponse {
    let (outcome, reason) = outcome_of(mounted.answer.status());
    let forward = Forward {
        outcome,
        size: mounted.size,
        via,
        ..Forward::as_it_came(reason)
    };
    ClientResponse {
        answer: *mounted.answer,
        state: MountState::Forwarded(forward),
    }
}

fn done(copied: CopiedBlob, via: Via) -> ClientResponse {
    ClientResponse {
        answer: copied.answer,
        state: MountState::Done {
            outcome: Outcome::Relayed,
            size: copied.size,
            via,
        },
    }
}

/// Counts what was known of the request before, if the registry's response gives no reason.
fn with_reason(state: MountState, reason_before: Reason) -> MountState {
    match state {
        MountState::Forwarded(forward)
            if forward.reason == Reason::None && forward.outcome == Outcome::Forwarded =>
        {
            MountState::Forwarded(Forward {
                reason: reason_before,
                ..forward
            })
        }
        state => state,
    }
}

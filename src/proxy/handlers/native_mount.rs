//! In front of Pulp and other registries: their own mount is asked, and an answer that breaks
//! clients is replaced by that of a plain upload.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::auth::Credentials;
use crate::blob_copy::{BlobCopier, CopiedBlob, CopyRequest};
use crate::mount::{Forward, MountRequest};
use crate::native_mount::{Action, MountResponse, NativeMountRules, outcome_of};
use crate::oci::BlobRef;
use crate::proxy::context::{MountState, RequestContext};
use crate::proxy::handlers::client_wait::{head_response, while_client_waits};
use crate::proxy::handlers::suggested_mount::SuggestedMounts;
use crate::proxy::request_target;
use crate::proxy::response::Response;
use crate::proxy::route::{Ambiguity, Route};
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::telemetry::trace::Trace;
use crate::upstream::{CallerIdentity, PendingResponse, SubrequestClient};

/// Bytes of the longest error that is looked into.
const LONGEST_ERROR: usize = 64 * 1024;
/// How long an error may take from its head to its end before it is passed on unread.
const ERROR_LIMIT: Duration = Duration::from_secs(5);

/// Asks a registry's own mount.
#[derive(Debug)]
pub struct NativeMountHandler {
    native: NativeMountRules,
    exchange: Arc<SubrequestClient>,
    /// For layers that Pulp does not mount yet.
    relay: Option<Arc<BlobCopier>>,
    /// For layers that the client does not know of.
    suggestions: Option<SuggestedMounts>,
}

/// What a client wants mounted.
enum WantedMount {
    /// In the plain form.
    Named(MountRequest),
    /// From wherever it is.
    Sourceless(BlobRef),
    /// Only the registry can tell.
    Odd,
}

/// What the client gets.
struct ClientResponse {
    answer: PendingResponse,
    state: MountState,
}

impl NativeMountHandler {
    /// By the rules of `native`, through `exchange`.
    pub fn new(
        native: NativeMountRules,
        exchange: Arc<SubrequestClient>,
        relay: Option<Arc<BlobCopier>>,
        suggestions: Option<SuggestedMounts>,
    ) -> Self {
        Self {
            native,
            exchange,
            relay,
            suggestions,
        }
    }

    /// `Ok(None)` forwards the request.
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
            Route::AmbiguousMount(Ambiguity::Words) => (WantedMount::Odd, Reason::OddRequest),
            Route::AmbiguousMount(Ambiguity::Form) => {
                context.forward_as_it_came(Reason::OddRequest);
                return Ok(None);
            }
            Route::Blob(blob) => return self.head(session, &blob, context).await,
            Route::Deletion(blob) => {
                let suggestions = self.suggestions.as_ref();
                context.deletion = suggestions.map(|it| it.begin_delete(&blob));
                return Ok(None);
            }
            Route::Upload(_) | Route::Other => return Ok(None),
        };
        // Until the registry has answered: if it does not, this is what is counted.
        context.forward_as_it_came(Reason::UpstreamUnavailable);
        let head = session.req_header().clone();
        context.shown = Credentials::from_single_header(&head.headers);
        let given = while_client_waits(session, context, self.mount(&head, &request)).await?;
        context.mount = with_reason(given.state, reason);
        self.observe(given.answer.head(), context).await;
        Ok(Some(Response::Upstream(Box::new(given.answer))))
    }

    /// Looks at an answer's head before the client gets it.
    pub(crate) async fn observe(&self, head: &ResponseHeader, context: &RequestContext) {
        if let Some(suggestions) = &self.suggestions {
            suggestions.observe(head, context).await;
        }
    }

    /// A question for a layer, which may become true by being asked: the registry answers first,
    /// and if it has mounted something then, once more.
    async fn head(
        &self,
        session: &mut Session,
        blob: &BlobRef,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let Some(suggestions) = self.suggestions.as_ref().filter(|it| it.mounts_on_head()) else {
            return Ok(None);
        };
        let Some((head, answer)) = head_response(session, context, &self.exchange).await? else {
            return Ok(None);
        };
        if answer.status() == StatusCode::NOT_FOUND
            && let Some(mounted) = suggestions.mount_for_head(blob, &head, &answer).await
        {
            context.mount = forwarded_response(mounted).state;
            return Ok(None);
        }
        self.observe(answer.head(), context).await;
        Ok(Some(Response::Upstream(Box::new(answer))))
    }

    /// Asks for the mount, and for what the rules put in its place.
    async fn mount(&self, head: &RequestHeader, request: &WantedMount) -> Result<ClientResponse> {
        if let Some(suggestions) = &self.suggestions
            && let WantedMount::Sourceless(target) = request
            && let Some(mounted) = suggestions.mount_sourceless(target, head).await
        {
            return Ok(forwarded_response(mounted));
        }
        let request = match request {
            WantedMount::Named(request) => Some(request),
            WantedMount::Sourceless(_) | WantedMount::Odd => None,
        };
        let mut mount = head.clone();
        if let Some(request) = request.filter(|_| self.native.needs_bare_query()) {
            mount.set_raw_path(&request_target::bare_mount(head.raw_path(), request))?;
        }
        let mut answer = self.exchange.send(mount).await?;
        let credentials = Credentials::new(head.headers.get(header::AUTHORIZATION));
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = if self.native.reads_errors(status) {
            // What does not come is passed on as it comes.
            let read = tokio::time::timeout(ERROR_LIMIT, answer.body(LONGEST_ERROR));
            read.await.unwrap_or(Ok(None))?
        } else {
            None
        };
        let next = self.native.action(&MountResponse {
            request,
            credentials: &credentials,
            status,
            headers: &headers,
            body,
        });
        let Action::Upload {
            reason,
            is_blob_missing,
        } = next
        else {
            if let Some(request) = request.filter(|_| status == StatusCode::CREATED) {
                self.record_source(request);
            }
            return Ok(forwarded_response(answer));
        };
        if let Some(request) = request {
            if let Some(suggestions) = &self.suggestions
                && let Some(mounted) = suggestions.mount(&request.target, head).await
            {
                return Ok(forwarded_response(mounted));
            }
            if is_blob_missing
                && let Some(relayed) = self.copy_blob(head, request, &credentials).await
            {
                self.record_source(request);
                return Ok(done(relayed));
            }
        }
        self.upload(head, answer, reason).await
    }

    /// The source that the client named has given it the layer.
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
        let relay = self.relay.as_ref()?;
        let request = CopyRequest {
            request: request.clone(),
            name: CallerIdentity::for_request(&head.headers, credentials.header())?,
        };
        relay.copy(request).await
    }

    /// Starts a plain upload in the place of a refused mount.
    async fn upload(
        &self,
        head: &RequestHeader,
        refused: PendingResponse,
        reason: Reason,
    ) -> Result<ClientResponse> {
        let mut plain = head.clone();
        plain.set_raw_path(&request_target::plain_upload(head.raw_path()))?;
        let answer = match self.exchange.send(plain).await {
            Ok(answer) => answer,
            Err(error) => {
                let kind = error.etype().as_str();
                let trace = Trace::current();
                let trace_id = trace.as_ref().map(Trace::id);
                tracing::warn!(
                    trace_id,
                    kind,
                    "no plain upload in the place of a refused mount"
                );
                return Ok(forwarded_response(refused));
            }
        };
        if refused.status() == StatusCode::UNAUTHORIZED && !answer.status().is_success() {
            // It is not only the source: the first answer names all that the caller lacks.
            return Ok(forwarded_response(refused));
        }
        Ok(ClientResponse {
            answer,
            state: MountState::Forwarded(Forward::as_it_came(reason)),
        })
    }
}

/// The registry's own answer to the mount.
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

fn done(relayed: CopiedBlob) -> ClientResponse {
    ClientResponse {
        answer: relayed.answer,
        state: MountState::Done {
            outcome: Outcome::Relayed,
            size: relayed.size,
            via: Via::From,
        },
    }
}

/// What was known of the request before is said where the registry's answer says nothing.
fn with_reason(state: MountState, known: Reason) -> MountState {
    match state {
        MountState::Forwarded(forward)
            if forward.reason == Reason::None && forward.outcome == Outcome::Forwarded =>
        {
            MountState::Forwarded(Forward {
                reason: known,
                ..forward
            })
        }
        state => state,
    }
}

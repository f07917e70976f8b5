//! The phases of a request, in Pingora's order:
//!
//! ```text
//! early_request_filter     timeouts of the client's connection
//! request_filter           classify; then `handler`, `handler` or `token_endpoint` answer, or forward
//! upstream_peer            a connection to the registry
//! upstream_request_filter  the form in which it goes there
//! upstream_response_filter what the registry's answer shows
//! response_filter          the form in which it goes to the client
//! fail_to_proxy            an answer of our own where the registry gave none
//! logging                  counted once, whatever happened
//! ```

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::auth::Credentials;
use crate::config::Timeouts;
use crate::mount::ForwardForm;
use crate::proxy::context::{MountState, RequestContext};
use crate::proxy::forwarded_headers::ForwardedHeaders;
use crate::proxy::handlers::link_mount::LinkMountHandler;
use crate::proxy::handlers::native_mount::NativeMountHandler;
use crate::proxy::handlers::token_endpoint::TokenEndpointHandler;
use crate::proxy::observe::ResponseObserver;
use crate::proxy::response::Response;
use crate::proxy::route::{Route, classify};
use crate::proxy::{access_log, framing, lingering_close, request_id, request_target, response};
use crate::server::drain::{Drain, InFlight};
use crate::server::http2;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::{Outcome, Reason};
use crate::telemetry::trace::Trace;
use crate::upstream::{Peers, end_with_the_connection, is_repeatable};

/// How long a client's idle connection is kept; the registry itself never closes one.
const CLIENT_IDLE: Duration = Duration::from_secs(15 * 60);

/// How often a GET or HEAD is sent again after kept connections that had just died.
const RESENT_AT_MOST: usize = 2;

/// How mounts are answered in front of a registry.
#[derive(Debug)]
pub enum MountStrategy {
    /// By links in its store.
    Linking(LinkMountHandler),
    /// By its own mount, whose answers are mended.
    Mending(NativeMountHandler),
}

/// The proxy in front of one registry; a clone of it shares everything.
#[derive(Debug, Clone)]
pub struct RegistryProxy {
    prefix: Arc<str>,
    timeouts: Timeouts,
    forwarding: Arc<ForwardedHeaders>,
    peers: Arc<Peers>,
    way: Arc<MountStrategy>,
    tokens: Option<Arc<TokenEndpointHandler>>,
    drain: Arc<Drain>,
    metrics: Arc<Metrics>,
}

impl RegistryProxy {
    /// Joins the parts of the request's way.
    pub fn new(
        upstream: &crate::config::Upstream,
        forwarding: ForwardedHeaders,
        peers: Arc<Peers>,
        way: MountStrategy,
        tokens: Option<TokenEndpointHandler>,
        drain: Arc<Drain>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            prefix: upstream.prefix.as_str().into(),
            timeouts: upstream.timeouts,
            forwarding: Arc::new(forwarding),
            peers,
            way: Arc::new(way),
            tokens: tokens.map(Arc::new),
            drain,
            metrics,
        }
    }

    /// What a registry's own answers show, where links are written beside it.
    fn observer(&self) -> Option<&ResponseObserver> {
        match &*self.way {
            MountStrategy::Linking(handler) => Some(&handler.observer),
            MountStrategy::Mending(_) => None,
        }
    }

    fn record_unreachable(&self) {
        if let Some(observer) = self.observer() {
            observer.record_unreachable();
        }
    }

    /// The response of a handler; `None` forwards the request.
    async fn handle(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        // Boxed, because most requests need no room for a connection of their own.
        let response = match &*self.way {
            MountStrategy::Linking(handler) => handler.handle(session, context).await?,
            MountStrategy::Mending(handler) => Box::pin(handler.handle(session, context)).await?,
        };
        match &self.tokens {
            Some(tokens) if response.is_none() && context.route == Route::Other => {
                Box::pin(tokens.handle(session, context)).await
            }
            _ => Ok(response),
        }
    }

    /// Responds in the registry's place if a handler has a response.
    async fn respond(&self, session: &mut Session, context: &mut RequestContext) -> Result<bool> {
        let Some(response) = self.handle(session, context).await? else {
            return Ok(false);
        };
        access_log::count_mount(&self.metrics, context);
        response.write(session).await?;
        Ok(true)
    }
}

#[async_trait]
impl ProxyHttp for RegistryProxy {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(InFlight::begin(&self.drain))
    }

    /// No module: nothing is compressed or otherwise changed on its way.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        _: &mut RequestContext,
    ) -> Result<()> {
        session.set_read_timeout(Some(self.timeouts.read));
        session.set_write_timeout(Some(self.timeouts.write));
        // What a client sends too early must not end the request that is being answered.
        session.as_downstream_mut().set_pipelining_enabled(true);
        lingering_close::prepare(session);
        if self.drain.is_draining() {
            // The next request finds a process that goes on.
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(CLIENT_IDLE.as_secs()));
        }
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<bool> {
        http2::as_http1(session.req_header_mut())?;
        let is_odd = request_target::has_fragment(session)
            || framing::has_ambiguous_framing(&session.req_header().headers)
            || framing::has_length_beside_chunks(session);
        if is_odd {
            return Err(Error::new_down(ErrorType::InvalidHTTPHeader));
        }
        context.id = request_id::assign(session.req_header_mut(), context.id.clone());
        let peer = session.client_addr().and_then(|peer| peer.as_inet());
        let peer = peer.map(std::net::SocketAddr::ip);
        self.forwarding.apply(peer, session.req_header_mut());

        let head = session.req_header();
        context.route = classify(&self.prefix, head.raw_path(), head);
        context.trace = Trace::from_headers(&head.headers);
        Trace::scope(context.trace.clone(), self.respond(session, context)).await
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        _: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        let peer = self.peers.peer(&session.req_header().method).await;
        peer.map_err(|error| {
            self.record_unreachable();
            error.into_up()
        })
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        peer: &HttpPeer,
        _: RawFd,
        digest: Option<&Digest>,
        _: &mut RequestContext,
    ) -> Result<()> {
        self.peers.check_certificate(peer, digest)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        context.asked = Some(Instant::now());
        if request_target::within_the_api(&self.prefix, head.raw_path()).is_some() {
            // What the client calls a matter of this hop alone is no longer in this head.
            context.shown = Credentials::from_single_header(&head.headers);
        }
        if !is_repeatable(&head.method) && session.is_body_empty() {
            head.insert_header(header::CONNECTION, "close")?;
        }
        if let Some(length) = framing::repeated_length(&head.headers) {
            head.insert_header(header::CONTENT_LENGTH, length)?;
        }
        let is_old = session.req_header().version == Version::HTTP_10;
        if is_old && !head.headers.contains_key(header::HOST) {
            // It goes upstream as HTTP/1.1, where a request without Host is malformed.
            let host = request_target::authority(head.raw_path()).to_vec();
            head.insert_header(header::HOST, host)?;
        }
        if let MountState::Forwarded(forward) = &context.mount
            && forward.form == ForwardForm::Plain
        {
            let plain = request_target::plain_upload(head.raw_path());
            head.set_raw_path(&plain)?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        if !head.status.is_informational() {
            context.answered_after = context.asked.map(|asked| asked.elapsed());
            context.is_answered_early = lingering_close::limit_silence(session);
            context.settle_delete(head.status);
            let request = session.req_header();
            match &*self.way {
                MountStrategy::Linking(handler) => {
                    handler.observer.observe(request, head, context).await;
                }
                MountStrategy::Mending(handler) => handler.observe(head, context).await,
            }
            access_log::count_mount(&self.metrics, context);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        _: &mut RequestContext,
    ) -> Result<()> {
        end_with_the_connection(session, head);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        context: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.record_unreachable();
        context.unconnected += 1;
        // Nothing was sent, so any request may try the host's next address.
        let attempts = self.peers.failed(peer, &error);
        error.set_retry(context.unconnected < attempts);
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut RequestContext,
        was_kept: bool,
    ) -> Box<Error> {
        if *error.etype() == ErrorType::InvalidCert {
            // Nothing was sent yet, and the error itself says whether it is tried again.
            return error;
        }
        if let Some(observer) = self
            .observer()
            .filter(|_| response::is_connection_lost(&error))
        {
            observer.record_broken_connection();
        }
        let session = session.as_ref();
        let is_repeatable = self::is_repeatable(&session.req_header().method);
        if is_repeatable && context.resent < RESENT_AT_MOST && !session.retry_buffer_truncated() {
            context.resent += 1;
            error.retry.decide_reuse(was_kept);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut RequestContext,
    ) -> FailToProxy {
        if let MountState::Forwarded(forward) = &mut context.mount
            && *error.esource() == ErrorSource::Upstream
        {
            forward.outcome = Outcome::Forwarded;
            forward.reason = Reason::UpstreamUnavailable;
        }
        let status = response::status_for(error);
        if let Some(status) = status
            && session
                .response_written()
                .is_none_or(|head| head.status.is_informational())
            && let Err(error) = response::respond_with_error(session, status).await
        {
            tracing::debug!(%error, "the client went away before it could be told");
        }
        FailToProxy {
            error_code: status.map_or(0, |status| status.as_u16()),
            can_reuse_downstream: false,
        }
    }

    async fn logging(
        &self,
        session: &mut Session,
        error: Option<&Error>,
        context: &mut RequestContext,
    ) {
        // Not yet counted if no response began.
        access_log::count_mount(&self.metrics, context);
        access_log::log_request(&self.metrics, session, error, context);
        lingering_close::discard_body(session).await;
        // It is read as no request either: no client of a registry asks before it is answered, so
        // whoever stands in between may have taken these bytes for something else. A client that
        // was answered early may ask again right after its body.
        let may_ask_again = context.is_answered_early;
        session
            .as_downstream_mut()
            .set_pipelining_enabled(may_ask_again);
    }

    /// A request's own line says what went wrong.
    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &Error) -> bool {
        true
    }

    /// A kept connection that had died is replaced without a word; an address at which the registry
    /// cannot be reached is said.
    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        context: &RequestContext,
        error: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        let request_id = context.id.as_str();
        tracing::debug!(request_id, %error, "request sent again");
        !response::is_unconnected(error.etype())
    }

    /// Without the query, which may hold an upload's state.
    fn request_summary(&self, session: &Session, _: &RequestContext) -> String {
        let head = session.req_header();
        format!("{} {}", head.method, head.uri.path())
    }
}

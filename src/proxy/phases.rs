//! One request, phase by phase, in the order in which Pingora calls them.
//!
//! ```text
//! classify                   request_filter, by the head alone (`route`)
//! authorize, look up, link   handle, by the registry's kind (`handlers`, then `mount`)
//! respond                    handle: the 201 of a mount; the request ends here
//! forward                    every other request goes on:
//!   upstream_peer            a connection to the registry
//!   upstream_request_filter  the head as the registry gets it, a mount perhaps as a plain upload
//!   request_body_filter      counts the bytes of a blob that the client uploads
//!   upstream_response_filter what the registry's response shows
//!   response_filter          the head as the client gets it
//!   fail_to_proxy            crossmount's 502, 503 or 504 if the registry sent no response
//! logging                    every request is counted and logged once
//! ```

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::auth::Credentials;
use crate::mount::ForwardForm;
use crate::proxy::context::{MountState, RequestContext};
use crate::proxy::registry_proxy::{MountStrategy, RegistryProxy};
use crate::proxy::route::classify;
use crate::proxy::{
    access_log, framing, lingering_close, request_id, request_target, resend, response,
    upload_parts,
};
use crate::server::drain::InFlight;
use crate::server::http2;
use crate::telemetry::outcome::{Outcome, Reason};
use crate::telemetry::trace::Trace;
use crate::upstream::{end_with_the_connection, is_repeatable};

/// How long an idle connection of a client is kept open; the registry itself never closes one.
const CLIENT_IDLE: Duration = Duration::from_secs(15 * 60);

/// The longest body of a write that may share its connection with other writes. Pingora holds this
/// much of any body, and so it can send all of it once more.
const REPLAYABLE: u64 = 32 * 1024;

#[async_trait]
impl ProxyHttp for RegistryProxy {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(InFlight::begin(&self.drain))
    }

    /// No modules: nothing is compressed or otherwise changed in passing.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        _: &mut RequestContext,
    ) -> Result<()> {
        session.set_read_timeout(Some(self.timeouts.read));
        session.set_write_timeout(Some(self.timeouts.write));
        // A request that the client pipelines must not end the one in flight.
        session.as_downstream_mut().set_pipelining_enabled(true);
        lingering_close::prepare(session);
        if self.drain.closes_connections() {
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
        let is_ambiguous = request_target::has_fragment(session)
            || framing::has_ambiguous_framing(&session.req_header().headers)
            || framing::has_length_beside_chunks(session);
        if is_ambiguous {
            return Err(Error::new_down(ErrorType::InvalidHTTPHeader));
        }
        context.id = request_id::assign(session.req_header_mut(), context.id.clone());
        let peer = session.client_addr().and_then(|peer| peer.as_inet());
        let peer = peer.map(std::net::SocketAddr::ip);
        self.forwarding.apply(peer, session.req_header_mut());

        let head = session.req_header();
        context.route = classify(&self.prefix, head.raw_path(), head);
        context.is_blob_upload =
            request_target::is_blob_upload(&self.prefix, &head.method, head.raw_path());
        context.trace = Trace::from_headers(&head.headers);
        if let Some(uploads) = self.uploads() {
            let is_empty = session.is_body_empty();
            context.upload = upload_parts::begin(uploads, &self.prefix, session, is_empty);
            context.push = upload_parts::begin_push(uploads, &self.prefix, session, is_empty);
        }
        Trace::scope(context.trace.clone(), self.respond(session, context)).await
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        // A write that is sent again gets a new connection.
        let may_share = !is_repeatable(&session.req_header().method)
            && context.resent == 0
            && framing::has_body_of_at_most(session, REPLAYABLE);
        let opens_session =
            context.route.opens_session(&session.req_header().method) && session.is_body_empty();
        let write = may_share.then(|| self.peers.shared_write(opens_session));
        context.shared_write = write.flatten();
        let method = &session.req_header().method;
        let peer = self.peers.peer(method, context.shared_write.as_ref());
        let peer = peer.await;
        peer.map_err(|error| {
            self.record_unreachable();
            error.into_up()
        })
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        is_reused: bool,
        peer: &HttpPeer,
        descriptor: RawFd,
        digest: Option<&Digest>,
        context: &mut RequestContext,
    ) -> Result<()> {
        if let Some(write) = &mut context.shared_write {
            write.connected(is_reused, descriptor);
        }
        self.peers.check_certificate(peer, digest)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        context.sent_at = Some(Instant::now());
        if request_target::within_the_api(&self.prefix, head.raw_path()).is_some() {
            // Without the headers that the client nominated in Connection: Pingora removed them.
            context.credentials = Credentials::from_single_header(&head.headers);
        }
        let is_alone = !is_repeatable(&head.method) && context.shared_write.is_none();
        if is_alone && session.is_body_empty() {
            head.insert_header(header::CONNECTION, "close")?;
        }
        if let Some(length) = framing::repeated_length(&head.headers) {
            head.insert_header(header::CONTENT_LENGTH, length)?;
        }
        let is_old = session.req_header().version == Version::HTTP_10;
        if is_old && !head.headers.contains_key(header::HOST) {
            // The head goes upstream as HTTP/1.1, and there a request without Host is malformed.
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

    /// Called for each piece of the body that streams to the registry.
    async fn request_body_filter(
        &self,
        _: &mut Session,
        piece: &mut Option<Bytes>,
        is_last: bool,
        context: &mut RequestContext,
    ) -> Result<()> {
        // What was sent before on another connection was counted then.
        let piece = piece.as_ref().map(|piece| context.body.unseen(piece));
        if let Some(upload) = &mut context.upload {
            upload.add(piece.as_ref().map_or(0, |piece| piece.len() as u64));
            if is_last {
                upload.complete_body();
            }
        }
        if let Some(push) = &mut context.push {
            if let Some(piece) = &piece {
                push.add(piece);
            }
            if is_last {
                push.complete_body();
            }
        }
        if context.is_blob_upload
            && let Some(piece) = piece
        {
            self.metrics.uploaded_bytes(piece.len() as u64);
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
            context.response_time = context.sent_at.map(|sent_at| sent_at.elapsed());
            context.is_early_response = lingering_close::limit_silence(session);
            context.settle_delete(head.status);
            let request = session.req_header();
            match &*self.strategy {
                MountStrategy::Link(handler) => {
                    handler.observer.observe(request, head, context).await;
                }
                MountStrategy::Native(handler) => handler.observe(head, context).await,
            }
            context.settle_upload(head.status);
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
        context.failed_connections += 1;
        // Nothing was sent, so any request may be retried with the host's next address.
        let attempts = self.peers.failed(peer, &error);
        error.set_retry(context.failed_connections < attempts);
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
            // Nothing was sent, and the error itself says whether a retry may succeed.
            return error;
        }
        if let Some(observer) = self
            .observer()
            .filter(|_| response::is_connection_lost(&error))
        {
            observer.record_broken_connection();
        }
        resend::decide(session, &mut error, context, was_kept);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut RequestContext,
    ) -> FailToProxy {
        // The upload has broken off, though the client may still send the rest of the body.
        context.upload = None;
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
            tracing::debug!(%error, "error response not sent");
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
        // A pipelined request is not read either. No client of a registry sends one before it has
        // its response, so a proxy in between may have framed these bytes otherwise. After an
        // early response the client may send its next request right behind the body.
        let may_send_again = context.is_early_response;
        session
            .as_downstream_mut()
            .set_pipelining_enabled(may_send_again);
    }

    /// The access log has the error.
    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &Error) -> bool {
        true
    }

    /// A reused connection that the registry had closed is replaced silently. An address at which
    /// the registry cannot be reached is logged.
    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        context: &RequestContext,
        error: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        let request_id = context.id.as_str();
        tracing::debug!(request_id, %error, "request retried");
        !response::is_unconnected(error.etype())
    }

    /// Omits the query, which may hold an upload's state.
    fn request_summary(&self, session: &Session, _: &RequestContext) -> String {
        let head = session.req_header();
        format!("{} {}", head.method, head.uri.path())
    }
}

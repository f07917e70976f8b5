//! A request whose response is examined before the client gets it.
//!
//! Pingora cannot send a request again once it has seen the response's status. So such a request is
//! sent here, and its response is held until it is decided whether the client gets it. Except for
//! HEAD, it is sent once, on a connection of its own. Most of these requests have no body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::proxy::Session;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio::sync::mpsc::Receiver;

use crate::upstream::peer::Peers;
use crate::upstream::peer::WorkerConnectors;

/// Headers that concern only the client's own connection.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// How often a HEAD is sent again after reused connections that the registry had closed.
pub(crate) const RESENT_AT_MOST: usize = 2;

/// Sends subrequests to the registry.
pub(crate) struct SubrequestClient {
    connectors: WorkerConnectors,
    peers: Arc<Peers>,
    /// How long an idle connection is kept.
    idle: Duration,
}

/// A response that no client has got yet.
pub(crate) struct PendingResponse {
    /// `None` if the response has no body, or no more of it.
    session: Option<HttpSession>,
    head: ResponseHeader,
    /// The part of the body that was read.
    start: Vec<u8>,
    is_whole: bool,
}

/// A connection for one request.
pub(crate) struct Connected {
    pub session: HttpSession,
    peer: Box<HttpPeer>,
    pub is_reused: bool,
}

impl SubrequestClient {
    /// Uses Pingora's settings, like the proxy's own connections.
    pub(crate) fn new(settings: &ServerConf, peers: Arc<Peers>, idle: Duration) -> Self {
        Self {
            connectors: WorkerConnectors::new(settings),
            peers,
            idle,
        }
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&self, head: RequestHeader) -> Result<PendingResponse> {
        if head.method == Method::HEAD {
            return self.send_head(head).await;
        }
        let mut session = self.begin(head).await?;
        session.finish_request_body().await.map_err(of_upstream)?;
        PendingResponse::receive(session).await
    }

    /// Sends a HEAD, which may reuse an idle connection and leave one: clients send many, and no
    /// response has a body.
    async fn send_head(&self, mut head: RequestHeader) -> Result<PendingResponse> {
        without_hop_by_hop(&mut head);
        let mut resent = 0;
        loop {
            let mut connected = self.connect(&head.method).await.map_err(of_upstream)?;
            match exchange(&mut connected.session, &head).await {
                Ok(answer) => {
                    self.keep(connected).await;
                    return Ok(PendingResponse {
                        session: None,
                        head: answer,
                        start: Vec::new(),
                        is_whole: true,
                    });
                }
                Err(error)
                    if connected.is_reused && is_broken(&error) && resent < RESENT_AT_MOST =>
                {
                    resent += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request with a body of `length` bytes, which come in chunks.
    ///
    /// Fails if the registry sends no response, or the chunks end early. Then the connection is
    /// broken off, so that the registry does not take an incomplete body for a complete one.
    pub(crate) async fn send_with(
        &self,
        mut head: RequestHeader,
        length: u64,
        mut pieces: Receiver<Bytes>,
    ) -> Result<PendingResponse> {
        head.insert_header(header::CONTENT_LENGTH, length)?;
        let mut session = self.begin(head).await?;
        let mut left = length;
        while let Some(piece) = pieces.recv().await {
            left = left.saturating_sub(piece.len() as u64);
            let written = session.write_request_body(piece, false).await;
            written.map_err(of_upstream)?;
        }
        if left > 0 {
            return Err(Error::explain(
                ErrorType::InternalError,
                "the body was abandoned",
            ));
        }
        session.finish_request_body().await.map_err(of_upstream)?;
        PendingResponse::receive(session).await
    }

    /// Sends a request's head on a connection that ends with it.
    async fn begin(&self, mut head: RequestHeader) -> Result<HttpSession> {
        without_hop_by_hop(&mut head);
        head.insert_header(header::CONNECTION, "close")?;
        let connected = self.connect(&head.method).await.map_err(of_upstream)?;
        let mut session = connected.session;
        let written = session.write_request_header(Box::new(head)).await;
        written.map_err(of_upstream)?;
        Ok(session)
    }

    /// Keeps an idle connection on which no more is to come.
    pub(crate) async fn keep(&self, connected: Connected) {
        let Connected { session, peer, .. } = connected;
        self.connectors
            .own()
            .release_http_session(session, &*peer, Some(self.idle))
            .await;
    }

    /// Connects to the first of the host's addresses that accepts the connection.
    pub(crate) async fn connect(&self, method: &Method) -> Result<Connected> {
        let mut tried = 0;
        let mut may_be_distrusted = true;
        loop {
            let peer = self.peers.peer(method, None).await?;
            tried += 1;
            match self.connectors.own().get_http_session(&*peer).await {
                Ok((mut session, is_reused)) => {
                    if let Err(error) = self.peers.check_certificate(&peer, session.digest()) {
                        if !std::mem::take(&mut may_be_distrusted) {
                            return Err(error);
                        }
                        continue;
                    }
                    let options = peer.get_peer_options();
                    session.set_read_timeout(options.and_then(|options| options.read_timeout));
                    session.set_write_timeout(options.and_then(|options| options.write_timeout));
                    return Ok(Connected {
                        session,
                        peer,
                        is_reused,
                    });
                }
                Err(error) if tried >= self.peers.failed(&peer, &error) => return Err(error),
                Err(_) => {}
            }
        }
    }
}

/// Whether the connection itself ended, as idle ones do at any time.
pub(crate) fn is_broken(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    )
}

/// Removes the headers of the client's hop, so that the request is one of this hop.
pub(crate) fn without_hop_by_hop(head: &mut RequestHeader) {
    head.set_version(Version::HTTP_11);
    for name in HOP_BY_HOP {
        head.remove_header(*name);
    }
}

/// Sends a request without a body, and reads the head of the response, which has none either.
async fn exchange(session: &mut HttpSession, head: &RequestHeader) -> Result<ResponseHeader> {
    let written = session.write_request_header(Box::new(head.clone())).await;
    written.map_err(of_upstream)?;
    session.finish_request_body().await.map_err(of_upstream)?;
    let answer = receive_head(session).await?;
    // Reads the end of the response, so that the connection may be kept.
    while session
        .read_response_body()
        .await
        .map_err(of_upstream)?
        .is_some()
    {}
    Ok(answer)
}

/// Reads the final response's head, and skips interim ones.
pub(crate) async fn receive_head(session: &mut HttpSession) -> Result<ResponseHeader> {
    loop {
        session.read_response_header().await.map_err(of_upstream)?;
        match session.response_header() {
            Some(head) if head.status.is_informational() => {}
            Some(head) => return Ok(head.clone()),
            None => {
                let error = Error::explain(ErrorType::InvalidHTTPHeader, "no head");
                return Err(of_upstream(error));
            }
        }
    }
}

impl PendingResponse {
    async fn receive(mut session: HttpSession) -> Result<Self> {
        Ok(Self {
            head: receive_head(&mut session).await?,
            session: Some(session),
            start: Vec::new(),
            is_whole: false,
        })
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The complete head, as it came.
    pub(crate) fn head(&self) -> &ResponseHeader {
        &self.head
    }

    /// The body, if it has at most `limit` bytes; a longer one can still be passed on.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<Option<&[u8]>> {
        while !self.is_whole && self.start.len() <= limit {
            match self.next().await? {
                Some(piece) => self.start.extend_from_slice(&piece),
                None => self.is_whole = true,
            }
        }
        let is_within = self.is_whole && self.start.len() <= limit;
        Ok(is_within.then_some(&self.start))
    }

    /// Passes the response on to a client, byte for byte.
    ///
    /// Fails if the response breaks off, or the client disconnects.
    pub(crate) async fn pass_on(mut self, client: &mut Session) -> Result<()> {
        let mut head = self.head.clone();
        let is_framed = head.headers.contains_key(header::CONTENT_LENGTH)
            || head.headers.contains_key(header::TRANSFER_ENCODING);
        let is_empty = client.req_header().method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        if end_with_the_connection(client, &mut head) {
            // The client is an HTTP/1.0 one, without chunks.
        } else if !is_framed && !is_empty {
            // The body ends when the registry closes the connection; the client's may stay open.
            head.set_version(Version::HTTP_11);
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        let written = client.write_response_header(Box::new(head), is_empty).await;
        written.map_err(Error::into_down)?;
        if is_empty {
            return Ok(());
        }
        if !self.start.is_empty() {
            let start = Bytes::from(std::mem::take(&mut self.start));
            write(client, Some(start)).await?;
        }
        while !self.is_whole {
            match self.next().await? {
                Some(piece) => write(client, Some(piece)).await?,
                None => self.is_whole = true,
            }
        }
        write(client, None).await
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        match &mut self.session {
            Some(session) => session.read_response_body().await.map_err(of_upstream),
            None => Ok(None),
        }
    }
}

/// Prepares a response for an HTTP/1.0 client, which knows no chunks. If its length is not known,
/// it ends with the connection (RFC 9112, 6.1 and 6.3). Returns whether the client is such a one.
pub(crate) fn end_with_the_connection(client: &mut Session, head: &mut ResponseHeader) -> bool {
    let is_old = client.req_header().version == Version::HTTP_10;
    if is_old && !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.remove_header(&header::TRANSFER_ENCODING);
        client.set_keepalive(None);
    }
    is_old
}

/// Sends a chunk of a body to a client, or its end.
async fn write(client: &mut Session, piece: Option<Bytes>) -> Result<()> {
    let is_end = piece.is_none();
    let written = client.write_response_body(piece, is_end).await;
    written.map_err(Error::into_down)
}

/// Attributes an error to the registry, unless it has a source already.
#[allow(
    clippy::unnecessary_box_returns,
    reason = "Pingora's errors come boxed"
)]
pub(crate) fn of_upstream(mut error: Box<Error>) -> Box<Error> {
    if *error.esource() == ErrorSource::Unset {
        error.as_up();
    }
    error
}

impl std::fmt::Debug for SubrequestClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange")
    }
}

impl std::fmt::Debug for PendingResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an answer of {}", self.head.status)
    }
}

//! A request whose answer is looked at before anybody gets it.
//!
//! Pingora cannot ask again once it has seen an answer's status, so such a request is sent here,
//! and the answer is held until it is known whether the client gets it. But for a HEAD it goes on
//! a connection of its own, and once. Most of these requests have no body.

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
use crate::upstream::worker_connectors::WorkerConnectors;

/// What is a matter of the client's own connection.
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

/// How often a HEAD is sent again after kept connections that had just died.
pub(crate) const RESENT_AT_MOST: usize = 2;

/// Sends requests to the registry.
pub struct SubrequestClient {
    connectors: WorkerConnectors,
    peers: Arc<Peers>,
    /// How long a connection is kept that nobody uses.
    idle: Duration,
}

/// An answer that nobody has got yet.
pub struct PendingResponse {
    /// None where the answer has no body, and nothing more is to come.
    session: Option<HttpSession>,
    head: ResponseHeader,
    /// What was read of the body.
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
    /// By Pingora's settings, as the proxy's own connections are made.
    pub fn new(settings: &ServerConf, peers: Arc<Peers>, idle: Duration) -> Self {
        Self {
            connectors: WorkerConnectors::new(settings),
            peers,
            idle,
        }
    }

    /// Sends a request without a body.
    pub async fn send(&self, head: RequestHeader) -> Result<PendingResponse> {
        if head.method == Method::HEAD {
            return self.send_head(head).await;
        }
        let mut session = self.begin(head).await?;
        session.finish_request_body().await.map_err(of_upstream)?;
        PendingResponse::receive(session).await
    }

    /// Sends a HEAD, which may use a kept connection and leave one: clients send many, and no
    /// answer has a body.
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

    /// Sends a request with a body of `length` bytes, which come in pieces.
    ///
    /// Where the registry gave no answer, or the pieces end early: then the connection is broken
    /// off, so that nobody takes for whole what is not.
    pub async fn send_with(
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

    /// Keeps a connection on which nothing more is to come.
    pub(crate) async fn keep(&self, connected: Connected) {
        let Connected { session, peer, .. } = connected;
        self.connectors
            .own()
            .release_http_session(session, &*peer, Some(self.idle))
            .await;
    }

    /// Connects to the first of the host's addresses that takes the connection.
    pub(crate) async fn connect(&self, method: &Method) -> Result<Connected> {
        let mut tried = 0;
        let mut may_be_distrusted = true;
        loop {
            let peer = self.peers.peer(method).await?;
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

/// Whether the connection itself ended, as kept ones do at any time.
pub(crate) fn is_broken(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    )
}

/// As a request of this hop, whatever the client spoke on its own.
pub(crate) fn without_hop_by_hop(head: &mut RequestHeader) {
    head.set_version(Version::HTTP_11);
    for name in HOP_BY_HOP {
        head.remove_header(*name);
    }
}

/// Sends a request without a body, and reads the head of the answer, which has none either.
async fn exchange(session: &mut HttpSession, head: &RequestHeader) -> Result<ResponseHeader> {
    let written = session.write_request_header(Box::new(head.clone())).await;
    written.map_err(of_upstream)?;
    session.finish_request_body().await.map_err(of_upstream)?;
    let answer = receive_head(session).await?;
    // Says that nothing is to come, so that the connection may be kept.
    while session
        .read_response_body()
        .await
        .map_err(of_upstream)?
        .is_some()
    {}
    Ok(answer)
}

/// The head of the answer itself; interim ones are passed over.
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

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The answer's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The whole head, as it came.
    pub fn head(&self) -> &ResponseHeader {
        &self.head
    }

    /// The body, if it is no longer than `limit` bytes; it can still be passed on, however long.
    pub async fn body(&mut self, limit: usize) -> Result<Option<&[u8]>> {
        while !self.is_whole && self.start.len() <= limit {
            match self.next().await? {
                Some(piece) => self.start.extend_from_slice(&piece),
                None => self.is_whole = true,
            }
        }
        let is_within = self.is_whole && self.start.len() <= limit;
        Ok(is_within.then_some(&self.start))
    }

    /// Gives the answer to a client, byte for byte.
    ///
    /// Where the answer breaks off, or the client goes away.
    pub async fn pass_on(mut self, client: &mut Session) -> Result<()> {
        let mut head = self.head.clone();
        let is_framed = head.headers.contains_key(header::CONTENT_LENGTH)
            || head.headers.contains_key(header::TRANSFER_ENCODING);
        let is_empty = client.req_header().method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        if end_with_the_connection(client, &mut head) {
            // It is for a client that knows no chunks.
        } else if !is_framed && !is_empty {
            // It ends where the registry closes the connection; the client's may go on.
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

/// An answer to an HTTP/1.0 client has no chunks: where its length is not known, it ends with the
/// connection (RFC 9112, 6.1 and 6.3). Returns whether the client is such a one.
pub fn end_with_the_connection(client: &mut Session, head: &mut ResponseHeader) -> bool {
    let is_old = client.req_header().version == Version::HTTP_10;
    if is_old && !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.remove_header(&header::TRANSFER_ENCODING);
        client.set_keepalive(None);
    }
    is_old
}

/// Gives a piece of a body to a client, or its end.
async fn write(client: &mut Session, piece: Option<Bytes>) -> Result<()> {
    let is_end = piece.is_none();
    let written = client.write_response_body(piece, is_end).await;
    written.map_err(Error::into_down)
}

/// Says that the registry is to blame, unless somebody is already.
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

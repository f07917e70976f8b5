//! Listeners: bound once, before anything else starts, and served until the process drains.
//!
//! Pingora's own listening service retries a taken port for half a minute and then ends alone.
//! So crossmount binds the port, and Pingora gets the accepted connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::apps::ServerApp;
use pingora::protocols::l4::ext::TcpKeepalive;
use pingora::protocols::l4::stream::Stream as TcpOrUnix;
use pingora::protocols::{IO, SocketDigest};
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::config::ListenAddress;
use crate::server::header_timeout::HeaderTimeoutStream;
use crate::server::tls::{ListenerTls, is_plain_http, refuse_plain_http};
use crate::server::write_coalescing::CoalescingWriter;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// TCP keepalive of clients, with the times of Go's listener (`net`, `defaultTCPKeepAliveIdle`). It
/// detects a client that is gone without closing its connection.
const ALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(15),
    interval: Duration::from_secs(15),
    count: 9,
    user_timeout: Duration::ZERO,
};
/// How long to wait if the system has no more descriptors for a new connection.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// The interval between two warnings about that: accepting is retried ten times a second.
const WARN_AGAIN: Duration = Duration::from_secs(10);
/// The backlog: what the system allows, as for the registry itself. With less, clients of a burst
/// wait for seconds until they retry.
const WAITING: u32 = 65535;

/// A port that is bound but not served yet.
#[derive(Debug)]
pub(crate) struct BoundListener {
    listener: TcpListener,
    /// The bound address, with the port that the system chose if the setting has port 0.
    pub address: SocketAddr,
}

/// Why a port cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}: {cause}; {}", advice(.cause.kind()))]
pub struct ListenError {
    setting: &'static str,
    address: String,
    cause: io::Error,
}

/// What the operator can do about a port that cannot be bound.
fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "stop the process that has this port, or set another one",
        io::ErrorKind::AddrNotAvailable => "set an address of this machine, or :PORT for all",
        io::ErrorKind::PermissionDenied => "set a port from 1024 on, or grant CAP_NET_BIND_SERVICE",
        _ => "set another address",
    }
}

/// Binds the first of an address's candidates that the machine has. Needs the runtime.
pub(crate) fn bind(
    setting: &'static str,
    address: &ListenAddress,
) -> Result<BoundListener, ListenError> {
    let failed = |cause| ListenError {
        setting,
        address: address.to_string(),
        cause,
    };
    let mut listener = Err(io::ErrorKind::InvalidInput.into());
    for candidate in address.candidates() {
        listener = listen(*candidate);
        if listener.is_ok() {
            break;
        }
    }
    let listener = listener.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok(BoundListener {
        listener,
        address: bound,
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a process that has just ended would keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// Handles connections, each on this runtime.
pub(crate) type RequestHandlers<A> = (Handle, Arc<A>);

/// Accepts connections until `shutdown` is true, and ends when they have ended.
///
/// The apps serve them in turn; there must be at least one. Each has `header_timeout` for the head
/// of each request. A change of `closing` tells the connections of HTTP/2 to end.
pub(crate) async fn serve<A>(
    bound: BoundListener,
    tls: Option<Arc<ListenerTls>>,
    header_timeout: Duration,
    apps: Vec<RequestHandlers<A>>,
    mut shutdown: ShutdownWatch,
    closing: &ShutdownWatch,
) where
    A: ServerApp + Send + Sync + 'static,
{
    let mut turns = apps.iter().cycle();
    let connections = TaskTracker::new();
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            changed = shutdown.changed() => match changed {
                Ok(()) if !*shutdown.borrow() => continue,
                _ => break,
            },
        };
        match accepted {
            Ok((connection, peer)) => {
                let Some((runtime, app)) = turns.next() else {
                    break;
                };
                let (app, tls, mut closing) = (app.clone(), tls.clone(), closing.clone());
                // What was said before is not meant for this one.
                closing.mark_unchanged();
                let serving = async move {
                    let Some(connection) = settled(connection) else {
                        return;
                    };
                    if tls.is_some() && is_plain_http(&connection, HANDSHAKE).await {
                        refuse_plain_http(connection).await;
                        return;
                    }
                    let Some(stream) = prepared(connection, peer) else {
                        return;
                    };
                    let Some(tls) = tls else {
                        attend(stream, header_timeout, &app, &closing).await;
                        return;
                    };
                    // Boxed, because every connection would hold the memory of a handshake.
                    let secured = Box::pin(async move {
                        if let Some(stream) = tls.handshake(stream, HANDSHAKE).await {
                            attend(stream, header_timeout, &app, &closing).await;
                        }
                    });
                    secured.await;
                };
                connections.spawn_on(serving, runtime);
            }
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() > WARN_AGAIN) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "connection accept failed");
                }
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    drop(bound);
    for (_, app) in &apps {
        app.cleanup().await;
    }
    connections.close();
    connections.wait().await;
}

/// Serves a connection until it ends.
async fn attend<A>(
    stream: impl IO + 'static,
    within: Duration,
    app: &Arc<A>,
    closing: &ShutdownWatch,
) where
    A: ServerApp + Send + Sync + 'static,
{
    let timed = HeaderTimeoutStream::new(CoalescingWriter::new(stream), within);
    let scope = timed.scope();
    scope.of(app.process_new(Box::new(timed), closing)).await;
}

/// The connection as Pingora needs it; `None` if the client disconnected at once.
fn prepared(connection: TcpStream, peer: SocketAddr) -> Option<TcpOrUnix> {
    let mut stream = TcpOrUnix::from(connection);
    let settings = stream.set_nodelay();
    if let Err(error) = settings.and_then(|()| stream.set_keepalive(&ALIVE)) {
        tracing::debug!(%error, "connection closed by the client");
        return None;
    }
    // A socket of both families names IPv4 clients `::ffff:192.0.2.1`. Trusted proxies, the
    // registry, events and logs know such a client by its IPv4 address.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    // The cell is new, so setting it cannot fail.
    let _ = digest.peer_addr.set(Some(peer.into()));
    pingora::protocols::GetSocketDigest::set_socket_digest(&mut stream, digest);
    Some(stream)
}

/// Moves the connection to the runtime that serves it, away from the one that accepted it.
fn settled(connection: TcpStream) -> Option<TcpStream> {
    let settled = connection.into_std().and_then(TcpStream::from_std);
    let log_failure = |error: &_| tracing::warn!(%error, "connection setup failed");
    settled.inspect_err(log_failure).ok()
}

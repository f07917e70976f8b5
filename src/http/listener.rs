//! Ports: bound once, before anything else starts, and served until the process drains.
//!
//! Pingora's own listening service retries a taken port for half a minute and then dies
//! alone; here a port is bound by us, and Pingora gets the accepted connections.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as TcpOrUnix;
use pingora::protocols::{SocketDigest, Stream};
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpStream};

use super::Tls;
use crate::config::ListenAddress;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long to wait where the system has no more descriptors for a new connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A port that is bound and not served yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    /// The address with the port that the system chose where none was asked for.
    pub address: SocketAddr,
}

/// Why a port cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}: {cause}")]
pub struct ListenError {
    setting: &'static str,
    address: String,
    cause: std::io::Error,
}

/// Binds the first of an address's candidates that the machine has.
///
/// # Errors
/// [`ListenError`] names the setting, the address and the system's reason.
pub async fn bind(setting: &'static str, address: &ListenAddress) -> Result<Bound, ListenError> {
    let failed = |cause| ListenError {
        setting,
        address: address.to_string(),
        cause,
    };
    let listener = TcpListener::bind(address.candidates())
        .await
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok(Bound {
        listener,
        address: bound,
    })
}

/// Accepts connections until `shutdown` says true; each is served by `app`.
pub async fn serve<A>(bound: Bound, tls: Option<Arc<Tls>>, app: Arc<A>, mut shutdown: ShutdownWatch)
where
    A: ServerApp + Send + Sync + 'static,
{
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
                let (app, tls, shutdown) = (app.clone(), tls.clone(), shutdown.clone());
                tokio::spawn(async move {
                    if let Some(stream) = open(connection, peer, tls.as_deref()).await {
                        app.process_new(stream, &shutdown).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    drop(bound);
    app.cleanup().await;
}

/// Makes a connection ready for HTTP; `None` where the client did not come that far.
async fn open(connection: TcpStream, peer: SocketAddr, tls: Option<&Tls>) -> Option<Stream> {
    let mut stream = TcpOrUnix::from(connection);
    if let Err(error) = stream.set_nodelay() {
        tracing::debug!(%error, "a connection went away at once");
        return None;
    }
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    // The cell is new, so setting it cannot fail.
    let _ = digest.peer_addr.set(Some(peer.into()));
    pingora::protocols::GetSocketDigest::set_socket_digest(&mut stream, digest);
    let Some(tls) = tls else {
        return Some(Box::new(stream));
    };
    let stream = tls.handshake(stream, HANDSHAKE).await?;
    Some(Box::new(stream))
}

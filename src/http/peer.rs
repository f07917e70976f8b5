//! Connections to the registry for clients' own requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::Method;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{Error, ErrorType, Result};
use tokio::sync::Mutex;

use crate::config::{Timeouts, Upstream, UpstreamUrl};

/// How long a host's address is used before its name is looked up again.
const ADDRESS_COUNTS_FOR: Duration = Duration::from_secs(5);
/// Requests that must not be sent twice share no connection with others.
const UNSHARED: u64 = 1;

/// Knows how the registry is reached.
#[derive(Debug)]
pub(super) struct Peers {
    place: Place,
    timeouts: Timeouts,
}

#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
        tls: bool,
        known: Mutex<Option<(SocketAddr, Instant)>>,
    },
}

impl Peers {
    /// By the upstream's URL and timeouts.
    #[must_use]
    pub fn new(upstream: &Upstream) -> Self {
        let place = match &upstream.url {
            UpstreamUrl::Unix(path) => Place::Unix(path.clone()),
            UpstreamUrl::Tcp { tls, host, port } => Place::Tcp {
                host: host.clone(),
                port: *port,
                tls: *tls,
                known: Mutex::new(None),
            },
        };
        Self {
            place,
            timeouts: upstream.timeouts,
        }
    }

    /// The peer for one request.
    ///
    /// A GET or HEAD may use a kept connection and is sent again where that has just died.
    /// Anything else gets a connection of its own: it must not be sent twice, and must not
    /// fail because somebody else's connection was closed at the worst moment.
    pub(super) async fn peer(&self, method: &Method) -> Result<Box<HttpPeer>> {
        let mut peer = match &self.place {
            Place::Unix(path) => HttpPeer::new_uds(&path.to_string_lossy(), false, String::new())?,
            Place::Tcp { host, tls, .. } => {
                HttpPeer::new(self.address().await?, *tls, host.clone())
            }
        };
        if !is_repeatable(method) {
            peer.group_key = UNSHARED;
        }
        let options = &mut peer.options;
        options.connection_timeout = Some(self.timeouts.connect);
        options.total_connection_timeout = Some(self.timeouts.connect * 2);
        options.read_timeout = Some(self.timeouts.read);
        options.write_timeout = Some(self.timeouts.write);
        options.idle_timeout = Some(self.timeouts.idle);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Ok(Box::new(peer))
    }

    /// The registry's address; a name is looked up anew every few seconds, and the last answer
    /// is used where the look-up fails.
    async fn address(&self) -> Result<SocketAddr> {
        let Place::Tcp {
            host, port, known, ..
        } = &self.place
        else {
            return Err(Error::explain(
                ErrorType::ConnectError,
                "no host to look up",
            ));
        };
        if let Ok(ip) = host.parse() {
            return Ok(SocketAddr::new(ip, *port));
        }
        let mut known = known.lock().await;
        if let Some((address, since)) = *known
            && since.elapsed() < ADDRESS_COUNTS_FOR
        {
            return Ok(address);
        }
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let address = match (found.map(|mut all| all.next()), *known) {
            (Ok(Some(address)), _) | (_, Some((address, _))) => address,
            (Ok(None), None) => {
                return Err(Error::explain(
                    ErrorType::ConnectError,
                    "the host has no address",
                ));
            }
            (Err(cause), None) => {
                let context = "looking up the registry's address";
                return Err(Error::because(ErrorType::ConnectError, context, cause));
            }
        };
        *known = Some((address, Instant::now()));
        Ok(address)
    }
}

/// Whether a request may be sent to the registry a second time.
pub(super) fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

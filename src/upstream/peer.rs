//! Chooses the connection to the registry for a request.
//!
//! Idle connections are separate for each thread that serves requests. An idle connection waits in
//! a task of the runtime that used it last. If another thread takes it, that task may still hold it
//! when Pingora counts its owners (`pingora-core/src/connectors/mod.rs`, `reused_stream`). Then the
//! connection is lost, and an error is logged. On one thread the task has ended by then. The
//! response also wakes no other thread.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use http::Method;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::protocols::Digest;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer};
use pingora::{Error, ErrorType, OrErr, Result};

use crate::config::{UpstreamConfig, UpstreamTimeouts, UpstreamUrl};
use crate::upstream::dns::HostAddresses;
use crate::upstream::tls::UpstreamTls;
use crate::upstream::write_connections::{SharedWrite, WRITE_IDLE, WriteConnections};

/// Connections of group 0 are shared by GETs and HEADs, those of this group by writes.
const WRITES: u64 = 1;
/// Each other connection has a group of its own, from this one on.
const FIRST_UNSHARED: u64 = 2;

/// Chooses address, TLS and connection group of each request.
#[derive(Debug)]
pub(crate) struct Peers {
    place: PeerAddress,
    timeouts: UpstreamTimeouts,
    /// The group of the next connection that no other request may use.
    unshared: AtomicU64,
    writes: Arc<WriteConnections>,
    tls: Arc<UpstreamTls>,
}

#[derive(Debug)]
enum PeerAddress {
    Unix(PathBuf),
    Tcp {
        addresses: Arc<HostAddresses>,
        host: String,
        tls: bool,
    },
}

impl Peers {
    pub(crate) fn new(upstream: &UpstreamConfig, tls: Arc<UpstreamTls>) -> Self {
        let place = match &upstream.url {
            UpstreamUrl::Unix(path) => PeerAddress::Unix(path.clone()),
            UpstreamUrl::Tcp { tls, host, port } => PeerAddress::Tcp {
                addresses: Arc::new(HostAddresses::new(host, *port)),
                host: host.clone(),
                tls: *tls,
            },
        };
        Self {
            place,
            timeouts: upstream.timeouts,
            unshared: AtomicU64::new(FIRST_UNSHARED),
            writes: Arc::default(),
            tls,
        }
    }

    /// A write that may share its connection with other writes, if it can be sent again as a whole.
    /// `opens_session` says that it opens an upload session at most.
    ///
    /// `None` if each write needs a connection of its own, as over a Unix socket: the kernel does
    /// not say what arrived there, and a connection costs little.
    pub(crate) fn shared_write(&self, opens_session: bool) -> Option<SharedWrite> {
        match self.place {
            PeerAddress::Unix(_) => None,
            PeerAddress::Tcp { .. } => self.writes.begin(opens_session),
        }
    }

    /// The peer for one request; `shared` is a write that may share its connection.
    ///
    /// A GET or HEAD may reuse an idle connection, and is sent again if the registry has closed
    /// that one. A shared write may reuse a connection that carried a write just before
    /// ([`crate::upstream::write_connections`]). Any other request gets a new connection: it must
    /// not be sent twice, and must not fail because the registry closes an idle connection just
    /// then. Without a body it says `Connection: close`. With a body it does not: a registry that
    /// responds early would then hang up on a client that is still sending.
    pub(crate) async fn peer(
        &self,
        method: &Method,
        shared: Option<&SharedWrite>,
    ) -> Result<Box<HttpPeer>> {
        let mut peer = match &self.place {
            PeerAddress::Unix(path) => {
                HttpPeer::new_uds(&path.to_string_lossy(), false, String::new())?
            }
            PeerAddress::Tcp {
                addresses,
                host,
                tls,
            } => {
                let address = addresses.current(self.timeouts.connect).await;
                let address = address.or_err(ErrorType::ConnectError, "looking the registry up")?;
                HttpPeer::new(address, *tls, host.clone())
            }
        };
        let idle = if is_repeatable(method) {
            self.timeouts.idle
        } else if let Some(write) = shared {
            peer.group_key = WRITES;
            peer.options.tracer = Some(write.tracer());
            self.timeouts.idle.min(WRITE_IDLE)
        } else {
            peer.group_key = self.unshared.fetch_add(1, Ordering::Relaxed);
            Duration::ZERO
        };
        if peer.is_tls() {
            self.tls.apply(&mut peer);
        }
        let options = &mut peer.options;
        options.connection_timeout = Some(self.timeouts.connect);
        options.total_connection_timeout = Some(self.timeouts.connect * 2);
        options.read_timeout = Some(self.timeouts.read);
        options.write_timeout = Some(self.timeouts.write);
        options.idle_timeout = Some(idle);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Ok(Box::new(peer))
    }

    /// Verifies the registry's certificate, before anything is sent on a connection.
    ///
    /// Fails for a certificate that is not trusted. The error says whether the request may be
    /// retried.
    pub(crate) fn check_certificate(&self, peer: &HttpPeer, digest: Option<&Digest>) -> Result<()> {
        if peer.is_tls() {
            self.tls.verify(peer, digest)?;
        }
        Ok(())
    }

    /// Records a failed connection; returns the number of addresses to try.
    pub(crate) fn failed(&self, peer: &HttpPeer, error: &Error) -> usize {
        self.tls.failed(peer, error);
        match (&self.place, peer.address().as_inet()) {
            (PeerAddress::Tcp { addresses, .. }, Some(address)) => addresses.failed(*address),
            _ => 1,
        }
    }
}

/// Whether a request may be sent to the registry a second time.
pub(crate) fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The number of threads that serve requests: one for each processor.
pub(crate) fn serving_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// One connector for each thread that serves requests.
pub(crate) struct WorkerConnectors {
    first: OwnedConnector,
    others: Vec<OwnedConnector>,
}

struct OwnedConnector {
    connector: Connector,
    /// The thread that took it first.
    owner: OnceLock<ThreadId>,
}

impl WorkerConnectors {
    /// Builds all at once: roots are read from files, which may be gone later.
    pub(crate) fn new(settings: &ServerConf) -> Self {
        let owned = |_| OwnedConnector {
            connector: Connector::new(Some(ConnectorOptions::from_server_conf(settings))),
            owner: OnceLock::new(),
        };
        Self {
            first: owned(0),
            others: (1..serving_threads()).map(owned).collect(),
        }
    }

    /// This thread's own connector. Further threads share the first one.
    pub(crate) fn own(&self) -> &Connector {
        let thread = thread::current().id();
        let is_own = |owned: &&OwnedConnector| *owned.owner.get_or_init(|| thread) == thread;
        let mut all = std::iter::once(&self.first).chain(&self.others);
        &all.find(is_own).unwrap_or(&self.first).connector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_connector_of_its_own_and_keeps_it() {
        let connectors = WorkerConnectors::new(&ServerConf {
            ca_file: Some("/dev/null".to_owned()),
            ..ServerConf::default()
        });
        let own = || std::ptr::from_ref(connectors.own()).addr();
        let mut seen: Vec<usize> = Vec::new();
        for _ in 0..serving_threads() {
            let found = thread::scope(|scope| scope.spawn(|| [own(), own()]).join().unwrap());
            assert_eq!(found[0], found[1]);
            assert!(!seen.contains(&found[0]));
            seen.push(found[0]);
        }
        assert_eq!(own(), seen[0]);
    }
}

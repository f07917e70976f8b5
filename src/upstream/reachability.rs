//! Whether the registry still takes connections, felt when one of them broke.
//!
//! One connection that breaks may be the doing of one request: where a handler panics, the
//! registry hangs up, and anybody could make it do so. Where the registry ends, new connections
//! are refused too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::config::{Upstream, UpstreamUrl};
use crate::upstream::state::RegistryState;

/// A registry that takes longer to take a connection is taken for absent.
const LIMIT: Duration = Duration::from_secs(1);

/// Feels the registry's pulse.
#[derive(Debug)]
pub struct ReachabilityCheck {
    url: UpstreamUrl,
    registry_state: Arc<RegistryState>,
    is_feeling: AtomicBool,
}

impl ReachabilityCheck {
    /// Of this registry; `registry_state` is told when it has none.
    pub fn new(upstream: &Upstream, registry_state: Arc<RegistryState>) -> Self {
        Self {
            url: upstream.url.clone(),
            registry_state,
            is_feeling: AtomicBool::new(false),
        }
    }

    /// A connection could not be made.
    pub fn record_unreachable(&self) {
        self.registry_state.record_unreachable();
    }

    /// A connection broke before its request was answered.
    pub fn check_after_failure(self: &Arc<Self>) {
        if !self.is_feeling.swap(true, Ordering::AcqRel) {
            let reachability = self.clone();
            tokio::spawn(async move { reachability.check().await });
        }
    }

    async fn check(&self) {
        let connected = tokio::time::timeout(LIMIT, self.connect()).await;
        self.is_feeling.store(false, Ordering::Release);
        if !matches!(connected, Ok(Ok(()))) {
            self.registry_state.record_unreachable();
        }
    }

    async fn connect(&self) -> std::io::Result<()> {
        match &self.url {
            UpstreamUrl::Tcp { host, port, .. } => {
                TcpStream::connect((host.as_str(), *port)).await.map(drop)
            }
            UpstreamUrl::Unix(path) => UnixStream::connect(path).await.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    fn reachability(url: UpstreamUrl) -> ReachabilityCheck {
        let registry_state = Arc::new(RegistryState::default());
        assert!(registry_state.record_own_link(&registry_state.observe()));
        ReachabilityCheck {
            url,
            registry_state,
            is_feeling: AtomicBool::new(true),
        }
    }

    #[tokio::test]
    async fn a_registry_that_takes_connections_keeps_its_standing() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let reachability = reachability(UpstreamUrl::Unix(socket));
        reachability.check().await;
        assert!(reachability.registry_state.is_store_verified());
        drop(listener);
        reachability.check().await;
        assert!(!reachability.registry_state.is_store_verified());
        assert!(!reachability.is_feeling.load(Ordering::Relaxed));
    }
}

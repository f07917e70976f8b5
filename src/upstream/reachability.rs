//! Checks whether the registry still accepts connections, after one of them broke.
//!
//! One request can break its own connection: if a handler panics, the registry hangs up, and any
//! client could cause that. If the registry ended, new connections are refused too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::config::{UpstreamConfig, UpstreamUrl};
use crate::upstream::state::RegistryState;

/// A registry that takes longer to accept a connection counts as unreachable.
const LIMIT: Duration = Duration::from_secs(1);

/// Connects to the registry after a failure, and records if that fails.
#[derive(Debug)]
pub(crate) struct ReachabilityCheck {
    url: UpstreamUrl,
    registry_state: Arc<RegistryState>,
    is_feeling: AtomicBool,
}

impl ReachabilityCheck {
    /// For the registry of `upstream`; `registry_state` records that it is unreachable.
    pub(crate) fn new(upstream: &UpstreamConfig, registry_state: Arc<RegistryState>) -> Self {
        Self {
            url: upstream.url.clone(),
            registry_state,
            is_feeling: AtomicBool::new(false),
        }
    }

    /// Records that no connection could be made.
    pub(crate) fn record_unreachable(&self) {
        self.registry_state.record_unreachable();
    }

    /// Checks after a connection broke before the response to its request.
    pub(crate) fn check_after_failure(self: &Arc<Self>) {
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
    async fn a_registry_that_accepts_connections_stays_verified() {
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

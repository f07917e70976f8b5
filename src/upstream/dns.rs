//! Looks up the addresses of the registry's host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long addresses are used before the name is looked up again.
const COUNT_FOR: Duration = Duration::from_secs(5);

/// Looks up a host, and prefers the address that responded last.
#[derive(Debug)]
pub(crate) struct HostAddresses {
    host: String,
    port: u16,
    resolved: Mutex<ResolvedAddresses>,
}

#[derive(Debug, Default)]
struct ResolvedAddresses {
    all: Vec<SocketAddr>,
    /// The index of the address that is tried first.
    preferred: usize,
    since: Option<Instant>,
}

impl HostAddresses {
    /// For a name or an IP address; nothing is looked up yet.
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            resolved: Mutex::default(),
        }
    }

    /// The address to try now.
    ///
    /// Old addresses are used during a new look-up and after one that failed. So a slow resolver
    /// delays only the first request.
    pub(crate) async fn current(self: &Arc<Self>, limit: Duration) -> std::io::Result<SocketAddr> {
        if let Ok(ip) = self.host.parse() {
            return Ok(SocketAddr::new(ip, self.port));
        }
        if let Some(address) = self.cached(limit) {
            return Ok(address);
        }
        self.look_up(limit).await?;
        let resolved = self.resolved.lock();
        let address = resolved.all.get(resolved.preferred).copied();
        address.ok_or_else(|| std::io::Error::other("the host has no address"))
    }

    /// Records that an address did not respond: the next one is tried first from now on.
    ///
    /// Returns the number of addresses.
    pub(crate) fn failed(&self, address: SocketAddr) -> usize {
        let mut resolved = self.resolved.lock();
        if resolved.all.get(resolved.preferred) == Some(&address) {
            resolved.preferred = (resolved.preferred + 1) % resolved.all.len();
        }
        resolved.all.len().max(1)
    }

    fn cached(self: &Arc<Self>, limit: Duration) -> Option<SocketAddr> {
        let mut resolved = self.resolved.lock();
        let address = resolved.all.get(resolved.preferred).copied()?;
        if resolved
            .since
            .is_none_or(|since| since.elapsed() >= COUNT_FOR)
        {
            resolved.since = Some(Instant::now());
            let addresses = self.clone();
            tokio::spawn(async move {
                if let Err(error) = addresses.look_up(limit).await {
                    tracing::warn!(%error, host = addresses.host, "upstream host lookup failed");
                }
            });
        }
        Some(address)
    }

    async fn look_up(&self, limit: Duration) -> std::io::Result<()> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port));
        let all: Vec<_> = tokio::time::timeout(limit, found).await??.collect();
        if !all.is_empty() {
            self.store(all);
        }
        Ok(())
    }

    /// Replaces the addresses; the preferred one stays preferred if it is among the new ones.
    fn store(&self, all: Vec<SocketAddr>) {
        let mut resolved = self.resolved.lock();
        let preferred = resolved.all.get(resolved.preferred).copied();
        let place = all.iter().position(|address| Some(*address) == preferred);
        *resolved = ResolvedAddresses {
            preferred: place.unwrap_or_default(),
            all,
            since: Some(Instant::now()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_ip_address_is_not_looked_up() {
        let addresses = Arc::new(HostAddresses::new("::1", 5000));
        assert_eq!(
            addresses.current(LIMIT).await.unwrap(),
            address("[::1]:5000")
        );
        assert_eq!(addresses.failed(address("[::1]:5000")), 1);
    }

    #[tokio::test]
    async fn every_address_gets_its_turn_and_the_one_that_answers_stays() {
        let addresses = Arc::new(HostAddresses::new("registry", 5000));
        let both = vec![address("[::1]:5000"), address("127.0.0.1:5000")];
        addresses.store(both.clone());
        assert_eq!(addresses.current(LIMIT).await.unwrap(), both[0]);
        assert_eq!(addresses.failed(both[0]), 2);
        assert_eq!(addresses.current(LIMIT).await.unwrap(), both[1]);
        // Another request found the same address dead a moment later.
        addresses.failed(both[0]);
        assert_eq!(addresses.current(LIMIT).await.unwrap(), both[1]);
        addresses.store(vec![address("127.0.0.2:5000"), both[1], both[0]]);
        assert_eq!(addresses.current(LIMIT).await.unwrap(), both[1]);
        addresses.store(vec![both[0]]);
        assert_eq!(addresses.current(LIMIT).await.unwrap(), both[0]);
    }
}

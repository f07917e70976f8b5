//! How the process ends: not ready at once, then no new connections, then what is in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use prometheus::IntGauge;
use tokio::sync::Notify;

/// What is in flight, and whether the process is about to end.
#[derive(Debug)]
pub struct Drain {
    draining: AtomicBool,
    requests: AtomicUsize,
    idle: Notify,
    gauge: IntGauge,
}

/// One request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Drain>);

impl Drain {
    /// Counts in `gauge`.
    #[must_use]
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            draining: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            idle: Notify::new(),
            gauge,
        }
    }

    /// Says from now on that the process is about to end.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the process is about to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The number of requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// Waits until no request is in flight.
    pub async fn finished(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl InFlight {
    /// Counts a request in.
    #[must_use]
    pub fn begin(drain: &Arc<Drain>) -> Self {
        drain.requests.fetch_add(1, Ordering::AcqRel);
        drain.gauge.inc();
        Self(drain.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.gauge.dec();
        if self.0.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn the_end_waits_for_the_last_request() {
        let drain = Arc::new(Drain::new(IntGauge::new("a", "b").unwrap()));
        drain.finished().await;
        let first = InFlight::begin(&drain);
        let second = InFlight::begin(&drain);
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.finished().await }
        });
        drop(first);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
    }
}

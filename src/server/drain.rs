//! How the process ends: not ready at once, then no new connections, then what is in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::IntGauge;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What is in flight, and whether the process is about to end.
#[derive(Debug)]
pub struct Drain {
    draining: AtomicBool,
    requests: TaskTracker,
    gauge: IntGauge,
}

/// One request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    gauge: IntGauge,
    _request: TaskTrackerToken,
}

impl Drain {
    /// Counts in `gauge`.
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            draining: AtomicBool::new(false),
            requests: TaskTracker::new(),
            gauge,
        }
    }

    /// Says from now on that the process is about to end.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The number of requests in flight.
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Waits until no request is in flight.
    pub async fn finished(&self) {
        self.requests.close();
        // Another may begin on an open connection while the last one ends.
        while !self.requests.is_empty() {
            self.requests.wait().await;
        }
    }
}

impl InFlight {
    /// Counts a request in.
    pub fn begin(drain: &Arc<Drain>) -> Self {
        drain.gauge.inc();
        Self {
            gauge: drain.gauge.clone(),
            _request: drain.requests.token(),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
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

//! The graceful end of the process: first not ready, then no new connections, then no requests.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Counts the requests in flight, and says whether the process is draining.
#[derive(Debug)]
pub(crate) struct Drain {
    began: CancellationToken,
    requests: TaskTracker,
    gauge: IntGauge,
}

/// One request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    gauge: IntGauge,
    _request: TaskTrackerToken,
}

impl Drain {
    /// Counts requests in `gauge` too.
    pub(crate) fn new(gauge: IntGauge) -> Self {
        Self {
            began: CancellationToken::new(),
            requests: TaskTracker::new(),
            gauge,
        }
    }

    /// Begins the drain.
    pub(crate) fn begin(&self) {
        self.began.cancel();
    }

    /// Whether the drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.began.is_cancelled()
    }

    /// Waits until the drain begins.
    pub(crate) async fn began(&self) {
        self.began.cancelled().await;
    }

    /// The number of requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Waits until no request is in flight.
    pub(crate) async fn finished(&self) {
        self.requests.close();
        // Another may begin on an open connection while the last one ends.
        while !self.requests.is_empty() {
            self.requests.wait().await;
        }
    }
}

impl InFlight {
    /// Counts a request.
    pub(crate) fn begin(drain: &Arc<Drain>) -> Self {
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

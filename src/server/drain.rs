//! The graceful end of the process: first not ready, then no new connections, then no requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Between two requests of an upload usually less time passes.
const QUIET: Duration = Duration::from_secs(1);
/// How often connections of HTTP/2 are told to end. A client may come back before it knows of another
/// replica, and then its new connection is told, too.
const CLOSE_AGAIN: Duration = Duration::from_secs(1);

/// Counts the requests in flight, and says whether the process is draining.
#[derive(Debug)]
pub(crate) struct Drain {
    began: CancellationToken,
    ended: CancellationToken,
    requests: TaskTracker,
    /// How many requests have begun.
    begun: AtomicU64,
    /// How many wait for the end of the requests, to end the registry then.
    hooks: Mutex<usize>,
    closing: watch::Sender<bool>,
    gauge: IntGauge,
}

/// One that waits for the end of the requests, until it is dropped.
struct Hook<'a>(&'a Drain);

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
            ended: CancellationToken::new(),
            requests: TaskTracker::new(),
            begun: AtomicU64::new(0),
            hooks: Mutex::new(0),
            closing: watch::channel(false).0,
            gauge,
        }
    }

    /// Begins the drain.
    pub(crate) fn begin(&self) {
        // Of a hook that ends meanwhile, nothing is undone.
        let _hooks = self.hooks.lock();
        self.began.cancel();
        self.closing.send_replace(true);
    }

    /// Whether the drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.began.is_cancelled()
    }

    /// Waits until this process, or the registry behind it, is about to end.
    pub(crate) async fn end_is_near(&self) {
        // The sender is as old as this.
        let _ = self.closing().wait_for(|it| *it).await;
    }

    /// Ends the drain: no request is in flight, or the time is over.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Whether a client's connection is better closed after its next response, so that its next
    /// request reaches a replica that goes on.
    pub(crate) fn closes_connections(&self) -> bool {
        *self.closing.borrow()
    }

    /// Becomes true, perhaps again, when a connection is better closed. What is in flight on it goes
    /// on.
    pub(crate) fn closing(&self) -> ShutdownWatch {
        self.closing.subscribe()
    }

    /// Tells also those clients that came back.
    pub(crate) async fn close_again_and_again(&self) {
        let mut closing = self.closing();
        while closing.wait_for(|it| *it).await.is_ok() {
            tokio::time::sleep(CLOSE_AGAIN).await;
            self.closing.send_if_modified(|closing| *closing);
        }
    }

    /// Whether the end of the registry waits for the end of the requests.
    pub(crate) fn has_hooks(&self) -> bool {
        *self.hooks.lock() > 0
    }

    /// Waits until the registry may end; false if that takes longer than `within`.
    ///
    /// Clients get `after` to find another replica. Then no request may be in flight for a second:
    /// an upload is several requests. Where this process is draining, the end of the drain counts.
    pub(crate) async fn registry_may_end(&self, after: Duration, within: Duration) -> bool {
        let _hook = Hook::begin(self);
        let idle = async {
            tokio::time::sleep(after).await;
            self.is_quiet().await;
            if self.is_draining() {
                std::future::pending::<()>().await;
            }
        };
        let may_end = async {
            tokio::select! {
                () = idle => {}
                () = self.ended.cancelled() => {}
            }
        };
        tokio::time::timeout(within, may_end).await.is_ok()
    }

    /// Waits until no request has been in flight for a while.
    async fn is_quiet(&self) {
        loop {
            self.finished().await;
            let begun = self.begun.load(Ordering::Relaxed);
            tokio::time::sleep(QUIET).await;
            if self.requests.is_empty() && self.begun.load(Ordering::Relaxed) == begun {
                return;
            }
        }
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

impl<'a> Hook<'a> {
    fn begin(drain: &'a Drain) -> Self {
        let mut hooks = drain.hooks.lock();
        *hooks += 1;
        drain.closing.send_replace(true);
        Self(drain)
    }
}

impl Drop for Hook<'_> {
    fn drop(&mut self) {
        let mut hooks = self.0.hooks.lock();
        *hooks -= 1;
        if *hooks == 0 && !self.0.is_draining() {
            // That is nothing to tell a connection.
            self.0.closing.send_if_modified(|closing| {
                *closing = false;
                false
            });
        }
    }
}

impl InFlight {
    /// Counts a request.
    pub(crate) fn begin(drain: &Arc<Drain>) -> Self {
        drain.gauge.inc();
        drain.begun.fetch_add(1, Ordering::Relaxed);
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
    use std::time::Instant;

    const DELAY: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    fn drain() -> Arc<Drain> {
        Arc::new(Drain::new(IntGauge::new("a", "b").unwrap()))
    }

    #[tokio::test]
    async fn the_registry_may_end_when_nothing_is_in_flight_after_the_delay() {
        let drain = drain();
        let began = Instant::now();
        assert!(drain.registry_may_end(DELAY, LONG).await);
        assert!(began.elapsed() >= DELAY);
        assert!(!drain.closes_connections());

        let request = InFlight::begin(&drain);
        let ends = async {
            tokio::time::sleep(3 * DELAY).await;
            assert!(drain.closes_connections());
            drop(request);
        };
        let began = Instant::now();
        let (may_end, ()) = tokio::join!(drain.registry_may_end(DELAY, LONG), ends);
        assert!(may_end);
        assert!(began.elapsed() >= 3 * DELAY);

        let _request = InFlight::begin(&drain);
        assert!(!drain.registry_may_end(DELAY, 2 * DELAY).await);
    }

    #[tokio::test]
    async fn between_two_requests_of_an_upload_the_registry_may_not_end() {
        let drain = drain();
        let uploads = async {
            for _ in 0..4 {
                let request = InFlight::begin(&drain);
                tokio::time::sleep(DELAY).await;
                drop(request);
                tokio::time::sleep(QUIET / 2).await;
            }
            Instant::now()
        };
        let may_end = async {
            assert!(drain.registry_may_end(DELAY, LONG).await);
            Instant::now()
        };
        let (uploaded, may_end) = tokio::join!(uploads, may_end);
        assert!(may_end > uploaded);
    }

    #[tokio::test]
    async fn in_a_drain_the_registry_may_end_with_it() {
        let drain = drain();
        let ends = async {
            drain.begin();
            tokio::time::sleep(3 * DELAY).await;
            drain.end();
        };
        let began = Instant::now();
        let (may_end, ()) = tokio::join!(drain.registry_may_end(DELAY, LONG), ends);
        assert!(may_end);
        assert!(began.elapsed() >= 3 * DELAY);
    }

    #[tokio::test]
    async fn the_end_waits_for_the_last_request() {
        let drain = drain();
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

//! The end of the process: by a signal and a drain, or because a listener failed.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::ShutdownConfig;
use crate::notifications::Notifier;
use crate::server::drain::Drain;

/// Ends if the registry's port is no longer served, though no signal came.
pub(crate) async fn listener_failed(listener: &mut JoinHandle<()>, drain: &Drain) {
    let _ = listener.await;
    if drain.is_draining() {
        std::future::pending::<()>().await;
    }
}

/// How long the last bytes of responses may take.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How long the responses to preStop hooks may take.
const HOOKS_ARE_ANSWERED: Duration = Duration::from_millis(100);

/// Waits for the connections of the registry's port to close. A task of its own writes the
/// responses of an HTTP/2 connection, after their requests have ended.
pub(crate) async fn wait_for_connections(listener: &mut JoinHandle<()>) {
    // Already awaited by `listener_failed`, perhaps, and a task can be awaited once.
    if !listener.is_finished() {
        let _ = tokio::time::timeout(LAST_BYTES, listener).await;
    }
}

/// Waits for SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for a signal and drains; a second signal ends the drain at once.
pub(crate) async fn drain_and_stop(
    mut signals: Signals,
    drain: &Drain,
    notifier: &Notifier,
    settings: ShutdownConfig,
    stop: watch::Sender<bool>,
) {
    signals.next().await;
    let until = Instant::now() + settings.timeout;
    drain.begin();
    tracing::info!("shutdown started");
    let drained = async {
        tokio::time::sleep(settings.drain_delay).await;
        stop.send_replace(true);
        let finished = tokio::time::timeout_at(until, drain.finished()).await;
        if finished.is_err() {
            let requests = drain.in_flight();
            tracing::warn!(requests, "requests aborted at shutdown");
        }
        let delivered = tokio::time::timeout_at(until, notifier.finished()).await;
        if delivered.is_err() {
            let events = notifier.waiting();
            tracing::warn!(events, "webhook events dropped at shutdown");
        }
    };
    tokio::select! {
        () = drained => tracing::info!("shutdown completed"),
        () = signals.next() => tracing::warn!("shutdown forced by a second signal"),
    }
    let has_hooks = drain.has_hooks();
    drain.end();
    if has_hooks {
        tokio::time::sleep(HOOKS_ARE_ANSWERED).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[tokio::test]
    async fn a_listener_that_ended_while_requests_drained_is_not_awaited_twice() {
        let drain = Drain::new(Metrics::new(None).unwrap().in_flight().clone());
        drain.begin();
        let mut listener = tokio::spawn(async {});
        let failed = listener_failed(&mut listener, &drain);
        let failed = tokio::time::timeout(Duration::from_millis(50), failed).await;
        assert!(failed.is_err(), "the end of a drain is no failure");
        wait_for_connections(&mut listener).await;
    }
}

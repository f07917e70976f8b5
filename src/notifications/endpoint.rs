//! One webhook endpoint: its queue, and the task that sends the queued events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config;
use crate::telemetry::labels::NotificationResult;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{USER_AGENT, root_cause};

/// The queue length of one endpoint: some megabytes.
const WAITING: usize = 8 * 1024;
/// The pause between two attempts, until so many have failed that it becomes the backoff.
const SOON: Duration = Duration::from_millis(100);

/// Why no client for an endpoint can be built.
#[derive(Debug, thiserror::Error)]
#[error("notifications.endpoints: {name}: {reason}")]
pub struct EndpointError {
    name: String,
    reason: String,
}

/// Queues events for one endpoint.
#[derive(Debug)]
pub(crate) struct WebhookEndpoint {
    queue: Sender<QueuedEvent>,
    state: Arc<EndpointState>,
}

/// An event, counted until it is dropped.
type QueuedEvent = (Bytes, TaskTrackerToken);

#[derive(Debug)]
struct EndpointState {
    name: String,
    waiting: TaskTracker,
    is_full: AtomicBool,
    metrics: Arc<Metrics>,
}

/// Sends the queued events.
struct EventSender {
    settings: config::EndpointConfig,
    media_type: &'static str,
    client: reqwest::Client,
    state: Arc<EndpointState>,
    /// Failed attempts in a row.
    failures: u32,
}

impl WebhookEndpoint {
    pub(crate) fn start(
        settings: &config::EndpointConfig,
        media_type: &'static str,
        metrics: Arc<Metrics>,
    ) -> Result<Self, EndpointError> {
        let is_tls = settings.url.starts_with("https:");
        let client = match client(settings, is_tls) {
            Err(error) if is_tls => {
                tracing::error!(endpoint = settings.name, %error, "webhook tls setup failed");
                client(settings, false)
            }
            client => client,
        }?;
        let (queue, events) = mpsc::channel(WAITING);
        metrics.notifications_begin(&settings.name);
        let state = Arc::new(EndpointState {
            name: settings.name.clone(),
            waiting: TaskTracker::new(),
            is_full: AtomicBool::new(false),
            metrics,
        });
        let sender = EventSender {
            settings: settings.clone(),
            media_type,
            client,
            state: state.clone(),
            failures: 0,
        };
        tokio::spawn(sender.run(events));
        Ok(Self { queue, state })
    }

    /// Queues an event without waiting; a full queue drops it.
    pub(crate) fn enqueue(&self, event: Bytes) {
        let queued = (event, self.state.waiting.token());
        let is_queued = self.queue.try_send(queued).is_ok();
        self.state.show_waiting();
        if is_queued {
            self.state.is_full.store(false, Ordering::Relaxed);
            return;
        }
        self.state
            .metrics
            .notification(&self.state.name, NotificationResult::Dropped);
        if !self.state.is_full.swap(true, Ordering::Relaxed) {
            let endpoint = &*self.state.name;
            tracing::warn!(endpoint, "webhook events dropped: queue full");
        }
    }

    pub(crate) async fn finished(&self) {
        self.state.waiting.close();
        self.state.waiting.wait().await;
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state.waiting.len()
    }
}

/// Whether a client can be built: a system may have no root certificates.
pub(crate) fn check(settings: &config::EndpointConfig) -> Result<(), EndpointError> {
    client(settings, settings.url.starts_with("https:")).map(drop)
}

/// Trusts the system's root certificates, or none if the endpoint needs none.
fn client(
    settings: &config::EndpointConfig,
    by_system: bool,
) -> Result<reqwest::Client, EndpointError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(settings.headers.clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .timeout(settings.timeout);
    if !by_system {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| EndpointError {
        name: settings.name.clone(),
        reason: format!(
            "cannot set up TLS: {}; install the system's root certificates, or name a file in SSL_CERT_FILE",
            root_cause(&error)
        ),
    })
}

impl EndpointState {
    fn show_waiting(&self) {
        self.metrics
            .notifications_queue_length(&self.name, self.waiting.len());
    }
}

impl EventSender {
    async fn run(mut self, mut events: Receiver<QueuedEvent>) {
        while let Some((event, waiting)) = events.recv().await {
            while !self.send(event.clone()).await {
                self.pause().await;
            }
            drop(waiting);
            self.state.show_waiting();
        }
    }

    /// One attempt. A redirect is a failure: its target has not got the event.
    async fn send(&mut self, event: Bytes) -> bool {
        let sent = self
            .client
            .post(&self.settings.url)
            .header(header::CONTENT_TYPE, self.media_type)
            .body(event)
            .send();
        let error = match sent.await {
            Ok(answer) if answer.status().is_success() => {
                if self.failures >= self.settings.threshold {
                    tracing::info!(endpoint = self.state.name, "webhook delivery recovered");
                }
                self.failures = 0;
                self.state
                    .metrics
                    .notification(&self.state.name, NotificationResult::Sent);
                return true;
            }
            Ok(answer) => format!("the endpoint answered {}", answer.status().as_u16()),
            // The URL itself may hold a secret.
            Err(error) => root_cause(&error.without_url()),
        };
        self.failures = self.failures.saturating_add(1);
        self.state
            .metrics
            .notification(&self.state.name, NotificationResult::Failed);
        if self.failures == self.settings.threshold {
            let endpoint = &*self.state.name;
            tracing::warn!(endpoint, error, "webhook delivery failed");
        }
        false
    }

    async fn pause(&self) {
        let pause = if self.failures < self.settings.threshold {
            SOON.min(self.settings.backoff)
        } else {
            self.settings.backoff
        };
        tokio::time::sleep(pause).await;
    }
}

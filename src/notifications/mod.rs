//! The registry's own webhooks, for mounts that the registry does not see.
//!
//! `event` is what distribution would have sent, and `endpoint` sends it: each has a queue and a
//! task of its own, so that a mount waits for nobody. Events that wait are in memory alone.

mod endpoint;
pub(crate) mod event;

use std::sync::Arc;

use bytes::Bytes;

pub use endpoint::{EndpointError, check};
pub use event::{Event, EventRequest};

use crate::config::{self, DistributionVersion};
use crate::notifications::endpoint::WebhookEndpoint;
use crate::notifications::event::{ACTION, BLOB, Envelope, EventSource};
use crate::telemetry::metrics::Metrics;

/// What the body of a request with events is called (`notifications/event.go`).
fn media_type(version: DistributionVersion) -> &'static str {
    match version {
        DistributionVersion::Two => "application/vnd.docker.distribution.events.v1+json",
        DistributionVersion::Three => "application/vnd.docker.distribution.events.v2+json",
    }
}

/// Whether a registry of this version sends no mount's event to an endpoint that ignores these
/// media types and actions (`notifications/sinks.go`).
pub(crate) fn ignores_mounts(
    version: DistributionVersion,
    media_types: &[String],
    actions: &[String],
) -> bool {
    // 2.8 does not look at the actions unless a media type is ignored too.
    let is_action_read = version == DistributionVersion::Three || !media_types.is_empty();
    let ignores = |ignored: &[String], value: &str| ignored.iter().any(|it| it == value);
    ignores(media_types, BLOB) || (is_action_read && ignores(actions, ACTION))
}

/// Tells endpoints of mounts.
#[derive(Debug)]
pub struct Notifier {
    endpoints: Vec<WebhookEndpoint>,
    source: EventSource,
}

impl Notifier {
    /// Starts to send to those of these endpoints that want events of mounts, on the runtime of the
    /// caller. `listen` is where the clients' port is, for the events' source.
    pub fn start(
        endpoints: &[config::EndpointConfig],
        version: DistributionVersion,
        listen: &str,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, EndpointError> {
        let is_told = |it: &&config::EndpointConfig| {
            !ignores_mounts(version, &it.ignore.mediatypes, &it.ignore.actions)
        };
        let endpoints = endpoints.iter().filter(is_told);
        let media_type = media_type(version);
        Ok(Self {
            endpoints: endpoints
                .map(|settings| WebhookEndpoint::start(settings, media_type, metrics.clone()))
                .collect::<Result<_, _>>()?,
            source: EventSource::new(listen),
        })
    }

    /// Puts an event into every queue; one that is full loses it, and counts that.
    pub fn notify(&self, event: &Event) {
        if self.endpoints.is_empty() {
            return;
        }
        match serde_json::to_vec(&Envelope::of(event, &self.source)) {
            Ok(envelope) => {
                let envelope = Bytes::from(envelope);
                for endpoint in &self.endpoints {
                    endpoint.enqueue(envelope.clone());
                }
            }
            Err(error) => tracing::warn!(%error, "an event cannot be written"),
        }
    }

    /// Waits until every queue is empty.
    pub async fn finished(&self) {
        for endpoint in &self.endpoints {
            endpoint.finished().await;
        }
    }

    /// How many events wait, or are being sent.
    pub fn waiting(&self) -> usize {
        self.endpoints.iter().map(WebhookEndpoint::waiting).sum()
    }
}

//! The registry's own webhooks, for mounts that the registry does not see.
//!
//! `event` has the form that distribution would have sent. `endpoint` sends events: each endpoint
//! has a queue and a task of its own, so that no mount waits for one. The queues are only in
//! memory.

mod endpoint;
pub(crate) mod event;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use endpoint::{EndpointError, check};
pub(crate) use event::{Event, EventRequest};

use crate::config::{self, DistributionVersion};
use crate::notifications::endpoint::WebhookEndpoint;
use crate::notifications::event::{ACTION, BLOB, Envelope, EventSource};
use crate::telemetry::metrics::Metrics;

/// The media type of a request with events (`notifications/event.go`).
fn media_type(version: DistributionVersion) -> &'static str {
    match version {
        DistributionVersion::Two => "application/vnd.docker.distribution.events.v1+json",
        DistributionVersion::Three => "application/vnd.docker.distribution.events.v2+json",
    }
}

/// Whether a registry of this version sends no mount events to an endpoint that ignores these media
/// types and actions (`notifications/sinks.go`).
pub(crate) fn ignores_mounts(
    version: DistributionVersion,
    media_types: &[String],
    actions: &[String],
) -> bool {
    // 2.8 ignores the list of actions unless a media type is ignored too.
    let is_action_read = version == DistributionVersion::Three || !media_types.is_empty();
    let ignores = |ignored: &[String], value: &str| ignored.iter().any(|it| it == value);
    ignores(media_types, BLOB) || (is_action_read && ignores(actions, ACTION))
}

/// Sends events of mounts to the endpoints.
#[derive(Debug)]
pub(crate) struct Notifier {
    endpoints: Vec<WebhookEndpoint>,
    source: EventSource,
}

impl Notifier {
    /// Starts a sender for each endpoint that wants events of mounts, on the runtime of the caller.
    /// The source of the events is the clients' port, `listen`.
    pub(crate) fn start(
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

    /// Queues an event for every endpoint; a full queue drops it, and counts that.
    pub(crate) fn notify(&self, event: &Event) {
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
            Err(error) => tracing::warn!(%error, "webhook event not encoded"),
        }
    }

    /// Waits until every queue is empty.
    pub(crate) async fn finished(&self) {
        for endpoint in &self.endpoints {
            endpoint.finished().await;
        }
    }

    /// How many events are queued or being sent.
    pub(crate) fn waiting(&self) -> usize {
        self.endpoints.iter().map(WebhookEndpoint::waiting).sum()
    }
}

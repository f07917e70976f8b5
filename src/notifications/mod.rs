//! The registry's own webhooks, for mounts that the registry does not see.
//!
//! `event` is what distribution would have sent, and `endpoint` sends it: each has a queue and a
//! task of its own, so that a mount waits for nobody. Events that wait are in memory alone.

mod endpoint;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;

use std::sync::Arc;

use bytes::Bytes;

pub use endpoint::{EndpointError, check};
pub use event::{Event, Request};

use crate::config;
use crate::metrics::Metrics;
use endpoint::Endpoint;
use event::{Envelope, Source};

/// How events are sent: an envelope of distribution's.
pub const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";

/// Tells endpoints of mounts.
#[derive(Debug)]
pub struct Notifier {
    endpoints: Vec<Endpoint>,
    source: Source,
}

impl Notifier {
    /// Starts to send to these endpoints, on the runtime of the caller. `listen` is where the
    /// clients' port is, for the events' source.
    ///
    /// # Errors
    /// [`EndpointError`] where no client can be made for one.
    pub fn start(
        endpoints: &[config::Endpoint],
        listen: &str,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, EndpointError> {
        let endpoints = endpoints.iter();
        Ok(Self {
            endpoints: endpoints
                .map(|settings| Endpoint::start(settings, metrics.clone()))
                .collect::<Result<_, _>>()?,
            source: Source::new(listen),
        })
    }

    /// Puts an event into every queue; one that is full loses it, and counts that.
    pub fn tell(&self, event: &Event) {
        if self.endpoints.is_empty() {
            return;
        }
        match serde_json::to_vec(&Envelope::of(event, &self.source)) {
            Ok(envelope) => {
                let envelope = Bytes::from(envelope);
                for endpoint in &self.endpoints {
                    endpoint.put(envelope.clone());
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
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.endpoints.iter().map(Endpoint::waiting).sum()
    }
}

//! A HEAD that is held until another client has uploaded the layer.

use std::time::Instant;

use pingora::Result;
use pingora::proxy::Session;

use crate::discovery::uploads::{Waited, WaitingHead};
use crate::oci::{BlobRef, RepositoryName};
use crate::proxy::handlers::client_wait::client_disconnected;
use crate::server::drain::Drain;
use crate::telemetry::labels::HeldResult;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_id::RequestId;
use crate::telemetry::trace::Trace;

/// The mount for which a HEAD may be held, by whichever part mounts.
pub(super) trait HeldMount {
    /// What becomes of the mount.
    type Found;

    /// The layer is in the target, without a mount.
    fn here() -> Self::Found;

    /// How the held request ends; `None` if no source holds the layer yet.
    fn result_of(found: &Self::Found) -> Option<HeldResult>;

    /// Decides from which repositories, into which the layer is being uploaded, the client may pull.
    async fn decide_uploads(&self, waiting: &mut WaitingHead<'_>);

    /// Mounts the layer, which has arrived in this repository. The client waits until then anyway.
    async fn mount(&self, source: &RepositoryName, until: Instant) -> Self::Found;

    /// Copies the layer from this repository, from which the registry does not mount it yet.
    async fn copy(&self, _source: &RepositoryName) -> Option<Self::Found> {
        None
    }
}

/// What the log and the metrics show of a held HEAD.
#[derive(Clone, Copy)]
pub(super) struct HeldRequest<'a> {
    pub(super) target: &'a BlobRef,
    pub(super) id: &'a RequestId,
    pub(super) metrics: &'a Metrics,
}

/// A HEAD that may be held, and how it ends. Dropping it gives its place back.
pub(super) struct HeldHead<'a, M> {
    mount: M,
    drain: &'a Drain,
    waiting: WaitingHead<'a>,
    request: HeldRequest<'a>,
    result: HeldResult,
}

impl<'a, M: HeldMount> HeldHead<'a, M> {
    pub(super) fn new(
        mount: M,
        drain: &'a Drain,
        waiting: WaitingHead<'a>,
        request: HeldRequest<'a>,
    ) -> Self {
        Self {
            mount,
            drain,
            waiting,
            request,
            // Unless it ends otherwise.
            result: HeldResult::Abandoned,
        }
    }

    /// Waits for an upload of the layer, and then mounts it; `None` if the registry's 404 is passed
    /// on. Fails if the client disconnects.
    pub(super) async fn until_arrived(
        &mut self,
        session: &mut Session,
    ) -> Result<Option<M::Found>> {
        loop {
            self.waiting.fetch_remote().await;
            self.mount.decide_uploads(&mut self.waiting).await;
            let waited = tokio::select! {
                waited = self.waiting.wait() => waited,
                gone = client_disconnected(session) => return Err(gone),
                () = self.drain.end_is_near() => Waited::Released,
            };
            match waited {
                Waited::Undecided => {}
                Waited::Arrived(place) | Waited::Uploaded(place)
                    if *place == self.request.target.repository =>
                {
                    self.result = HeldResult::Linked;
                    return Ok(Some(M::here()));
                }
                Waited::Arrived(place) => {
                    // The time for a mount begins with the turn, which comes late if the registry or
                    // the store is slow.
                    let _turn = tokio::select! {
                        turn = self.waiting.turn() => turn,
                        () = self.waiting.time_over() => {
                            self.result = HeldResult::TimedOut;
                            return Ok(None);
                        }
                        gone = client_disconnected(session) => return Err(gone),
                        () = self.drain.end_is_near() => {
                            self.result = HeldResult::Released;
                            return Ok(None);
                        }
                    };
                    let found = self.mount.mount(&place, self.waiting.until()).await;
                    // Without a result another upload of the layer may still be in flight.
                    if let Some(result) = M::result_of(&found) {
                        self.result = result;
                        return Ok(Some(found));
                    }
                }
                Waited::Uploaded(place) => {
                    let copied = tokio::select! {
                        copied = self.mount.copy(&place) => copied,
                        () = self.waiting.time_over() => None,
                        gone = client_disconnected(session) => return Err(gone),
                        () = self.drain.end_is_near() => None,
                    };
                    // Without a copy the HEAD waits for the manifest.
                    if copied.is_some() {
                        self.result = HeldResult::Linked;
                        return Ok(copied);
                    }
                }
                Waited::Released => {
                    self.result = HeldResult::Released;
                    return Ok(None);
                }
                Waited::TimedOut => {
                    self.result = HeldResult::TimedOut;
                    return Ok(None);
                }
            }
        }
    }
}

impl<M> Drop for HeldHead<'_, M> {
    fn drop(&mut self) {
        if !self.waiting.is_held() {
            return;
        }
        let time = self.waiting.held_for();
        let HeldRequest {
            target,
            id,
            metrics,
        } = self.request;
        metrics.held_ended(self.result, time);
        let trace = Trace::current();
        tracing::info!(
            request_id = id.as_str(),
            trace_id = trace.as_ref().map(Trace::id),
            target = %target.repository,
            digest = %target.digest,
            seconds = time.as_secs_f64(),
            result = self.result.as_ref(),
            "held request ended"
        );
    }
}

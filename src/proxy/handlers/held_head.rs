//! A HEAD that is held until another client has uploaded the layer.

use pingora::Result;
use pingora::proxy::Session;

use crate::discovery::uploads::{Waited, WaitingHead};
use crate::mount::{Caller, Decision, HeadMount, Mounts};
use crate::oci::BlobRef;
use crate::proxy::handlers::client_wait::client_disconnected;
use crate::server::drain::Drain;
use crate::telemetry::labels::HeldResult;
use crate::telemetry::outcome::Via;
use crate::telemetry::trace::Trace;

/// A HEAD that may be held, and how it ends. Dropping it gives its place back.
pub(super) struct HeldHead<'a> {
    mounts: &'a Mounts,
    drain: &'a Drain,
    waiting: WaitingHead<'a>,
    target: &'a BlobRef,
    caller: &'a Caller<'a>,
    result: HeldResult,
}

impl<'a> HeldHead<'a> {
    pub(super) fn new(
        mounts: &'a Mounts,
        drain: &'a Drain,
        waiting: WaitingHead<'a>,
        target: &'a BlobRef,
        caller: &'a Caller<'a>,
    ) -> Self {
        Self {
            mounts,
            drain,
            waiting,
            target,
            caller,
            // Unless it ends otherwise.
            result: HeldResult::Abandoned,
        }
    }

    /// Waits for an upload of the layer, and then mounts it; `None` if the registry's 404 is passed
    /// on. Fails if the client disconnects.
    pub(super) async fn until_arrived(
        &mut self,
        session: &mut Session,
    ) -> Result<Option<HeadMount>> {
        loop {
            self.mounts
                .decide_uploads(&mut self.waiting, self.target, self.caller)
                .await;
            let waited = tokio::select! {
                waited = self.waiting.wait() => waited,
                gone = client_disconnected(session) => return Err(gone),
                () = self.drain.began() => Waited::Released,
            };
            match waited {
                Waited::Undecided => {}
                Waited::Arrived(place) if *place == self.target.repository => {
                    self.result = HeldResult::Linked;
                    return Ok(Some(HeadMount::Here));
                }
                Waited::Arrived(_) => {
                    let (target, caller) = (self.target, self.caller);
                    // The time for a mount begins with the turn.
                    let _turn = tokio::select! {
                        turn = self.waiting.turn() => turn,
                        gone = client_disconnected(session) => return Err(gone),
                    };
                    let found = self.mounts.mount_for_head(target, caller, Via::Wait).await;
                    match found {
                        // Another upload of the layer may still be in flight.
                        HeadMount::NotFound => continue,
                        HeadMount::Decided(Decision::Done(_)) => {
                            self.result = HeldResult::Linked;
                        }
                        HeadMount::Decided(Decision::Forward(_))
                        | HeadMount::Here
                        | HeadMount::NotTried => self.result = HeldResult::Released,
                    }
                    return Ok(Some(found));
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

impl Drop for HeldHead<'_> {
    fn drop(&mut self) {
        if !self.waiting.is_held() {
            return;
        }
        let time = self.waiting.held_for();
        self.mounts.metrics.held_ended(self.result, time);
        let trace = Trace::current();
        tracing::info!(
            request_id = self.caller.id.as_str(),
            trace_id = trace.as_ref().map(Trace::id),
            target = %self.target.repository,
            digest = %self.target.digest,
            seconds = time.as_secs_f64(),
            result = self.result.as_ref(),
            "held request ended"
        );
    }
}

//! A registry without access control: everybody may, as long as it says so itself.
//!
//! The registry is asked without any credentials, at most once in the few seconds that its
//! answer counts. A registry that refuses anybody anything has access control after all: from
//! then on it decides about every mount, until it has refused nobody for a while and allows a
//! mount without credentials.

use std::sync::{Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::upstream::UpstreamAccess;
use super::{Grant, Proof, Verdict, Wish};
use crate::upstream::ProbeAnswer;

/// How long the registry must have refused nobody before it is believed to be open again.
const AGREES_AFTER: Duration = Duration::from_secs(60);
/// How long a question without a useful answer is not asked again.
const FAILED_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct OpenAccess {
    upstream: UpstreamAccess,
    /// When the registry last refused what this mode takes for allowed.
    refused: Lock<Option<Instant>>,
    /// Held while asking, so that equal questions at once are one; the last useless answer.
    failed: Mutex<Option<(Instant, ProbeAnswer)>>,
}

impl OpenAccess {
    pub fn new(upstream: UpstreamAccess) -> Self {
        Self {
            upstream,
            refused: Lock::new(None),
            failed: Mutex::new(None),
        }
    }

    /// The registry refused somebody something: grants that are on their way are withdrawn.
    pub fn registry_refused(&self) {
        self.upstream.standing().refused_write();
        if self.refused().replace(Instant::now()).is_none() {
            tracing::error!(
                "access.mode is none, but the registry refuses a request: it is asked about \
                 every mount now; set access.mode to upstream"
            );
        }
    }

    pub async fn decide(&self, wish: &Wish<'_>) -> Verdict {
        if self.disagrees() {
            return self.upstream.decide(wish).await;
        }
        if self.is_proved_open() {
            return grant(wish);
        }
        let Ok(mut failed) = tokio::time::timeout_at(wish.deadline, self.failed.lock()).await
        else {
            return Verdict::TimedOut;
        };
        if self.is_proved_open() {
            return grant(wish);
        }
        let answer = match *failed {
            Some((at, answer)) if at.elapsed() < FAILED_COUNTS_FOR => answer,
            _ => {
                let answer = self.upstream.probe(wish, false).await;
                *failed = is_useless(answer).then(|| (Instant::now(), answer));
                answer
            }
        };
        match answer {
            ProbeAnswer::Writable if self.agrees() => grant(wish),
            // It refused somebody while it was asked.
            ProbeAnswer::Writable => Verdict::Mismatch,
            ProbeAnswer::Refused => {
                self.registry_refused();
                Verdict::Mismatch
            }
            ProbeAnswer::ReadOnly => Verdict::ReadOnly,
            ProbeAnswer::Unreachable | ProbeAnswer::Strange => Verdict::Unavailable,
            ProbeAnswer::TimedOut => Verdict::TimedOut,
        }
    }

    fn disagrees(&self) -> bool {
        self.refused().is_some_and(|at| at.elapsed() < AGREES_AFTER)
    }

    /// Whether the registry's word counts still, and it has refused nobody since the start.
    fn is_proved_open(&self) -> bool {
        self.refused().is_none() && self.upstream.standing().is_writable()
    }

    /// Whether the registry, which has just allowed a mount without credentials, is believed.
    fn agrees(&self) -> bool {
        let mut refused = self.refused();
        if refused.is_some_and(|at| at.elapsed() < AGREES_AFTER) {
            return false;
        }
        if refused.take().is_some() {
            tracing::info!("the registry allows mounts without credentials again");
        }
        true
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        // No code panics while it holds this lock, and each change is whole in itself.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer says nothing, and asking again at once would say no more.
fn is_useless(answer: ProbeAnswer) -> bool {
    matches!(
        answer,
        ProbeAnswer::Unreachable | ProbeAnswer::TimedOut | ProbeAnswer::Strange
    )
}

fn grant(wish: &Wish<'_>) -> Verdict {
    Verdict::Granted(Grant::new(wish.target, wish.source, Proof::NoAccessControl))
}

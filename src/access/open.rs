//! A registry without access control: everybody may, as long as it says so itself.
//!
//! The registry is asked without any credentials, at most once in the few seconds that its
//! answer counts. A registry that refuses such a request has access control after all;
//! from then on it decides about every mount, until it allows one without credentials.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::Mutex;

use super::upstream::UpstreamAccess;
use super::{Grant, Proof, Verdict, Wish};
use crate::upstream::{PROBE_COUNTS_FOR, ProbeAnswer};

#[derive(Debug)]
pub(super) struct OpenAccess {
    upstream: UpstreamAccess,
    /// The registry refused a request that this mode takes for allowed.
    disagrees: AtomicBool,
    /// Held while asking, so that equal questions at once are one; when it was asked last.
    asked: Mutex<Option<Instant>>,
}

impl OpenAccess {
    pub fn new(upstream: UpstreamAccess) -> Self {
        Self {
            upstream,
            disagrees: AtomicBool::new(false),
            asked: Mutex::new(None),
        }
    }

    pub async fn decide(&self, wish: &Wish<'_>) -> Verdict {
        if self.is_proved_open() {
            return grant(wish);
        }
        let Ok(mut asked) = tokio::time::timeout_at(wish.deadline, self.asked.lock()).await else {
            return Verdict::TimedOut;
        };
        if self.is_proved_open() {
            return grant(wish);
        }
        let just_asked = asked.is_some_and(|at| at.elapsed() < PROBE_COUNTS_FOR);
        if self.disagrees.load(Ordering::Acquire) && just_asked {
            drop(asked);
            return self.upstream.decide(wish).await;
        }
        *asked = Some(Instant::now());
        match self.upstream.probe(wish, false).await {
            ProbeAnswer::Writable => {
                if self.disagrees.swap(false, Ordering::AcqRel) {
                    tracing::info!("the registry allows requests without credentials again");
                }
                grant(wish)
            }
            ProbeAnswer::Refused => {
                if !self.disagrees.swap(true, Ordering::AcqRel) {
                    tracing::error!(
                        "access.mode is none, but the registry refuses requests without credentials: \
                         it is asked about every mount now; set access.mode to upstream"
                    );
                }
                Verdict::Mismatch
            }
            ProbeAnswer::ReadOnly => Verdict::ReadOnly,
            ProbeAnswer::Unreachable | ProbeAnswer::Strange => Verdict::Unavailable,
            ProbeAnswer::TimedOut => Verdict::TimedOut,
        }
    }

    fn is_proved_open(&self) -> bool {
        !self.disagrees.load(Ordering::Acquire) && self.upstream.standing().is_writable()
    }
}

fn grant(wish: &Wish<'_>) -> Verdict {
    Verdict::Granted(Grant::new(wish.target, wish.source, Proof::NoAccessControl))
}

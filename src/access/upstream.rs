//! The registry decides, asked with the caller's own credentials.

use std::sync::Arc;

use super::credentials::Scheme;
use super::{Grant, Proof, Verdict, Wish, refusal};
use crate::upstream::{Ask, ProbeAnswer, Standing};

#[derive(Debug)]
pub(super) struct UpstreamAccess {
    ask: Arc<Ask>,
    standing: Arc<Standing>,
}

impl UpstreamAccess {
    pub fn new(ask: Arc<Ask>, standing: Arc<Standing>) -> Self {
        Self { ask, standing }
    }

    pub async fn decide(&self, wish: &Wish<'_>) -> Verdict {
        if wish.credentials.scheme() == Scheme::None {
            return Verdict::NoCredentials;
        }
        match self.probe(wish, true).await {
            ProbeAnswer::Writable => {
                Verdict::Granted(Grant::new(wish.target, wish.source, Proof::UpstreamProbe))
            }
            ProbeAnswer::Refused => Verdict::Refused(refusal::word(wish)),
            ProbeAnswer::ReadOnly => Verdict::ReadOnly,
            ProbeAnswer::Unreachable | ProbeAnswer::Strange => Verdict::Unavailable,
            ProbeAnswer::TimedOut => Verdict::TimedOut,
        }
    }

    /// Asks, and tells the standing what the answer shows.
    pub async fn probe(&self, wish: &Wish<'_>, with_credentials: bool) -> ProbeAnswer {
        let ticket = self.standing.ticket();
        let authorization = wish.credentials.header().filter(|_| with_credentials);
        let answer = self
            .ask
            .probe(wish.target, wish.source, authorization, wish.deadline)
            .await;
        match answer {
            ProbeAnswer::Writable => self.standing.answered_writable(&ticket),
            ProbeAnswer::ReadOnly => self.standing.refused_write(),
            ProbeAnswer::Unreachable => self.standing.unreachable(),
            ProbeAnswer::Refused | ProbeAnswer::TimedOut | ProbeAnswer::Strange => {}
        }
        answer
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

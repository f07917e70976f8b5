//! Questions to the registry with a caller's credentials, and what the answers show of it.

use std::sync::Arc;

use crate::auth::AuthRequest;
use crate::upstream::{ProbeResult, ReachabilityCheck, RegistryState, UpstreamClient};

#[derive(Debug)]
pub(crate) struct Asking {
    ask: Arc<UpstreamClient>,
    standing: Arc<RegistryState>,
    pulse: Arc<ReachabilityCheck>,
}

impl Asking {
    pub fn new(
        ask: Arc<UpstreamClient>,
        standing: Arc<RegistryState>,
        pulse: Arc<ReachabilityCheck>,
    ) -> Self {
        Self {
            ask,
            standing,
            pulse,
        }
    }

    /// Asks with the caller's own credentials.
    pub async fn probe(&self, wish: &AuthRequest<'_>) -> ProbeResult {
        self.ask_and_tell(wish, true).await
    }

    /// Asks as nobody in particular.
    pub async fn probe_without_credentials(&self, wish: &AuthRequest<'_>) -> ProbeResult {
        self.ask_and_tell(wish, false).await
    }

    async fn ask_and_tell(&self, wish: &AuthRequest<'_>, with_credentials: bool) -> ProbeResult {
        let ticket = self.standing.ticket();
        let authorization = wish.credentials.header().filter(|_| with_credentials);
        let answer = self
            .ask
            .probe(wish.target, wish.source, authorization, wish.deadline)
            .await;
        match answer {
            ProbeResult::Writable => self.standing.answered_writable(&ticket),
            ProbeResult::ReadOnly => self.standing.refused_write(),
            ProbeResult::Unreachable => self.pulse.is_absent(),
            ProbeResult::Broken => self.pulse.connection_broke(),
            ProbeResult::Refused
            | ProbeResult::Insufficient
            | ProbeResult::TimedOut
            | ProbeResult::Strange => {}
        }
        answer
    }

    pub fn standing(&self) -> &RegistryState {
        &self.standing
    }
}

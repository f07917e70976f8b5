//! Questions to the registry with a caller's credentials, and what the answers show of it.

use std::sync::Arc;

use crate::auth::AuthRequest;
use crate::upstream::{ProbeResult, ReachabilityCheck, RegistryState, UpstreamClient};

#[derive(Debug)]
pub(crate) struct Asking {
    ask: Arc<UpstreamClient>,
    registry_state: Arc<RegistryState>,
    reachability: Arc<ReachabilityCheck>,
}

impl Asking {
    pub fn new(
        ask: Arc<UpstreamClient>,
        registry_state: Arc<RegistryState>,
        reachability: Arc<ReachabilityCheck>,
    ) -> Self {
        Self {
            ask,
            registry_state,
            reachability,
        }
    }

    /// Asks with the caller's own credentials.
    pub async fn probe(&self, request: &AuthRequest<'_>) -> ProbeResult {
        self.ask_and_tell(request, true).await
    }

    /// Asks as nobody in particular.
    pub async fn probe_without_credentials(&self, request: &AuthRequest<'_>) -> ProbeResult {
        self.ask_and_tell(request, false).await
    }

    async fn ask_and_tell(&self, request: &AuthRequest<'_>, with_credentials: bool) -> ProbeResult {
        let observation = self.registry_state.observe();
        let authorization = request.credentials.header().filter(|_| with_credentials);
        let answer = self
            .ask
            .probe(
                request.target,
                request.source,
                authorization,
                request.deadline,
            )
            .await;
        match answer {
            ProbeResult::Writable => self.registry_state.record_writable(&observation),
            ProbeResult::ReadOnly => self.registry_state.record_write_refused(),
            ProbeResult::Unreachable => self.reachability.record_unreachable(),
            ProbeResult::Broken => self.reachability.check_after_failure(),
            ProbeResult::Refused
            | ProbeResult::Insufficient
            | ProbeResult::TimedOut
            | ProbeResult::Strange => {}
        }
        answer
    }

    pub fn registry_state(&self) -> &RegistryState {
        &self.registry_state
    }
}

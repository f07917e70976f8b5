//! Questions to the registry with a caller's credentials, and what the answers show of it.

use std::sync::Arc;

use super::Wish;
use crate::upstream::{Ask, ProbeAnswer, Pulse, Standing};

#[derive(Debug)]
pub(super) struct Asking {
    ask: Arc<Ask>,
    standing: Arc<Standing>,
    pulse: Arc<Pulse>,
}

impl Asking {
    pub fn new(ask: Arc<Ask>, standing: Arc<Standing>, pulse: Arc<Pulse>) -> Self {
        Self {
            ask,
            standing,
            pulse,
        }
    }

    /// Asks with the caller's own credentials.
    pub async fn probe(&self, wish: &Wish<'_>) -> ProbeAnswer {
        self.ask_and_tell(wish, true).await
    }

    /// Asks as nobody in particular.
    pub async fn probe_without_credentials(&self, wish: &Wish<'_>) -> ProbeAnswer {
        self.ask_and_tell(wish, false).await
    }

    async fn ask_and_tell(&self, wish: &Wish<'_>, with_credentials: bool) -> ProbeAnswer {
        let ticket = self.standing.ticket();
        let authorization = wish.credentials.header().filter(|_| with_credentials);
        let answer = self
            .ask
            .probe(wish.target, wish.source, authorization, wish.deadline)
            .await;
        match answer {
            ProbeAnswer::Writable => self.standing.answered_writable(&ticket),
            ProbeAnswer::ReadOnly => self.standing.refused_write(),
            ProbeAnswer::Unreachable => self.pulse.is_absent(),
            ProbeAnswer::Broken => self.pulse.connection_broke(),
            ProbeAnswer::Refused
            | ProbeAnswer::Insufficient
            | ProbeAnswer::TimedOut
            | ProbeAnswer::Strange => {}
        }
        answer
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

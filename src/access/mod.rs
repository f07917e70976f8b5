//! Who may: the only maker of a [`Grant`].
//!
//! `upstream` asks the registry with the caller's own credentials, `open` stands for a
//! registry without access control, and `refusal` says what a refused caller gets, for
//! which alone `claims` reads a token without verifying it. Nothing here touches the
//! store: access is decided before the disk is looked at.

mod challenged;
mod claims;
mod credentials;
mod grant;
mod open;
mod refusal;
mod upstream;

use std::sync::Arc;

use tokio::time::Instant;

pub use challenged::ChallengeKey;
pub use credentials::Credentials;
pub use grant::{Grant, Proof};
pub use refusal::Refusal;

use crate::config::AccessMode;
use crate::metrics::Metrics;
use crate::oci::RepositoryName;
use crate::upstream::{Ask, Standing};
use challenged::Challenged;
use open::OpenAccess;
use upstream::UpstreamAccess;

/// What is known about one caller's right to one mount.
#[derive(Debug)]
pub enum Verdict {
    /// The caller may.
    Granted(Grant),
    /// The caller showed no credentials.
    NoCredentials,
    /// The caller may not, as far as these credentials go.
    Refused(Refusal),
    /// The registry takes no writes.
    ReadOnly,
    /// The registry refused where the configuration says that it refuses nobody.
    Mismatch,
    /// The registry gave no answer, or none that says anything about rights.
    Unavailable,
    /// The registry gave no answer in time.
    TimedOut,
}

/// Decides about mounts as the configuration says.
#[derive(Debug)]
pub struct Access {
    mode: Mode,
    challenged: Challenged,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Mode {
    Upstream(UpstreamAccess),
    Open(OpenAccess),
}

impl Access {
    /// Decides by `mode`; questions go through `ask`, and what they show about the
    /// registry is told to `standing`.
    #[must_use]
    pub fn new(
        mode: AccessMode,
        ask: Arc<Ask>,
        standing: Arc<Standing>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let upstream = UpstreamAccess::new(ask, standing);
        Self {
            mode: match mode {
                AccessMode::Upstream => Mode::Upstream(upstream),
                AccessMode::None => Mode::Open(OpenAccess::new(upstream)),
            },
            challenged: Challenged::default(),
            metrics,
        }
    }

    /// Whether the caller may push to and pull from `target` and pull from `source`, now.
    pub async fn decide(
        &self,
        target: &RepositoryName,
        source: &RepositoryName,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Verdict {
        let wish = Wish {
            target,
            source,
            credentials,
            challenged: &self.challenged,
            deadline,
        };
        let (verdict, via) = match &self.mode {
            Mode::Upstream(access) => (access.decide(&wish).await, "upstream"),
            Mode::Open(access) => (access.decide(&wish).await, "none"),
        };
        let decision = match &verdict {
            Verdict::Granted(_) => "allowed",
            Verdict::NoCredentials | Verdict::Refused(_) => "denied",
            Verdict::ReadOnly | Verdict::Mismatch | Verdict::Unavailable | Verdict::TimedOut => {
                "unknown"
            }
        };
        self.metrics.access_decision(decision, via);
        verdict
    }

    /// The registry refused somebody; returns whether it is said to refuse nobody.
    pub fn registry_refused(&self) -> bool {
        match &self.mode {
            Mode::Upstream(_) => false,
            Mode::Open(access) => {
                access.registry_refused();
                true
            }
        }
    }

    /// Remembers that a caller got the registry's own challenge for a pair of repositories.
    pub fn was_challenged(&self, key: ChallengeKey) {
        self.challenged.remember(key);
    }
}

/// One caller's wish, and what is needed to judge it.
struct Wish<'a> {
    target: &'a RepositoryName,
    source: &'a RepositoryName,
    credentials: &'a Credentials,
    challenged: &'a Challenged,
    deadline: Instant,
}

//! For which uploads in flight a HEAD may wait.

use crate::auth::AuthDecision;
use crate::discovery::uploads::WaitingHead;
use crate::discovery::{CallerRights, SharedSources, may_try};
use crate::mount::{Caller, Mounts};
use crate::oci::BlobRef;

impl Mounts {
    /// A HEAD that may be held, of a caller who may push to the target; `None` if none is held.
    pub(crate) fn waiting_head(
        &self,
        target: &BlobRef,
        caller: &Caller<'_>,
        user_agent: &str,
    ) -> Option<WaitingHead<'_>> {
        let uploads = self.uploads.as_ref().filter(|_| !self.settings.dry_run)?;
        Some(uploads.head(target, caller.credentials, true, user_agent))
    }

    /// Decides from which repositories, into which the layer is being uploaded, the caller may pull.
    ///
    /// As for a link: a caller who may not pull causes the same as without uploads in flight.
    pub(crate) async fn decide_uploads(
        &self,
        head: &mut WaitingHead<'_>,
        target: &BlobRef,
        caller: &Caller<'_>,
    ) {
        let Some(discovery) = &self.discovery else {
            return;
        };
        let undecided = head.undecided();
        if undecided.is_empty() {
            return;
        }
        let (repository, credentials) = (&target.repository, caller.credentials);
        let pullable = self.access.pull_scope(credentials).await;
        let rights = CallerRights {
            pullable: &pullable,
            shared: SharedSources::IsEnough,
        };
        let deadline = self.deadline();
        for source in undecided {
            let may_pull = may_try(discovery.settings(), repository, &source, rights)
                && matches!(
                    self.access
                        .decide_suggested(repository, &source, credentials, deadline)
                        .await,
                    AuthDecision::Granted(_)
                );
            head.decide(source, may_pull);
        }
    }
}

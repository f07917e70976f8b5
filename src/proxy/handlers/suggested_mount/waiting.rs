//! For which uploads in flight a HEAD may wait, and the mount after it.

use std::sync::Arc;
use std::time::Instant;

use http::header;
use pingora::http::{RequestHeader, ResponseHeader};

use crate::auth::{PushEvidence, Use};
use crate::blob_copy::{BlobCopier, CopyRequest};
use crate::discovery::may_try;
use crate::discovery::uploads::WaitingHead;
use crate::mount::MountRequest;
use crate::oci::{BlobRef, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::handlers::held_head::HeldMount;
use crate::proxy::handlers::suggested_mount::{
    MountTrigger, Suggested, SuggestedMounts, SuggestionRights,
};
use crate::proxy::observe::target_of;
use crate::proxy::upload_parts;
use crate::telemetry::labels::HeldResult;

/// The mount for which a HEAD may be held.
pub(crate) struct HeldSuggestion<'a> {
    suggestions: &'a SuggestedMounts,
    target: &'a BlobRef,
    head: &'a RequestHeader,
    rights: SuggestionRights,
    /// Copies layers that the registry does not mount yet.
    copier: Option<&'a Arc<BlobCopier>>,
}

impl SuggestedMounts {
    /// A HEAD that may be held, for which no source was found; `None` if none is held. The registry
    /// accepted its caller as for a mount.
    pub(crate) async fn waiting_head(
        &self,
        target: &BlobRef,
        head: &RequestHeader,
        rights: &SuggestionRights,
    ) -> Option<WaitingHead<'_>> {
        let uploads = self.uploads.as_ref()?;
        let caller = self.caller(head)?;
        if self.discovery.is_tombstoned(target) {
            return None;
        }
        let credentials = &caller.credentials;
        let evidence = self.used.push_evidence(credentials, &target.repository);
        let is_proved = match evidence.await {
            PushEvidence::Shown => true,
            PushEvidence::Unknown => rights.has_pushed,
            PushEvidence::NotListed => return None,
        };
        let agent = head.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        Some(uploads.head(target, credentials, is_proved, agent.unwrap_or_default()))
    }

    /// The mount for a HEAD that waits.
    pub(crate) fn held_mount<'a>(
        &'a self,
        target: &'a BlobRef,
        head: &'a RequestHeader,
        rights: SuggestionRights,
        copier: Option<&'a Arc<BlobCopier>>,
    ) -> HeldSuggestion<'a> {
        HeldSuggestion {
            suggestions: self,
            target,
            head,
            rights,
            copier,
        }
    }

    /// Records the upload session that the registry opened for a client.
    ///
    /// The registry lets these credentials write there. So another client with the same credentials
    /// may wait for the first layer that they upload to a repository.
    pub(super) async fn record_session(&self, head: &ResponseHeader, context: &RequestContext) {
        let Some(uploads) = &self.uploads else {
            return;
        };
        if let (Some(repository), Some(credentials)) =
            (target_of(&context.route), &context.credentials)
        {
            self.used.learn(credentials, repository, Use::Pushed).await;
        }
        upload_parts::record_session(uploads, head, context);
    }

    /// Whether a HEAD may mount into the target, as far as the operator limits it.
    async fn may_mount_into(&self, target: &BlobRef, head: &RequestHeader) -> bool {
        if self.discovery.settings().new_repositories {
            return true;
        }
        match self.caller(head) {
            Some(caller) => {
                let attempt = self.attempt_for(&caller);
                attempt.has_repository(&target.repository).await
            }
            None => false,
        }
    }
}

impl HeldMount for HeldSuggestion<'_> {
    type Found = Suggested;

    fn here() -> Suggested {
        Suggested::Here
    }

    fn result_of(found: &Suggested) -> Option<HeldResult> {
        match found {
            Suggested::NotFound(_) => None,
            Suggested::Mounted(_) | Suggested::Copied(_) => Some(HeldResult::Linked),
            Suggested::Here | Suggested::NotTried => Some(HeldResult::Released),
        }
    }

    /// The registry decides at the mount. A caller for whom a mount from that repository would not
    /// be tried causes the same as without uploads in flight.
    async fn decide_uploads(&self, waiting: &mut WaitingHead<'_>) {
        let settings = self.suggestions.discovery.settings();
        for source in waiting.undecided() {
            let rights = self.rights.as_caller_rights();
            let may_wait = may_try(settings, &self.target.repository, &source, rights)
                && self
                    .suggestions
                    .may_mount_into(self.target, self.head)
                    .await;
            waiting.decide(source, may_wait);
        }
    }

    async fn mount(&self, source: &RepositoryName, until: Instant) -> Suggested {
        let caller = self.suggestions.caller(self.head);
        match caller.map(|caller| caller.waiting_until(until)) {
            Some(caller) => {
                let found = self.suggestions.try_candidates(
                    self.target,
                    Some(source),
                    caller,
                    MountTrigger::Head,
                );
                found.await
            }
            None => Suggested::NotTried,
        }
    }

    /// Pulp shows the layer to the caller before it is copied, as for a mount.
    async fn copy(&self, source: &RepositoryName) -> Option<Suggested> {
        let (copier, caller) = (self.copier?, self.suggestions.caller(self.head)?);
        if self.suggestions.discovery.is_tombstoned(self.target) {
            return None;
        }
        let request = MountRequest {
            target: self.target.clone(),
            source: source.clone(),
        };
        let name = caller.name.clone();
        let blob = copier.copy(CopyRequest::waiting(request, name)).await?;
        self.suggestions.discovery.record_use(source);
        Some(Suggested::Copied(Box::new(blob)))
    }
}

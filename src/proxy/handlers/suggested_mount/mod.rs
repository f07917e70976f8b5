//! In front of registries that mount themselves: mounts of layers whose source the client does not
//! know. The registry mounts from a suggested source, with the caller's own credentials.
//!
//! This file decides which sources are tried; `attempt` sends the subrequests; `recording` records
//! what responses show; `waiting` says for which uploads in flight a HEAD may wait.

mod attempt;
mod recording;
mod waiting;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use pingora::http::RequestHeader;
use tokio::time::Instant;

use crate::auth::{Credentials, PullEvidence, PullScope, UsageHistory};
use crate::blob_copy::CopiedBlob;
use crate::discovery::redis::SharedKnowledge;
use crate::discovery::uploads::UploadsInFlight;
use crate::discovery::{CallerRights, Discovery, PendingDelete, SharedSources};
use crate::mount::MountRequest;
use crate::oci::{BlobRef, RepositoryName};
pub(crate) use crate::proxy::handlers::suggested_mount::attempt::SuggestedMount;
use crate::proxy::handlers::suggested_mount::attempt::{
    AttemptResult, MountAttempt, SuggestionCaller,
};
use crate::proxy::observe::shows_layer;
use crate::store::bucket::Bucket;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{CallerIdentity, DelegatedClient, PendingResponse};

/// Has the registry mount from suggested sources.
#[derive(Debug)]
pub(crate) struct SuggestedMounts {
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) used: UsageHistory,
    pub(crate) client: DelegatedClient,
    /// The uploads for which HEADs may wait, if the operator lets them.
    pub(crate) uploads: Option<Arc<UploadsInFlight>>,
    /// The registry's object store, if sources are looked up there before the registry decides.
    pub(crate) bucket: Option<Arc<Bucket>>,
    pub(crate) time_budget: Duration,
    /// Below these a request for a layer makes Pulp send one to another registry.
    pub(crate) pull_through: Vec<RepositoryName>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The request that leads to a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MountTrigger {
    /// A HEAD, which brings back no deleted layer.
    Head,
    /// A mount, which may.
    Mount,
}

/// What became of the suggested sources of a layer.
pub(crate) enum Suggested {
    /// The registry mounted it.
    Mounted(SuggestedMount),
    /// crossmount copied it.
    Copied(Box<CopiedBlob>),
    /// The layer is in the target meanwhile.
    Here,
    /// No repository that is tried for the caller holds the layer.
    NotFound(SuggestionRights),
    /// No further source is tried, and no HEAD waits.
    NotTried,
}

/// From which repositories a mount is tried for a caller.
#[derive(Debug)]
pub(crate) struct SuggestionRights {
    pullable: PullScope,
    shared: SharedSources,
    /// Whether another replica saw the caller push.
    has_pushed: bool,
}

impl SuggestionRights {
    fn as_caller_rights(&self) -> CallerRights<'_> {
        CallerRights {
            pullable: &self.pullable,
            shared: self.shared,
        }
    }
}

impl Suggested {
    fn mounted(self) -> Option<SuggestedMount> {
        match self {
            Self::Mounted(mounted) => Some(mounted),
            Self::Copied(_) | Self::Here | Self::NotFound(_) | Self::NotTried => None,
        }
    }
}

impl SuggestedMounts {
    /// Whether a HEAD that gets 404 may lead to a mount.
    pub(crate) fn mounts_on_head(&self) -> bool {
        self.discovery.settings().on_head
    }

    /// A client begins to delete a layer.
    pub(crate) async fn begin_delete(&self, blob: &BlobRef) -> PendingDelete {
        self.discovery.begin_delete(blob).await
    }

    /// Mounts the layer of a HEAD that got 404.
    pub(crate) async fn mount_for_head(
        &self,
        blob: &BlobRef,
        head: &RequestHeader,
        answer: &PendingResponse,
    ) -> Suggested {
        match self.caller(head).filter(|_| self.accepts(answer)) {
            Some(caller) => {
                // The operator says that this client can wait so long. A mount that comes late
                // saves more than its time.
                let patience = self.uploads.as_ref().map(|it| it.longest_wait());
                let until = std::time::Instant::now() + patience.unwrap_or_default();
                let caller = caller.waiting_until(until);
                let candidates = self.try_candidates(blob, None, caller, MountTrigger::Head);
                candidates.await
            }
            None => Suggested::NotTried,
        }
    }

    /// Mounts a layer for which the registry refused the client's own mount. If it refused the
    /// caller, nothing is tried.
    pub(crate) async fn mount(
        &self,
        target: &BlobRef,
        head: &RequestHeader,
        refused: &PendingResponse,
    ) -> Option<SuggestedMount> {
        let is_denied = matches!(
            refused.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        );
        let is_accepted = !is_denied && is_the_registrys(refused);
        let caller = self
            .caller(head)
            .filter(|_| is_accepted || self.needs_no_acceptance())?;
        self.try_candidates(target, None, caller, MountTrigger::Mount)
            .await
            .mounted()
    }

    /// Mounts a layer for which the registry opened an upload in place of the client's own mount,
    /// and ends that upload.
    pub(crate) async fn mount_in_place_of(
        &self,
        upload: &PendingResponse,
        target: &BlobRef,
        head: &RequestHeader,
    ) -> Option<SuggestedMount> {
        let is_accepted = is_the_registrys(upload) || self.needs_no_acceptance();
        let caller = self.caller(head).filter(|_| is_accepted)?;
        let attempt = self.attempt_for(&caller);
        let mounted = self.try_candidates(target, None, caller, MountTrigger::Mount);
        let mounted = mounted.await.mounted()?;
        attempt.cancel_upload(upload, &target.repository);
        Some(mounted)
    }

    /// Mounts a layer of any source, before the registry gets the client's request.
    ///
    /// Whether the registry accepts the caller is checked first, for every caller alike.
    pub(crate) async fn mount_sourceless(
        &self,
        target: &BlobRef,
        head: &RequestHeader,
    ) -> Option<SuggestedMount> {
        let caller = self.caller(head)?;
        let attempt = self.attempt_for(&caller);
        let answer = attempt.head_blob(target).await?;
        if shows_layer(answer.status()) {
            let mount = MountRequest {
                source: target.repository.clone(),
                target: target.clone(),
            };
            return match attempt.mount(mount).await {
                // The layer was there already: nothing was saved.
                AttemptResult::Mounted(mounted) => Some(SuggestedMount { size: 0, ..mounted }),
                AttemptResult::Useless | AttemptResult::Refused | AttemptResult::Silent => None,
            };
        }
        if !self.accepts(&answer) {
            return None;
        }
        self.try_candidates(target, None, caller, MountTrigger::Mount)
            .await
            .mounted()
    }

    /// Whether the registry checked the caller's permission before it responded 404.
    ///
    /// The handlers of Pulp and of distribution send the API's version, and check permissions
    /// before they look anything up. A proxy that responds in their place does not
    /// (`pulp_container/app/registry_api.py`, `default_response_headers`;
    /// `registry/handlers/app.go`, `dispatcher`). By its uses alone a credential is tried anyway.
    fn accepts(&self, answer: &PendingResponse) -> bool {
        let is_missing = answer.status() == StatusCode::NOT_FOUND;
        is_missing && (is_the_registrys(answer) || self.needs_no_acceptance())
    }

    /// Whether a caller is tried whom the registry has not accepted in the same request: by the
    /// uses of a credential alone, because the registry accepted these.
    fn needs_no_acceptance(&self) -> bool {
        self.used.evidence() == PullEvidence::SeenUse
    }

    fn caller(&self, head: &RequestHeader) -> Option<Arc<SuggestionCaller>> {
        let is_open = self.used.evidence() == PullEvidence::OpenRegistry;
        let credentials = Credentials::from_single_header(&head.headers)
            .filter(|sent| is_open || !sent.is_anonymous())?;
        Some(Arc::new(SuggestionCaller {
            name: CallerIdentity::for_request(&head.headers, credentials.header())?,
            credentials,
            deadline: Instant::now() + self.time_budget,
        }))
    }

    /// Has the registry mount a layer, and returns its 201.
    ///
    /// The registry decides about each source. Tried are only sources that the caller can likely
    /// pull. So a caller who may pull no source causes the same requests whether one exists or not.
    /// A token's claims count only if the registry has just accepted the token. `first` is tried
    /// first: the layer has just arrived there, and it was decided that the caller may pull it.
    async fn try_candidates(
        &self,
        target: &BlobRef,
        first: Option<&RepositoryName>,
        caller: Arc<SuggestionCaller>,
        trigger: MountTrigger,
    ) -> Suggested {
        let credentials = &caller.credentials;
        let login = Some(credentials).filter(|it| self.used.counts_uses(it));
        let shared = self.discovery.fetch_shared(target, login).await;
        if trigger == MountTrigger::Head && shared.is_deleted {
            return Suggested::NotTried;
        }
        let rights = SuggestionRights {
            pullable: self.used.pull_scope(credentials).await.and(&shared.used),
            shared: self.shared_sources(credentials, &shared).await,
            has_pushed: shared.has_pushed,
        };
        let mut candidates =
            self.discovery
                .find_shared_candidates(target, rights.as_caller_rights(), &shared);
        if let Some(uploads) = &self.uploads {
            candidates.retain(|it| !uploads.waits_for_manifest(it, &target.digest));
        }
        if let Some(first) = first {
            candidates.retain(|candidate| candidate != first);
            candidates.insert(0, first.clone());
        }
        self.record_wanted(target, &rights.pullable);
        let attempt = self.attempt_for(&caller);
        let needs_repository =
            trigger == MountTrigger::Head && !self.discovery.settings().new_repositories;
        // Only for callers with candidates: other callers cause no request at all.
        if needs_repository
            && !candidates.is_empty()
            && !attempt.has_repository(&target.repository).await
        {
            return Suggested::NotTried;
        }
        for source in candidates {
            if trigger == MountTrigger::Head && self.discovery.is_tombstoned(target) {
                return Suggested::NotTried;
            }
            let mount = MountRequest {
                target: target.clone(),
                source: source.clone(),
            };
            match attempt.mount(mount).await {
                AttemptResult::Mounted(mounted) => {
                    self.discovery.record_use(&source);
                    self.discovery.record_use(&target.repository);
                    self.index_link(target);
                    return Suggested::Mounted(mounted);
                }
                AttemptResult::Refused => {
                    self.used.forget(&caller.credentials, &source).await;
                    if let Some(login) = login {
                        self.discovery.unshare_use(login, &source);
                    }
                }
                AttemptResult::Useless => {}
                AttemptResult::Silent => return Suggested::NotTried,
            }
        }
        Suggested::NotFound(rights)
    }

    fn attempt_for(&self, caller: &Arc<SuggestionCaller>) -> MountAttempt {
        MountAttempt {
            client: self.client.clone(),
            discovery: self.discovery.clone(),
            bucket: self.bucket.clone(),
            caller: caller.clone(),
        }
    }

    /// Whether shared sources are tried for a caller who is not known to pull them.
    async fn shared_sources(
        &self,
        credentials: &Credentials,
        shared: &SharedKnowledge,
    ) -> SharedSources {
        // A registry with a token endpoint goes by the token alone. If nothing else shows that the
        // registry knows this caller, only a push does.
        let is_known = self.used.evidence() != PullEvidence::SeenUse
            || shared.has_pushed
            || self.used.has_pushed(credentials).await;
        if is_known && !credentials.is_token() {
            SharedSources::IsEnough
        } else {
            SharedSources::MustBeNamed
        }
    }

    /// Records shared holders that the caller's token does not name: the next token request asks
    /// for them too, because the caller will likely need them. What replicas share does not count:
    /// it is kept for one request alone.
    fn record_wanted(&self, target: &BlobRef, pullable: &PullScope) {
        if self.used.evidence() != PullEvidence::TokenClaims {
            return;
        }
        let nothing_else = PullScope::These(HashSet::new());
        let rights = CallerRights {
            pullable: &nothing_else,
            shared: SharedSources::IsEnough,
        };
        let wanted = self.discovery.find_candidates(target, rights);
        for holder in wanted.iter().rev().filter(|it| !pullable.includes(it)) {
            self.discovery.record_use(holder);
        }
    }
}

/// Whether a response is that of the registry's own handlers.
fn is_the_registrys(answer: &PendingResponse) -> bool {
    answer
        .headers()
        .contains_key("docker-distribution-api-version")
}

//! In front of registries that mount themselves: a layer that the client does not know of is
//! mounted by the registry, from a suggested source, with the caller's own credentials.
//!
//! Here is decided what is tried, and learned from what passes by; `trying` asks the registry.

mod attempt;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};
use tokio::time::Instant;

use crate::auth::{Credentials, PullScope, UsageHistory, Use};
use crate::discovery::{Discovery, PendingDelete, SharedSources};
use crate::mount::MountRequest;
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::handlers::suggested_mount::attempt::{
    AttemptResult, MountAttempt, SuggestionCaller,
};
use crate::proxy::observe::{shows_layer, target_of};
use crate::proxy::route::Route;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{CallerIdentity, DelegatedClient, PendingResponse};

/// In every repository of Pulp's, whether it was pushed or not
/// (`pulp_container/app/registry_api.py`, `EMPTY_BLOB`).
const EMPTY_LAYER: &str = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";

/// Mounts from suggested sources.
#[derive(Debug)]
pub struct SuggestedMounts {
    discovery: Arc<Discovery>,
    used: UsageHistory,
    client: DelegatedClient,
    time_budget: Duration,
    /// Below these a question for a layer makes Pulp ask another registry.
    pull_through: Vec<RepositoryName>,
    metrics: Arc<Metrics>,
}

/// What a layer is mounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MountTrigger {
    /// A question, which brings back nothing that was deleted.
    Head,
    /// A mount, which is wanted.
    Mount,
}

impl SuggestedMounts {
    /// By what `discovery` suggests, and what callers were seen to use.
    pub fn new(
        discovery: Arc<Discovery>,
        used: UsageHistory,
        client: DelegatedClient,
        time_budget: Duration,
        pull_through: Vec<RepositoryName>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            discovery,
            used,
            client,
            time_budget,
            pull_through,
            metrics,
        }
    }

    /// Whether a HEAD that is answered with 404 may be made true.
    pub(crate) fn mounts_on_head(&self) -> bool {
        self.discovery.settings().on_head
    }

    /// A deletion of a layer begins.
    pub(crate) fn begin_delete(&self, blob: &BlobRef) -> PendingDelete {
        self.discovery.begin_delete(blob)
    }

    /// Mounts a layer that a HEAD has asked for in vain; `None` where that is not to be.
    pub(crate) async fn mount_for_head(
        &self,
        blob: &BlobRef,
        head: &RequestHeader,
        answer: &PendingResponse,
    ) -> Option<PendingResponse> {
        let caller = self.caller(head).filter(|_| self.accepts(answer))?;
        self.try_candidates(blob, caller, MountTrigger::Head).await
    }

    /// Mounts a layer in the place of a mount that the registry has found nothing for.
    pub(crate) async fn mount(
        &self,
        target: &BlobRef,
        head: &RequestHeader,
    ) -> Option<PendingResponse> {
        let caller = self.caller(head)?;
        self.try_candidates(target, caller, MountTrigger::Mount)
            .await
    }

    /// Mounts a layer whose source the client does not know, before the registry has seen the
    /// request: whether it accepts the caller is found out first, for everybody alike.
    pub(crate) async fn mount_sourceless(
        &self,
        target: &BlobRef,
        head: &RequestHeader,
    ) -> Option<PendingResponse> {
        let caller = self.caller(head)?;
        let trying = self.attempt_for(&caller);
        let answer = trying.head_blob(target).await?;
        if shows_layer(answer.status()) {
            let mount = MountRequest {
                source: target.repository.clone(),
                target: target.clone(),
            };
            return match trying.mount(mount).await {
                AttemptResult::Mounted(answer) => Some(*answer),
                AttemptResult::Useless | AttemptResult::Refused | AttemptResult::Silent => None,
            };
        }
        if !self.accepts(&answer) {
            return None;
        }
        self.try_candidates(target, caller, MountTrigger::Mount)
            .await
    }

    /// Whether a registry that says that it has no such layer has judged the caller before.
    ///
    /// Pulp's views name the API's version, and look at rights before they look for anything;
    /// whoever answers in their place does not (`pulp_container/app/registry_api.py`,
    /// `default_response_headers`). Of any other registry's callers nothing is believed.
    fn accepts(&self, answer: &PendingResponse) -> bool {
        let is_views = answer
            .headers()
            .contains_key("docker-distribution-api-version");
        answer.status() == StatusCode::NOT_FOUND && (is_views || !self.used.trusts_claims())
    }

    fn caller(&self, head: &RequestHeader) -> Option<Arc<SuggestionCaller>> {
        let credentials =
            Credentials::from_single_header(&head.headers).filter(|shown| !shown.is_anonymous())?;
        Some(Arc::new(SuggestionCaller {
            name: CallerIdentity::for_request(&head.headers, credentials.header())?,
            credentials,
            deadline: Instant::now() + self.time_budget,
        }))
    }

    /// Lets the registry mount a layer, and gives its 201; `None` where it did not.
    ///
    /// The registry decides about each source. Tried is only where the caller is likely to be
    /// let: then one who may pull none of the holders causes the same whether there are any or
    /// not. What a token says of that counts where the registry has just taken the token.
    async fn try_candidates(
        &self,
        target: &BlobRef,
        caller: Arc<SuggestionCaller>,
        occasion: MountTrigger,
    ) -> Option<PendingResponse> {
        let pullable = self.used.pull_scope(&caller.credentials).await;
        let rights = (&pullable, self.shared_sources(&caller.credentials).await);
        let candidates = self.discovery.find_candidates(target, rights);
        self.record_wanted(target, &pullable);
        let trying = self.attempt_for(&caller);
        let needs_repository =
            occasion == MountTrigger::Head && !self.discovery.settings().new_repositories;
        // Asked only of those to whom something can be suggested: nobody else causes anything.
        if needs_repository
            && !candidates.is_empty()
            && !trying.has_repository(&target.repository).await
        {
            return None;
        }
        for source in candidates {
            if occasion == MountTrigger::Head && self.discovery.is_tombstoned(target) {
                return None;
            }
            let mount = MountRequest {
                target: target.clone(),
                source: source.clone(),
            };
            match trying.mount(mount).await {
                AttemptResult::Mounted(answer) => {
                    self.discovery.record_use(&source);
                    self.discovery.record_use(&target.repository);
                    self.index_link(target);
                    return Some(*answer);
                }
                AttemptResult::Refused => self.used.forget(&caller.credentials, &source).await,
                AttemptResult::Useless => {}
                AttemptResult::Silent => return None,
            }
        }
        None
    }

    fn attempt_for(&self, caller: &Arc<SuggestionCaller>) -> MountAttempt {
        MountAttempt {
            client: self.client.clone(),
            discovery: self.discovery.clone(),
            caller: caller.clone(),
        }
    }

    /// Whether what is declared shared is tried for a caller who is not known to pull it.
    async fn shared_sources(&self, credentials: &Credentials) -> SharedSources {
        // A registry that hands out tokens goes by the token alone; and elsewhere only a push has
        // shown that it knows who this is.
        let is_known = self.used.trusts_claims() || self.used.has_pushed(credentials).await;
        if is_known && !credentials.is_token() {
            SharedSources::IsEnough
        } else {
            SharedSources::MustBeNamed
        }
    }

    /// Shared holders that a caller's token does not name are likely to be of use to the next
    /// one: they are asked for in its request for a token.
    fn record_wanted(&self, target: &BlobRef, pullable: &PullScope) {
        if !self.used.trusts_claims() {
            return;
        }
        let nothing_else = PullScope::These(HashSet::new());
        let rights = (&nothing_else, SharedSources::IsEnough);
        let wanted = self.discovery.find_candidates(target, rights);
        for holder in wanted.iter().rev().filter(|it| !pullable.includes(it)) {
            self.discovery.record_use(holder);
        }
    }

    /// Learns from an answer that passes by.
    pub(crate) async fn observe(&self, head: &ResponseHeader, context: &RequestContext) {
        match (&context.route, head.status) {
            (Route::Blob(blob), status) if shows_layer(status) => {
                self.record_link(blob, context, Use::Pulled).await;
            }
            (route, StatusCode::CREATED) => {
                let digest = head.headers.get("docker-content-digest");
                let digest = digest.and_then(|value| Digest::parse(value.to_str().ok()?).ok());
                let digest = digest.or_else(|| requested_digest(route).cloned());
                if let (Some(repository), Some(digest)) = (target_of(route), digest) {
                    self.discovery.record_use(repository);
                    let repository = repository.clone();
                    let blob = BlobRef { repository, digest };
                    self.record_link(&blob, context, Use::Pushed).await;
                }
            }
            _ => {}
        }
    }

    /// The registry says that it has mounted a layer from the repository that the client named.
    ///
    /// It says nothing of the caller's right to pull there: some registries mount whatever the
    /// caller may pull from anywhere.
    pub(crate) fn record_source(&self, source: &BlobRef) {
        self.discovery.record_use(&source.repository);
        self.index_link(source);
    }

    async fn record_link(&self, blob: &BlobRef, context: &RequestContext, what: Use) {
        self.index_link(blob);
        if let Some(credentials) = &context.shown {
            self.used.learn(credentials, &blob.repository, what).await;
        }
    }

    fn index_link(&self, BlobRef { repository, digest }: &BlobRef) {
        let is_pulled_through = self
            .pull_through
            .iter()
            .any(|path| repository.is_below(path));
        if digest.as_str() != EMPTY_LAYER && !is_pulled_through {
            self.discovery.record_link(repository, digest);
            self.metrics.index_links(self.discovery.links());
        }
    }
}

/// The layer that a request wants mounted: not every registry names it in its answer.
fn requested_digest(route: &Route) -> Option<&Digest> {
    match route {
        Route::Mount(MountRequest { target, .. }) | Route::SourcelessMount(target) => {
            Some(&target.digest)
        }
        Route::AmbiguousMount(_)
        | Route::Blob(_)
        | Route::Deletion(_)
        | Route::Upload(_)
        | Route::Other => None,
    }
}

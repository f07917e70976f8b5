//! Mounts from sources that the client did not name.

use std::sync::Arc;

use tokio::time::Instant;

use crate::auth::{AuthDecision, Credentials, Proof, Use};
use crate::discovery::{CallerRights, Discovery, PendingDelete, SharedSources, StoreSearch};
use crate::mount::decision::{Decision, Forward};
use crate::mount::{Caller, MountRequest, Mounts};
use crate::oci::{BlobRef, RepositoryName};
use crate::telemetry::labels::StoreOperation;
use crate::telemetry::outcome::{Outcome, Reason, Via};

/// A mount for which other sources are tried than the client named.
#[derive(Clone, Copy)]
struct SuggestedAttempt<'a> {
    target: &'a BlobRef,
    caller: &'a Caller<'a>,
    via: Via,
    deadline: Instant,
}

impl Mounts {
    /// Mounts from any repository that the caller may pull, for a mount that names no source.
    pub(crate) async fn attempt_without_source(
        &self,
        target: &BlobRef,
        caller: &Caller<'_>,
    ) -> Decision {
        let deadline = self.deadline();
        let found = self.discover(target, caller, Via::Discovery, deadline);
        match found.await {
            Ok(decision) => decision,
            Err(reason @ Reason::BlobDamaged) => Decision::Forward(Forward::plain(reason)),
            Err(reason) => Decision::Forward(Forward::as_it_came(reason)),
        }
    }

    /// Whether a HEAD for a layer that the target lacks may lead to a mount.
    pub(crate) fn mounts_on_head(&self) -> bool {
        let settings = self.discovery.as_deref().map(Discovery::settings);
        settings.is_some_and(|settings| settings.on_head)
    }

    /// Mounts the layer of a HEAD that got 404; `None` if the HEAD stays as it is.
    pub(crate) async fn mount_for_head(
        &self,
        target: &BlobRef,
        caller: &Caller<'_>,
    ) -> Option<Decision> {
        let discovery = self
            .discovery
            .as_deref()
            .filter(|_| self.mounts_on_head())?;
        if discovery.is_tombstoned(target) {
            return None;
        }
        let deadline = self.deadline();
        let found = self.discover(target, caller, Via::Head, deadline);
        match found.await {
            Ok(decision) => Some(decision),
            // The operator sees what a dry run would have mounted; a plain HEAD asked for no mount.
            Err(
                reason @ (Reason::BlobUnverified
                | Reason::BlobDamaged
                | Reason::StoreError
                | Reason::Timeout
                | Reason::Overload),
            ) => Some(Decision::Forward(Forward::as_it_came(reason))),
            Err(_) => None,
        }
    }

    /// Mounts from another repository that holds the layer and that the caller may pull, or says
    /// why not.
    ///
    /// Access to the target is decided first, for every caller alike. So a caller who may pull no
    /// source causes the same requests whether a source exists or not.
    pub(crate) async fn discover(
        &self,
        target: &BlobRef,
        caller: &Caller<'_>,
        via: Via,
        deadline: Instant,
    ) -> Result<Decision, Reason> {
        let Some(discovery) = self
            .discovery
            .as_ref()
            .filter(|_| self.registry_state.is_store_verified())
        else {
            return Err(Reason::SourceMissing);
        };
        let credentials = caller.credentials;
        let repository = &target.repository;
        match self
            .access
            .decide(repository, repository, credentials, deadline)
            .await
        {
            AuthDecision::Granted(_) => {}
            decision => return Err(decision.reason()),
        }
        let login = Some(credentials).filter(|it| self.access.counts_uses(it));
        let shared = discovery.fetch_shared(target, login).await;
        if via == Via::Head && shared.is_deleted {
            return Err(Reason::SourceMissing);
        }
        let pullable = self.access.pull_scope(credentials).await;
        let perhaps_pullable = pullable.clone().and(&shared.used);
        let rights = CallerRights {
            pullable: &perhaps_pullable,
            shared: SharedSources::IsEnough,
        };
        let attempt = SuggestedAttempt {
            target,
            caller,
            via,
            deadline,
        };
        let suggested = discovery.find_shared_candidates(target, rights, &shared);
        match self.try_sources(discovery, &suggested, &attempt).await {
            Err(Reason::SourceMissing) => {}
            done => return done,
        }
        // What Redis says of a login does not decide where on the disk is looked for it.
        let search = StoreSearch {
            target: target.clone(),
            pullable,
            tried: suggested,
        };
        let found = self.search_store(discovery, search, deadline).await;
        self.try_sources(discovery, &found, &attempt).await
    }

    /// Looks in the store for other repositories that hold a layer and that the caller may likely
    /// pull. Where that fails there are none: the search is only a suggestion too.
    async fn search_store(
        &self,
        discovery: &Arc<Discovery>,
        search: StoreSearch,
        deadline: Instant,
    ) -> Vec<RepositoryName> {
        if !search.is_worthwhile(discovery) {
            return Vec::new();
        }
        let (store, discovery) = (self.store.clone(), discovery.clone());
        let metrics = self.metrics.clone();
        let job = move || {
            let _timer = metrics.store_timer(StoreOperation::Search);
            store.on_open(|store| search.run(&discovery, store))
        };
        match self.workers.run(deadline, job).await {
            Ok(Ok(Some(outcome))) => {
                self.metrics.store_searched(outcome.result);
                outcome.found
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "store search failed");
                Vec::new()
            }
            Ok(Ok(None)) | Err(_) => Vec::new(),
        }
    }

    /// Mounts from the first of these sources that holds the layer and that the caller may pull.
    async fn try_sources(
        &self,
        discovery: &Discovery,
        sources: &[RepositoryName],
        attempt: &SuggestedAttempt<'_>,
    ) -> Result<Decision, Reason> {
        let SuggestedAttempt {
            target,
            caller,
            via,
            deadline,
        } = *attempt;
        let (credentials, repository) = (caller.credentials, &target.repository);
        for source in sources {
            let decision = self
                .access
                .decide_suggested(repository, source, credentials, deadline)
                .await;
            let grant = match decision {
                AuthDecision::Granted(grant) => grant,
                AuthDecision::Refused(_) => {
                    discovery.unshare_use(credentials, source);
                    continue;
                }
                decision => return Err(decision.reason()),
            };
            let request = MountRequest {
                target: target.clone(),
                source: source.clone(),
            };
            let proof = grant.basis().proof();
            let linked = self.look_up_and_link(grant, &request, caller.id, via, deadline);
            match linked.await {
                Decision::Forward(Forward {
                    reason: Reason::SourceMissing | Reason::BlobMissing,
                    ..
                }) => discovery.forget_link(source, &target.digest),
                Decision::Forward(forward) if forward.outcome != Outcome::WouldMount => {
                    return Err(forward.reason);
                }
                decision @ Decision::Forward(_) => {
                    discovery.record_use(source);
                    return Ok(decision);
                }
                done @ Decision::Done(_) => {
                    self.record_mount(&request, proof, credentials).await;
                    return Ok(done);
                }
            }
        }
        Err(Reason::SourceMissing)
    }

    /// Records a mount: both repositories hold the layer.
    ///
    /// The usage history gets the repositories to which `proof` showed the credentials' access.
    pub(crate) async fn record_mount(
        &self,
        request: &MountRequest,
        proof: Proof,
        credentials: &Credentials,
    ) {
        let (uses_target, uses_source) = match proof {
            // Without access control any client may send any credentials.
            Proof::NoAccessControl => (false, false),
            Proof::SharedSource => (true, false),
            Proof::UpstreamProbe | Proof::RememberedProbe | Proof::Token | Proof::Htpasswd => {
                (true, true)
            }
        };
        let used = |is_used: bool| Some(credentials).filter(|_| is_used);
        let source = request.target.in_repository(&request.source);
        self.record_push(&source, used(uses_source)).await;
        self.record_push(&request.target, used(uses_target)).await;
    }

    /// Records a layer that these credentials pushed to or mounted from a repository.
    pub(crate) async fn record_push(&self, blob: &BlobRef, credentials: Option<&Credentials>) {
        if let Some(discovery) = &self.discovery {
            discovery.record_use(&blob.repository);
        }
        self.record_link(blob, credentials).await;
    }

    /// Records that a repository holds a layer, as a response to these credentials shows.
    pub(crate) async fn record_link(&self, blob: &BlobRef, credentials: Option<&Credentials>) {
        let Some(discovery) = &self.discovery else {
            return;
        };
        discovery.record_link(&blob.repository, &blob.digest);
        self.metrics.index_links(discovery.links());
        if let Some(credentials) = credentials {
            self.access.record_use(credentials, &blob.repository).await;
            if self.access.counts_uses(credentials) {
                discovery.share_use(credentials, &blob.repository, Use::Pulled);
            }
        }
    }

    /// A client is about to delete a layer from a repository: no HEAD brings it back.
    pub(crate) async fn begin_delete(&self, blob: &BlobRef) -> Option<PendingDelete> {
        let discovery = self.discovery.as_ref()?;
        Some(discovery.begin_delete(blob).await)
    }
}

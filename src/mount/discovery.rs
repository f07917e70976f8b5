//! Mounts from sources that the client did not name.

use tokio::time::Instant;

use crate::auth::AuthDecision;
use crate::discovery::{CallerRights, Discovery, SharedSources, StoreSearch};
use crate::mount::decision::{Decision, Forward};
use crate::mount::{Caller, MountRequest, Mounts};
use crate::oci::{BlobRef, RepositoryName};
use crate::telemetry::outcome::{Outcome, Reason, Via};

/// What became of a HEAD for a layer that the target lacks.
pub(crate) enum HeadMount {
    /// The layer is mounted, or is not for a reason that the operator sees.
    Decided(Decision),
    /// The layer is in the target meanwhile.
    Here,
    /// The caller may push to the target, and no repository from which it may pull holds the layer.
    NotFound,
    /// The HEAD stays as it is.
    NotTried,
}

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
            // Nothing was looked for.
            Err(Reason::None) => Decision::Forward(Forward::as_it_came(Reason::SourceMissing)),
            Err(reason) => Decision::Forward(Forward::as_it_came(reason)),
        }
    }

    /// Whether a HEAD for a layer that the target lacks may lead to a mount.
    pub(crate) fn mounts_on_head(&self) -> bool {
        let settings = self.discovery.as_deref().map(Discovery::settings);
        settings.is_some_and(|settings| settings.on_head)
    }

    /// Mounts the layer of a HEAD that got 404, or says why not.
    pub(crate) async fn mount_for_head(
        &self,
        target: &BlobRef,
        caller: &Caller<'_>,
        via: Via,
    ) -> HeadMount {
        let discovery = self.discovery.as_deref().filter(|_| self.mounts_on_head());
        if discovery.is_none_or(|discovery| discovery.is_tombstoned(target)) {
            return HeadMount::NotTried;
        }
        let deadline = self.deadline();
        let found = self.discover(target, caller, via, deadline);
        match found.await {
            Ok(decision) => HeadMount::Decided(decision),
            // The operator sees what a dry run would have mounted; a plain HEAD asked for no mount.
            Err(
                reason @ (Reason::BlobUnverified
                | Reason::BlobDamaged
                | Reason::StoreError
                | Reason::Timeout
                | Reason::Overload),
            ) => HeadMount::Decided(Decision::Forward(Forward::as_it_came(reason))),
            Err(Reason::SourceMissing) => HeadMount::NotFound,
            Err(_) => HeadMount::NotTried,
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
            return Err(Reason::None);
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
        if via.is_head() && shared.is_deleted {
            return Err(Reason::None);
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
                    if self.access.counts_uses(credentials) {
                        discovery.unshare_use(credentials, source);
                    }
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
}

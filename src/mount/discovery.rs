//! Sources that the client did not name.

use tokio::time::Instant;

use crate::auth::{AuthDecision, Credentials, Proof};
use crate::discovery::{Discovery, PendingDelete, SharedSources};
use crate::mount::decision::{Decision, Forward};
use crate::mount::{Caller, MountRequest, Mounts};
use crate::oci::{Digest, RepositoryName};
use crate::telemetry::outcome::{Outcome, Reason, Via};

impl Mounts {
    /// Mounts from wherever the caller may, where the client names no source.
    pub async fn attempt_without_source(
        &self,
        target: &RepositoryName,
        digest: &Digest,
        caller: &Caller<'_>,
    ) -> Decision {
        let deadline = self.deadline();
        let found = self.discover(target, digest, caller, Via::Discovery, deadline);
        match found.await {
            Ok(decision) => decision,
            Err(reason @ Reason::BlobDamaged) => Decision::Forward(Forward::plain(reason)),
            Err(reason) => Decision::Forward(Forward::as_it_came(reason)),
        }
    }

    /// Whether a layer that a HEAD asks for in vain may be mounted.
    #[must_use]
    pub fn mounts_on_head(&self) -> bool {
        let settings = self.discovery.as_deref().map(Discovery::settings);
        settings.is_some_and(|settings| settings.on_head)
    }

    /// Mounts a layer that a HEAD has asked for in vain; `None` where that is not to be.
    pub async fn mount_for_head(
        &self,
        target: &RepositoryName,
        digest: &Digest,
        caller: &Caller<'_>,
    ) -> Option<Decision> {
        let discovery = self
            .discovery
            .as_deref()
            .filter(|_| self.mounts_on_head())?;
        if discovery.is_tombstoned(target, digest) {
            return None;
        }
        let deadline = self.deadline();
        let found = self.discover(target, digest, caller, Via::Head, deadline);
        match found.await {
            Ok(decision) => Some(decision),
            // An operator sees what might have been; who only asks has wanted no mount.
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

    /// From another repository that holds the layer, and that the caller may pull; or why not.
    ///
    /// Whether the caller may use the target is found out first, for everybody alike: then a
    /// caller who may pull none of the holders causes the same whether there are any or not.
    pub(crate) async fn discover(
        &self,
        target: &RepositoryName,
        digest: &Digest,
        caller: &Caller<'_>,
        via: Via,
        deadline: Instant,
    ) -> Result<Decision, Reason> {
        let Some(discovery) = self
            .discovery
            .as_deref()
            .filter(|_| self.registry_state.is_store_verified())
        else {
            return Err(Reason::SourceMissing);
        };
        let credentials = caller.credentials;
        match self
            .access
            .decide(target, target, credentials, deadline)
            .await
        {
            AuthDecision::Granted(_) => {}
            verdict => return Err(verdict.reason()),
        }
        let pullable = self.access.pull_scope(credentials).await;
        for source in
            discovery.find_candidates(target, digest, (&pullable, SharedSources::IsEnough))
        {
            let verdict = self
                .access
                .decide_suggested(target, &source, credentials, deadline)
                .await;
            let grant = match verdict {
                AuthDecision::Granted(grant) => grant,
                AuthDecision::Refused(_) => continue,
                verdict => return Err(verdict.reason()),
            };
            let request = MountRequest {
                target: target.clone(),
                source,
                digest: digest.clone(),
            };
            let proof = grant.basis().proof();
            let linked = self.look_up_and_link(grant, &request, caller.id, via, deadline);
            match linked.await {
                Decision::Forward(Forward {
                    reason: Reason::SourceMissing | Reason::BlobMissing,
                    ..
                }) => discovery.forget_link(&request.source, digest),
                Decision::Forward(forward) if forward.outcome != Outcome::WouldMount => {
                    return Err(forward.reason);
                }
                decision @ Decision::Forward(_) => {
                    discovery.record_use(&request.source);
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

    /// A layer was mounted here, as `proof` allowed these credentials: both repositories hold it.
    ///
    /// The caller has used those for which the proof stands.
    pub(crate) async fn record_mount(
        &self,
        request: &MountRequest,
        proof: Proof,
        credentials: &Credentials,
    ) {
        let (uses_target, uses_source) = match proof {
            // Anybody may show any credentials here.
            Proof::NoAccessControl => (false, false),
            Proof::SharedSource => (true, false),
            Proof::UpstreamProbe | Proof::RememberedProbe | Proof::Token | Proof::Htpasswd => {
                (true, true)
            }
        };
        let used = |is_used: bool| Some(credentials).filter(|_| is_used);
        let MountRequest {
            target,
            source,
            digest,
        } = request;
        self.record_push(source, digest, used(uses_source)).await;
        self.record_push(target, digest, used(uses_target)).await;
    }

    /// A layer was pushed to or mounted from a repository, with these credentials.
    pub async fn record_push(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        credentials: Option<&Credentials>,
    ) {
        if let Some(discovery) = &self.discovery {
            discovery.record_use(repository);
        }
        self.record_link(repository, digest, credentials).await;
    }

    /// A repository was seen to hold a layer, by an answer of the registry's to these credentials.
    pub async fn record_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        credentials: Option<&Credentials>,
    ) {
        let Some(discovery) = &self.discovery else {
            return;
        };
        discovery.record_link(repository, digest);
        self.metrics.index_links(discovery.links());
        if let Some(credentials) = credentials {
            self.access.record_use(credentials, repository).await;
        }
    }

    /// Somebody is about to delete a layer from a repository: no HEAD brings it back.
    #[must_use]
    pub fn begin_delete(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Option<PendingDelete> {
        let discovery = self.discovery.as_ref()?;
        Some(discovery.begin_delete(repository, digest))
    }
}

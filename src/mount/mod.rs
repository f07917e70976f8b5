//! One mount from beginning to end: authorize, look up, link, or forward with a reason.
//!
//! | file | what |
//! |---|---|
//! | this one | [`Mounts`] joins the steps, which know nothing of each other |
//! | `discovery` | tries sources that the client did not name |
//! | `store_search` | looks for such sources on the disk |
//! | `records` | records which repositories hold a layer, and who used them |
//! | `waiting` | for which uploads in flight a HEAD may wait |
//! | `link_job` | the part that blocks: look up, verify, link |
//! | `decision` | the result: [`Decision`] |
//! | `store_verification` | checks that the registry's own new links appear in the store |
//!
//! No HTTP type comes in: a [`MountRequest`] and its [`Caller`] go in, a [`Decision`] comes out.

mod decision;
mod discovery;
mod link_job;
mod records;
mod store_search;
mod store_verification;
mod waiting;

use std::sync::Arc;

use tokio::time::Instant;

pub(crate) use decision::{Decision, Forward, ForwardForm, Mounted};
pub(crate) use discovery::HeadMount;
pub(crate) use store_verification::{PendingVerification, StoreVerification};

use crate::auth::{Access, AuthDecision, Credentials, Denial, Grant, Unauthorized};
use crate::config::{self, SourceDenied};
use crate::discovery::Discovery;
use crate::discovery::uploads::UploadsInFlight;
use crate::mount::link_job::{LinkJob, LinkOutcome};
use crate::oci::{BlobRef, RepositoryName};
use crate::store::{Filesystem, LinkResult};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::telemetry::request_id::RequestId;
use crate::telemetry::trace::Trace;
use crate::upstream::RegistryState;
use crate::util::blocking_pool::{BlockingPool, JobError};
use crate::verify::BlobVerifier;

/// A client's request to mount a layer of one repository in another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountRequest {
    /// The layer, and the repository to link it into.
    pub target: BlobRef,
    /// The repository that the client says holds the layer.
    pub source: RepositoryName,
}

/// Decides mount requests, and writes the links of those that it grants.
#[derive(Debug)]
pub(crate) struct Mounts {
    pub(crate) access: Access,
    pub(crate) store: Arc<Filesystem>,
    /// Where there is one, only blobs that it has found good are linked.
    pub(crate) verifier: Option<Arc<BlobVerifier>>,
    pub(crate) workers: Arc<BlockingPool>,
    pub(crate) registry_state: Arc<RegistryState>,
    pub(crate) settings: config::MountConfig,
    pub(crate) discovery: Option<Arc<Discovery>>,
    /// The uploads for which HEADs may wait, if the operator lets them.
    pub(crate) uploads: Option<Arc<UploadsInFlight>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The client of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The request's Authorization, parsed.
    pub credentials: &'a Credentials,
    /// Identifies the request in the log.
    pub id: &'a RequestId,
}

impl Mounts {
    /// Mounts, or returns why the request is forwarded and in which form.
    pub(crate) async fn attempt(&self, request: &MountRequest, caller: &Caller<'_>) -> Decision {
        let deadline = self.deadline();
        if !self.registry_state.is_store_verified() {
            return Decision::Forward(
                self.forward_unverified_store(request, caller, deadline)
                    .await,
            );
        }
        let forward = match self
            .mount_from_named_source(request, caller, deadline)
            .await
        {
            Decision::Forward(forward) => forward,
            done @ Decision::Done(_) => return done,
        };
        let is_useless = matches!(
            forward.reason,
            Reason::Denied | Reason::SourceMissing | Reason::BlobMissing
        );
        if !is_useless {
            return Decision::Forward(forward);
        }
        let found = self.discover(&request.target, caller, Via::Discovery, deadline);
        match found.await {
            Ok(decision) => decision.in_form_of(forward),
            Err(_) => Decision::Forward(forward),
        }
    }

    /// Until the store is verified the registry mounts. Only a blob that is known to be damaged
    /// becomes a plain upload, for a caller who may mount it.
    async fn forward_unverified_store(
        &self,
        request: &MountRequest,
        caller: &Caller<'_>,
        deadline: Instant,
    ) -> Forward {
        let Some(verifier) = &self.verifier else {
            return Forward::store_unverified();
        };
        // Decided for every blob alike, so that no other caller learns whether this one is damaged.
        let Ok(grant) = self.authorize(request, caller.credentials, deadline).await else {
            return Forward::store_unverified();
        };
        let forward = if verifier.was_damaged(&request.target.digest) {
            Forward::plain(Reason::BlobDamaged)
        } else {
            Forward::store_unverified()
        };
        let granted = Some(grant.basis());
        Forward { granted, ..forward }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.time_budget
    }

    /// Mounts from the source that the client names.
    async fn mount_from_named_source(
        &self,
        request: &MountRequest,
        caller: &Caller<'_>,
        deadline: Instant,
    ) -> Decision {
        match self.authorize(request, caller.credentials, deadline).await {
            Err(forward) => Decision::Forward(forward),
            Ok(grant) => {
                let basis = grant.basis();
                let linked = self.look_up_and_link(grant, request, caller.id, Via::From, deadline);
                match linked.await {
                    Decision::Forward(forward) => Decision::Forward(Forward {
                        granted: Some(basis),
                        ..forward
                    }),
                    done @ Decision::Done(_) => {
                        self.record_mount(request, basis.proof(), caller.credentials)
                            .await;
                        done
                    }
                }
            }
        }
    }

    /// Records a 401 of the registry, and returns whether it contradicts a decision made here.
    pub(crate) async fn record_refusal(&self, refused: &Unauthorized<'_>) -> bool {
        self.access.record_refusal(refused).await
    }

    /// Records that the caller of a forwarded mount got the registry's challenge.
    pub(crate) fn record_challenge(&self, forward: &Forward) {
        if let Some(key) = forward.challenge {
            self.access.record_challenge(key);
        }
    }

    async fn authorize(
        &self,
        request: &MountRequest,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<Grant, Forward> {
        let (target, source) = (&request.target.repository, &request.source);
        Err(
            match self
                .access
                .decide(target, source, credentials, deadline)
                .await
            {
                AuthDecision::Granted(grant) => return Ok(grant),
                AuthDecision::NoCredentials => Forward::as_it_came(Reason::NoCredentials),
                AuthDecision::Refused(Denial::AsItCame(challenge)) => Forward {
                    challenge,
                    ..Forward::as_it_came(Reason::Denied)
                },
                AuthDecision::Refused(Denial::SourceDenied) => match self.settings.source_denied {
                    SourceDenied::Fallback => Forward::plain(Reason::Denied),
                    SourceDenied::Challenge => Forward::as_it_came(Reason::Denied),
                },
                AuthDecision::ReadOnly => Forward::as_it_came(Reason::ReadOnly),
                AuthDecision::Mismatch => Forward::as_it_came(Reason::AccessMismatch),
                AuthDecision::Unavailable => Forward::as_it_came(Reason::UpstreamUnavailable),
                AuthDecision::TimedOut => Forward::as_it_came(Reason::Timeout),
                AuthDecision::Overloaded => Forward::as_it_came(Reason::Overload),
            },
        )
    }

    async fn look_up_and_link(
        &self,
        grant: Grant,
        request: &MountRequest,
        id: &RequestId,
        via: Via,
        deadline: Instant,
    ) -> Decision {
        let (source, user) = (grant.source().clone(), grant.user());
        let trace = Trace::current();
        let job = LinkJob {
            id: id.clone(),
            trace: trace.clone(),
            via,
            discovery: self.discovery.clone(),
            store: self.store.clone(),
            verifier: self.verifier.clone(),
            registry_state: self.registry_state.clone(),
            metrics: self.metrics.clone(),
            digest: request.target.digest.clone(),
            dry_run: self.settings.dry_run,
            grant,
            deadline,
        };
        let reason = match self.workers.run(deadline, move || job.run()).await {
            Ok(Ok(done)) => return self.decision_for(done, source, user, via, deadline),
            Ok(Err(error)) => {
                let trace_id = trace.as_ref().map(Trace::id);
                tracing::warn!(trace_id, %error, "store operation failed");
                Reason::StoreError
            }
            Err(JobError::Overload) => Reason::Overload,
            Err(JobError::Deadline) => Reason::Timeout,
            Err(JobError::Panicked) => Reason::StoreError,
        };
        let verifier = self.verifier.as_ref();
        if verifier.is_some_and(|it| it.was_damaged(&request.target.digest)) {
            return Decision::Forward(Forward::plain(Reason::BlobDamaged));
        }
        Decision::Forward(Forward::as_it_came(reason))
    }

    fn decision_for(
        &self,
        done: LinkOutcome,
        source: RepositoryName,
        user: Option<String>,
        via: Via,
        deadline: Instant,
    ) -> Decision {
        let mounted = |outcome, size| {
            Decision::Done(Mounted {
                outcome,
                size,
                via,
                source,
                user,
            })
        };
        Decision::Forward(match done {
            LinkOutcome::Linked(LinkResult::Written, size) => {
                return mounted(Outcome::Mounted, size);
            }
            LinkOutcome::Linked(LinkResult::AlreadyLinked, size) => {
                return mounted(Outcome::AlreadyLinked, size);
            }
            // The store has nothing to mount, so `mount` is stripped: the registry's cache may
            // still confirm a mount of what is gone.
            LinkOutcome::SourceMissing => Forward::plain(Reason::SourceMissing),
            LinkOutcome::BlobMissing | LinkOutcome::Linked(LinkResult::BlobGone, _) => {
                Forward::plain(Reason::BlobMissing)
            }
            LinkOutcome::NotVerified(failure) => Forward::verify_failed(failure),
            // A HEAD asked for no mount.
            LinkOutcome::NoRepository | LinkOutcome::Deleted => Forward::as_it_came(Reason::None),
            LinkOutcome::NoStore => Forward::as_it_came(Reason::StoreError),
            LinkOutcome::Linked(LinkResult::Revoked, _) => {
                Forward::as_it_came(self.why_revoked(deadline))
            }
            LinkOutcome::WouldMount(size) => Forward::would_mount(size, via),
        })
    }

    fn why_revoked(&self, deadline: Instant) -> Reason {
        if !self.registry_state.is_store_verified() {
            Reason::UpstreamUnavailable
        } else if self.registry_state.is_write_revoked() && Instant::now() < deadline {
            Reason::ReadOnly
        } else {
            // The time budget ran out, or the last write-availability probe expired meanwhile.
            Reason::Timeout
        }
    }
}

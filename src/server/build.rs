//! Builds the proxy from the configuration: each part once, in the order of their dependencies.

use std::sync::Arc;
use std::time::Duration;

use pingora::server::configuration::ServerConf;

use crate::auth::{Access, PullEvidence, UsageHistory};
use crate::blob_copy::BlobCopier;
use crate::config::{
    self, AccessName, Config, DistributionConfig, GenericConfig, PulpConfig, RegistryKind,
    RegistryWriterConfig, UpstreamConfig,
};
use crate::discovery::redis::SharedIndex;
use crate::discovery::uploads::{Mountable, UploadsInFlight};
use crate::discovery::{BucketScanner, Discovery, StoreScanner, scanner::start_scan};
use crate::mount::{Mounts, StoreVerification};
use crate::native_mount::{GenericRules, NativeMountRules};
use crate::notifications::Notifier;
use crate::oci::Patterns;
use crate::proxy::location::Locations;
use crate::proxy::{
    ForwardedHeaders, LinkMountHandler, MountStrategy, NativeMountHandler, RegistryProxy,
    ResponseObserver, SuggestedMounts, TokenEndpointHandler,
};
use crate::server::StartError;
use crate::server::drain::Drain;
use crate::store::bucket::Bucket;
use crate::store::{Filesystem, StaleTempFiles};
use crate::telemetry::metrics::Metrics;
use crate::token_cache::{ScopeExpansion, TokenCache};
use crate::upstream::{DelegatedClient, Peers, SubrequestClient, UpstreamClient, UpstreamTls};
use crate::util::blocking_pool::BlockingPool;
use crate::verify::BlobVerifier;

/// Pingora's limit of attempts, never reached: `phases` decides each retry.
const ATTEMPTS: usize = 16;
/// Jobs on the disk in flight. A journal commits for as many mounts at once as wait for it: in a
/// bare loop on ext4 and XFS, 64 threads make 1.2 to 1.6 times as many links a second as 16.
const DISK_JOBS: usize = 64;
/// The queue length of jobs, beyond which more are rejected.
const DISK_QUEUE: usize = 1024;
/// A file of root certificates that holds none.
const NO_ROOTS: &str = "/dev/null";

/// Parts that the proxy shares with the rest of the process.
pub(crate) struct SharedParts<'a> {
    pub tls: &'a Arc<UpstreamTls>,
    pub client: &'a Arc<UpstreamClient>,
    pub drain: &'a Arc<Drain>,
    pub notifier: &'a Arc<Notifier>,
    pub metrics: &'a Arc<Metrics>,
    /// What replicas share.
    pub shared_index: Option<Arc<SharedIndex>>,
}

/// What the handlers are built from.
struct HandlerParts<'a> {
    upstream: &'a UpstreamConfig,
    subrequests: Arc<SubrequestClient>,
    discovery: Option<Arc<Discovery>>,
    shared: &'a SharedParts<'a>,
}

/// Builds the proxy.
pub(crate) fn proxy(
    config: &Config,
    shared: &SharedParts<'_>,
) -> Result<RegistryProxy, StartError> {
    let upstream = &config.upstream;
    let peers = Arc::new(Peers::new(upstream, shared.tls.clone()));
    let subrequests = Arc::new(SubrequestClient::new(
        &pingora_settings(upstream),
        peers.clone(),
        upstream.timeouts.idle,
    ));
    let discovery = config.kind.discovery().cloned();
    let parts = HandlerParts {
        upstream,
        subrequests,
        discovery: discovery.map(|settings| {
            let discovery = Discovery::new(settings);
            Arc::new(discovery.with_shared(shared.shared_index.clone()))
        }),
        shared,
    };
    let native = |handler| MountStrategy::Native(Box::new(handler));
    let strategy = match &config.kind {
        RegistryKind::Distribution(settings) => {
            MountStrategy::Link(Box::new(parts.link_mount_handler(settings)?))
        }
        RegistryKind::RegistryWriter(settings) => native(parts.registry_writer_handler(settings)?),
        RegistryKind::Pulp(settings) => native(parts.pulp_handler(settings)?),
        RegistryKind::Generic(settings) => native(parts.generic_handler(settings)?),
    };
    let tokens = config.token_endpoint.as_ref();
    let tokens = tokens.map(|settings| parts.token_endpoint(settings).map(Arc::new));
    Ok(RegistryProxy {
        prefix: upstream.prefix.as_str().into(),
        timeouts: upstream.timeouts,
        forwarding: Arc::new(ForwardedHeaders::new(config)),
        peers,
        strategy: Arc::new(strategy),
        tokens: tokens.transpose()?,
        drain: shared.drain.clone(),
        metrics: shared.metrics.clone(),
    })
}

impl HandlerParts<'_> {
    fn metrics(&self) -> Arc<Metrics> {
        self.shared.metrics.clone()
    }

    /// Builds the handler that links in distribution's store.
    fn link_mount_handler(
        &self,
        settings: &DistributionConfig,
    ) -> Result<LinkMountHandler, StartError> {
        let client = self.shared.client;
        let registry_state = client.registry_state().clone();
        let workers = Arc::new(BlockingPool::new(DISK_JOBS, DISK_QUEUE));
        let store = Arc::new(open_store(&settings.store));
        let verification =
            StoreVerification::new(store.clone(), workers.clone(), registry_state.clone());
        let verifier = verifier(&settings.store, &self.metrics()).map_err(StartError::Verify)?;
        let mounts = Arc::new(Mounts {
            access: self.access(settings)?,
            store,
            verifier: verifier.map(Arc::new),
            workers,
            registry_state: registry_state.clone(),
            settings: settings.mount,
            discovery: self.discovery.clone(),
            uploads: self.uploads(Mountable::Uploaded)?,
            metrics: self.metrics(),
        });
        Ok(LinkMountHandler {
            locations: Locations::new(self.upstream),
            response_headers: self.upstream.response_headers.clone(),
            observer: ResponseObserver::new(
                &self.upstream.prefix,
                mounts.clone(),
                verification,
                registry_state,
                client.reachability().clone(),
            ),
            mounts,
            subrequests: self.subrequests.clone(),
            notifier: self.shared.notifier.clone(),
            drain: self.shared.drain.clone(),
            _scanner: self.scanner(settings).map_err(StartError::Scan)?,
        })
    }

    /// The uploads for which HEADs may wait, if the operator lets them.
    fn uploads(&self, mountable: Mountable) -> Result<Option<Arc<UploadsInFlight>>, StartError> {
        let wait = self
            .discovery
            .as_ref()
            .map(|it| it.settings().wait_for_uploads);
        let wait = wait.filter(|wait| !wait.is_zero());
        let held = self.metrics().held().clone();
        let Some(wait) = wait else {
            return Ok(None);
        };
        let uploads = UploadsInFlight::new(wait, held)?.mounting(mountable);
        let uploads = match &self.shared.shared_index {
            Some(index) => uploads.sharing(index.clone())?,
            None => uploads,
        };
        let uploads = Arc::new(uploads);
        uploads.keep_publishing();
        Ok(Some(uploads))
    }

    fn access(&self, settings: &DistributionConfig) -> Result<Access, StartError> {
        let discovery = settings.discovery.as_ref();
        let nothing_shared = Patterns::default();
        let shared_sources = discovery.map_or(&nothing_shared, |it| &it.shared);
        let client = self.shared.client.clone();
        Ok(Access::new(
            &settings.access,
            shared_sources,
            client,
            self.metrics(),
        )?)
    }

    /// Starts the scan of the store, if layers are to be found.
    fn scanner(&self, settings: &DistributionConfig) -> std::io::Result<Option<StoreScanner>> {
        let Some(discovery) = &self.discovery else {
            return Ok(None);
        };
        let stale_files = if settings.mount.dry_run {
            StaleTempFiles::Leave
        } else {
            StaleTempFiles::Remove
        };
        let store = open_store(&settings.store);
        start_scan(store, stale_files, discovery.clone(), self.metrics()).map(Some)
    }

    /// Builds the handler in front of Pulp.
    fn pulp_handler(&self, settings: &PulpConfig) -> Result<NativeMountHandler, StartError> {
        let artifacts = settings.artifacts.as_ref();
        let copier = artifacts.map(|it| BlobCopier::new(self.delegated_client(), it).map(Arc::new));
        let pull_through = artifacts.map(|it| it.pull_through.clone());
        let pull_through = pull_through.unwrap_or_default();
        let mountable = Mountable::Named {
            copies: artifacts.is_some(),
        };
        let evidence = PullEvidence::TokenClaims;
        let suggestions = self.suggested_mounts(evidence, settings.time_budget, mountable)?;
        Ok(NativeMountHandler::new(
            NativeMountRules::Pulp,
            self.subrequests.clone(),
            copier.transpose()?,
            suggestions.map(|it| SuggestedMounts { pull_through, ..it }),
            self.shared.drain.clone(),
        ))
    }

    /// Builds the handler in front of distribution whose store crossmount does not write to.
    fn registry_writer_handler(
        &self,
        settings: &RegistryWriterConfig,
    ) -> Result<NativeMountHandler, StartError> {
        let evidence = match settings.access {
            AccessName::None => PullEvidence::OpenRegistry,
            AccessName::Htpasswd => PullEvidence::AnyUser,
            AccessName::Token => PullEvidence::TokenClaims,
            AccessName::Upstream => PullEvidence::SeenUse,
        };
        let rules = GenericRules::new(&settings.generic, true)?;
        let bucket = settings.bucket.as_ref();
        let bucket = bucket.map(|it| Bucket::open(it, self.metrics()).map(Arc::new));
        let bucket = bucket.transpose()?;
        let scanner = bucket.clone().zip(self.discovery.clone());
        let scanner = scanner
            .map(|(bucket, discovery)| BucketScanner::start(bucket, discovery, self.metrics()));
        let suggestions =
            self.suggested_mounts(evidence, settings.generic.time_budget, Mountable::Uploaded)?;
        // A use that was seen before may be out of date: the registry must decide first.
        let bucket = bucket.filter(|_| evidence != PullEvidence::SeenUse);
        let suggestions = suggestions.map(|it| SuggestedMounts { bucket, ..it });
        Ok(self.generic(rules, suggestions).with_scanner(scanner))
    }

    /// Builds the handler in front of any other registry.
    fn generic_handler(&self, settings: &GenericConfig) -> Result<NativeMountHandler, StartError> {
        let rules = GenericRules::new(settings, false)?;
        let suggestions = self.suggested_mounts(
            PullEvidence::SeenUse,
            settings.time_budget,
            Mountable::Uploaded,
        )?;
        Ok(self.generic(rules, suggestions))
    }

    fn generic(
        &self,
        rules: GenericRules,
        suggestions: Option<SuggestedMounts>,
    ) -> NativeMountHandler {
        let rules = NativeMountRules::Generic(Box::new(rules));
        let drain = self.shared.drain.clone();
        NativeMountHandler::new(rules, self.subrequests.clone(), None, suggestions, drain)
    }

    fn delegated_client(&self) -> DelegatedClient {
        DelegatedClient::new(self.subrequests.clone(), self.upstream, self.metrics())
    }

    /// Builds the suggestions in front of a registry that mounts itself.
    fn suggested_mounts(
        &self,
        evidence: PullEvidence,
        time_budget: Duration,
        mountable: Mountable,
    ) -> Result<Option<SuggestedMounts>, StartError> {
        let Some(discovery) = self.discovery.clone() else {
            return Ok(None);
        };
        Ok(Some(SuggestedMounts {
            discovery,
            used: UsageHistory::new(evidence)?,
            client: self.delegated_client(),
            uploads: self.uploads(mountable)?,
            bucket: None,
            time_budget,
            pull_through: Vec::new(),
            metrics: self.metrics(),
        }))
    }

    /// Builds the handler of the registry's own token endpoint.
    fn token_endpoint(
        &self,
        settings: &config::TokenEndpointConfig,
    ) -> Result<TokenEndpointHandler, StartError> {
        let path = &settings.path;
        let cache = settings.remembered_for;
        let cache = cache.map(|time| TokenCache::new(path, time)).transpose()?;
        let discovery = self.discovery.clone();
        let expansion = discovery.filter(|_| settings.widens_scopes);
        let expansion = expansion.map(|discovery| ScopeExpansion::new(path, discovery));
        Ok(TokenEndpointHandler::new(
            cache,
            expansion.transpose()?,
            self.subrequests.clone(),
            self.metrics(),
        ))
    }
}

fn open_store(settings: &config::StoreConfig) -> Filesystem {
    Filesystem::new(&settings.root, settings.durability)
}

/// Builds the verification of blobs, if the operator enabled it.
fn verifier(
    store: &config::StoreConfig,
    metrics: &Arc<Metrics>,
) -> std::io::Result<Option<BlobVerifier>> {
    let Some(settings) = store.verify else {
        return Ok(None);
    };
    BlobVerifier::start(open_store(store), settings.rate, metrics.clone()).map(Some)
}

/// Pingora's own settings; each request decides the rest.
pub(crate) fn pingora_settings(upstream: &UpstreamConfig) -> Arc<ServerConf> {
    let roots = match &upstream.ca_certificate {
        Some(path) => Some(path.display().to_string()),
        None if upstream.url.is_tls() => None,
        // Without TLS no root is needed. Those of the system cost memory and time, and one that
        // cannot be parsed would end the process.
        None => Some(NO_ROOTS.to_owned()),
    };
    Arc::new(ServerConf {
        max_retries: ATTEMPTS,
        ca_file: roots,
        ..ServerConf::default()
    })
}

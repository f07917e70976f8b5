//! The proxy in front of one registry: what it holds, and who handles a request before it is
//! forwarded.

use std::sync::Arc;

use pingora::Result;
use pingora::proxy::Session;

use crate::config::UpstreamTimeouts;
use crate::discovery::uploads::UploadsInFlight;
use crate::proxy::access_log;
use crate::proxy::context::RequestContext;
use crate::proxy::forwarded_headers::ForwardedHeaders;
use crate::proxy::handlers::link_mount::LinkMountHandler;
use crate::proxy::handlers::native_mount::NativeMountHandler;
use crate::proxy::handlers::token_endpoint::TokenEndpointHandler;
use crate::proxy::observe::ResponseObserver;
use crate::proxy::response::Response;
use crate::proxy::route::Route;
use crate::server::drain::Drain;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Peers;

/// Who mounts a blob that the client may mount.
#[derive(Debug)]
pub(crate) enum MountStrategy {
    /// crossmount, with a link in the registry's store.
    Link(Box<LinkMountHandler>),
    /// The registry, on request; a refusal that breaks clients becomes a plain upload.
    Native(Box<NativeMountHandler>),
}

/// The proxy in front of one registry; its clones share all state.
#[derive(Debug, Clone)]
pub(crate) struct RegistryProxy {
    pub(crate) prefix: Arc<str>,
    pub(crate) timeouts: UpstreamTimeouts,
    pub(crate) forwarding: Arc<ForwardedHeaders>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) strategy: Arc<MountStrategy>,
    pub(crate) tokens: Option<Arc<TokenEndpointHandler>>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) metrics: Arc<Metrics>,
}

impl RegistryProxy {
    /// Observes the registry's responses, if crossmount writes links beside it.
    pub(super) fn observer(&self) -> Option<&ResponseObserver> {
        match &*self.strategy {
            MountStrategy::Link(handler) => Some(&handler.observer),
            MountStrategy::Native(_) => None,
        }
    }

    /// The uploads for which HEADs may wait.
    pub(super) fn uploads(&self) -> Option<&Arc<UploadsInFlight>> {
        match &*self.strategy {
            MountStrategy::Link(handler) => handler.mounts.uploads.as_ref(),
            MountStrategy::Native(handler) => handler.uploads(),
        }
    }

    pub(super) fn record_unreachable(&self) {
        if let Some(observer) = self.observer() {
            observer.record_unreachable();
        }
    }

    /// Authorizes, looks up and links, if the request is a mount or may lead to one.
    ///
    /// `None` forwards the request.
    async fn handle(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        // Boxed, because most requests need no room for a subrequest.
        let response = match &*self.strategy {
            MountStrategy::Link(handler) => handler.handle(session, context).await?,
            MountStrategy::Native(handler) => Box::pin(handler.handle(session, context)).await?,
        };
        match &self.tokens {
            Some(tokens) if response.is_none() && context.route == Route::Other => {
                Box::pin(tokens.handle(session, context)).await
            }
            _ => Ok(response),
        }
    }

    /// Responds in the registry's place if a handler has a response.
    pub(super) async fn respond(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<bool> {
        let Some(response) = self.handle(session, context).await? else {
            return Ok(false);
        };
        access_log::count_mount(&self.metrics, context);
        response.write(session).await?;
        Ok(true)
    }
}

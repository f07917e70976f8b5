//! In front of distribution: a mount is answered here, by a link of our own, or forwarded.

use std::sync::Arc;

use http::header;
use pingora::Result;
use pingora::proxy::Session;

use super::classify::Route;
use super::context::{Context, MountState};
use super::passing::{Passing, linked_into};
use super::{Locations, account, respond};
use crate::access::Credentials;
use crate::config::Upstream;
use crate::metrics::Metrics;
use crate::mount::{Decision, MountRequest, Mounts};
use crate::outcome::Reason;

/// Answers mounts by links.
#[derive(Debug)]
pub struct Linking {
    locations: Locations,
    response_headers: Vec<(String, Vec<String>)>,
    mounts: Arc<Mounts>,
    pub(super) passing: Passing,
    metrics: Arc<Metrics>,
}

impl Linking {
    /// Joins the parts of a mount's way.
    #[must_use]
    pub fn new(
        upstream: &Upstream,
        mounts: Arc<Mounts>,
        passing: Passing,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            locations: Locations::new(upstream),
            response_headers: upstream.response_headers.clone(),
            mounts,
            passing,
            metrics,
        }
    }

    /// `Ok(false)` leaves the request to the registry.
    pub(super) async fn answer(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<bool> {
        if linked_into(&context.route).is_some() {
            context.since = self.passing.begin();
        }
        match context.route.clone() {
            Route::Mount(request) => return self.mount(session, &request, context).await,
            Route::OddMount(_) => context.forward_at_once(Reason::OddRequest),
            Route::SourcelessMount => context.forward_at_once(Reason::SourceMissing),
            Route::Upload(_) | Route::Other => {}
        }
        Ok(false)
    }

    /// A mount from the request to its answer.
    async fn mount(
        &self,
        session: &mut Session,
        request: &MountRequest,
        context: &mut Context,
    ) -> Result<bool> {
        let head = session.req_header();
        let Some(location) = self.locations.of(request, &head.headers) else {
            context.forward_at_once(Reason::OddRequest);
            return Ok(false);
        };
        let credentials = Credentials::new(head.headers.get(header::AUTHORIZATION));
        match self
            .mounts
            .attempt(request, &credentials, &context.id)
            .await
        {
            Decision::Forward(forward) => {
                context.mount = MountState::Forwarded(forward);
                Ok(false)
            }
            Decision::Done { outcome, size } => {
                context.mount = MountState::Done { outcome, size };
                account::mount(&self.metrics, context);
                let head = respond::created(request, &location, &self.response_headers)?;
                session.write_response_header(Box::new(head), true).await?;
                Ok(true)
            }
        }
    }
}

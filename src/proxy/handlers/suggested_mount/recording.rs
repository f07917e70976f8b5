//! What responses show: links, uses of repositories, and upload sessions.

use http::StatusCode;
use pingora::http::ResponseHeader;

use crate::auth::Use;
use crate::mount::MountRequest;
use crate::oci::{BlobRef, Digest};
use crate::proxy::context::RequestContext;
use crate::proxy::handlers::suggested_mount::SuggestedMounts;
use crate::proxy::observe::{shows_layer, target_of};
use crate::proxy::route::Route;

/// Every repository of Pulp's holds it, pushed or not
/// (`pulp_container/app/registry_api.py`, `EMPTY_BLOB`).
const EMPTY_LAYER: &str = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";

impl SuggestedMounts {
    /// Records what a response shows: links, and the caller's use of a repository.
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
                    // Last, so that the HEADs that wait find the link.
                    if let Some(uploads) = &self.uploads {
                        match route {
                            Route::Upload(_) => uploads.uploaded(&blob),
                            _ => uploads.arrived(&blob),
                        }
                    }
                }
            }
            (_, StatusCode::ACCEPTED) => self.record_session(head, context).await,
            _ => {}
        }
    }

    /// Records that the registry mounted a layer from the source that the client named.
    ///
    /// That shows no permission of the caller: some registries mount whatever the caller may pull
    /// from anywhere.
    pub(crate) fn record_source(&self, source: &BlobRef) {
        self.discovery.record_use(&source.repository);
        self.index_link(source);
    }

    async fn record_link(&self, blob: &BlobRef, context: &RequestContext, what: Use) {
        self.index_link(blob);
        if let Some(credentials) = &context.credentials {
            self.used.learn(credentials, &blob.repository, what).await;
            if self.used.counts_uses(credentials) {
                self.discovery
                    .share_use(credentials, &blob.repository, what);
            }
        }
    }

    pub(super) fn index_link(&self, BlobRef { repository, digest }: &BlobRef) {
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

/// The layer that a request mounts: not every registry names it in its response.
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

//! What requests show: which repositories hold a layer, and who used them.

use crate::auth::{Credentials, Proof, Use};
use crate::discovery::PendingDelete;
use crate::mount::{MountRequest, Mounts};
use crate::oci::BlobRef;

impl Mounts {
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
        if let Some(uploads) = &self.uploads {
            uploads.arrived(blob);
        }
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

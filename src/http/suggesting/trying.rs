//! One suggestion tried: the registry is asked for the mount, and what it leaves behind is tidied.

use std::sync::Arc;

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use crate::access::Credentials;
use crate::discovery::Discovery;
use crate::http::passing::shows_layer;
use crate::mount::MountRequest;
use crate::oci::{Digest, RepositoryName};
use crate::upstream::{Asker, Held, InName, UploadSession};

/// Who asks, and until when there is time.
#[derive(Debug)]
pub(super) struct Caller {
    pub name: InName,
    pub credentials: Credentials,
    pub deadline: Instant,
}

/// Whether a source is looked at before it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Yes: a useless mount begins an upload, which not every caller may delete.
    First,
    /// No: a useless mount leaves nothing behind.
    Never,
}

/// What became of it.
pub(super) enum Tried {
    /// The registry's 201.
    Mounted(Box<Held>),
    /// The source does not have the layer, or not yet.
    Useless,
    /// The caller may not.
    Refused,
    /// The registry is in no state to be asked for more.
    Silent,
}

/// Asks in a caller's name.
#[derive(Debug, Clone)]
pub(super) struct Trying {
    pub asker: Asker,
    pub discovery: Arc<Discovery>,
    pub caller: Arc<Caller>,
    pub look: Look,
}

impl Trying {
    /// Lets the registry mount.
    pub async fn mount(&self, mount: MountRequest) -> Tried {
        // On a task of its own: neither a client that goes away nor the deadline leaves a session
        // behind that nobody knows of.
        let tried = tokio::spawn(self.clone().run(mount));
        match tokio::time::timeout_at(self.caller.deadline, tried).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(_)) | Err(_) => Tried::Silent,
        }
    }

    /// The answer to whether a repository shows a layer to the caller.
    pub async fn look_for(&self, repository: &RepositoryName, digest: &Digest) -> Option<Held> {
        let path = format!("v2/{repository}/blobs/{digest}");
        let asked = self.asker.ask(Method::HEAD, &path, &self.caller.name);
        let answer = tokio::time::timeout_at(self.caller.deadline, asked).await;
        answer.ok()?.ok()
    }

    async fn run(self, mount: MountRequest) -> Tried {
        if self.look == Look::First {
            match self.look_at(&mount).await {
                Ok(()) => {}
                Err(tried) => return tried,
            }
        }
        let from = utf8_percent_encode(mount.source.as_str(), NON_ALPHANUMERIC);
        let digest = utf8_percent_encode(mount.digest.as_str(), NON_ALPHANUMERIC);
        let target = &mount.target;
        let path = format!("v2/{target}/blobs/uploads/?from={from}&mount={digest}");
        let asked = self.asker.ask(Method::POST, &path, &self.caller.name);
        let Ok(answer) = asked.await else {
            return Tried::Silent;
        };
        match answer.status() {
            StatusCode::CREATED => Tried::Mounted(Box::new(answer)),
            StatusCode::ACCEPTED => {
                self.discovery.forget(&mount.source, &mount.digest);
                self.give_up(&answer, target);
                Tried::Useless
            }
            StatusCode::NOT_FOUND => {
                // Pulp answers so, too, for a layer that it holds and does not mount yet.
                if self.look == Look::Never {
                    let _ = self.look_at(&mount).await;
                }
                Tried::Useless
            }
            status => otherwise(status),
        }
    }

    /// Whether the source shows the layer; forgets that it has it where it says that it has not.
    async fn look_at(&self, mount: &MountRequest) -> Result<(), Tried> {
        let Some(answer) = self.look_for(&mount.source, &mount.digest).await else {
            return Err(Tried::Silent);
        };
        match answer.status() {
            status if shows_layer(status) => Ok(()),
            StatusCode::NOT_FOUND => {
                self.discovery.forget(&mount.source, &mount.digest);
                Err(Tried::Useless)
            }
            status => Err(otherwise(status)),
        }
    }

    /// Nobody waits for it.
    fn give_up(&self, answer: &Held, target: &RepositoryName) {
        if let Some(session) = UploadSession::named_by(answer, target) {
            let (asker, caller) = (self.asker.clone(), self.caller.clone());
            tokio::spawn(async move { session.give_up(&asker, &caller.name).await });
        }
    }
}

fn otherwise(status: StatusCode) -> Tried {
    tracing::debug!(status = status.as_u16(), "a suggestion was no use");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Tried::Refused,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::TOO_MANY_REQUESTS => Tried::Silent,
        status if status.is_server_error() => Tried::Silent,
        _ => Tried::Useless,
    }
}

//! A HEAD that got 404, and waits while another client uploads the layer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{SemaphorePermit, watch};

use crate::auth::Credentials;
use crate::discovery::uploads::leader::LeaderId;
use crate::discovery::uploads::replicas::RemoteView;
use crate::discovery::uploads::table::{Asking, Look, UploadTable};
use crate::discovery::uploads::{Mountable, Pusher, UploadsInFlight};
use crate::oci::{BlobRef, Digest, RepositoryName};

/// How often a held HEAD looks whether its upload is alive.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A layer that arrived so long before a HEAD got 404 may have come after the registry looked.
const LOOK_BACK: Duration = Duration::from_secs(1);
/// The longest time that jib is let wait: it gives up after 20 seconds.
pub(super) const JIB_WAITS: Duration = Duration::from_secs(15);

/// A HEAD that got 404 and may be held.
#[derive(Debug)]
pub(crate) struct WaitingHead<'a> {
    pub(super) uploads: &'a UploadsInFlight,
    pusher: Pusher,
    /// Whether the client is proved to have push on the target.
    is_proved: bool,
    pub(super) digest: Digest,
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// The repositories for which it was decided whether the client may pull.
    decided: Vec<RepositoryName>,
    /// Those of them that it may pull.
    pub(super) allowed: Vec<RepositoryName>,
    place: Option<SemaphorePermit<'a>>,
    pub(super) was_held: bool,
    /// Held until the next look: the table counts the HEADs that wait for an upload.
    changed: Option<watch::Receiver<()>>,
    /// Whether the table knows that this client's push waits.
    is_listed: bool,
    /// The repositories from which a copy was tried.
    tried: Vec<RepositoryName>,
    /// What arrived before that, the HEAD has seen.
    seen: Instant,
    pub(super) remote: RemoteView,
}

/// Why a HEAD is not held, or not any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The layer is in this repository now.
    Arrived(Arc<RepositoryName>),
    /// The layer is in this repository now, and the registry does not mount it elsewhere yet.
    Uploaded(Arc<RepositoryName>),
    /// An upload goes into a repository for which the client's access is to be decided.
    Undecided,
    /// The client goes on, and will likely upload the layer itself.
    Released,
    /// The longest time is over, and the client goes on.
    TimedOut,
}

/// Why a HEAD does not wait.
enum Ended {
    /// It goes on; the claim is not known to other replicas yet.
    GoesOn(Option<LeaderId>),
    Otherwise(Waited),
}

impl UploadsInFlight {
    /// A HEAD that got 404. `user_agent` names the client's program.
    ///
    /// If the client is proved to have push on the target, its claim counts at once. Otherwise no
    /// HEAD waits for it before the registry has opened an upload session for it.
    pub(crate) fn head(
        &self,
        blob: &BlobRef,
        credentials: &Credentials,
        is_proved: bool,
        user_agent: &str,
    ) -> WaitingHead<'_> {
        let bound = if user_agent.starts_with("jib/") {
            self.bound.min(JIB_WAITS)
        } else {
            self.bound
        };
        let since = Instant::now();
        WaitingHead {
            uploads: self,
            pusher: self.pusher(&blob.repository, credentials),
            is_proved,
            digest: blob.digest.clone(),
            since,
            until: since + bound,
            decided: vec![blob.repository.clone()],
            allowed: vec![blob.repository.clone()],
            place: None,
            was_held: false,
            changed: None,
            is_listed: false,
            tried: Vec::new(),
            seen: since.checked_sub(LOOK_BACK).unwrap_or(since),
            remote: RemoteView::new(),
        }
    }
}

impl<'a> WaitingHead<'a> {
    /// Waits until the HEAD may be mounted, after the layer has arrived.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'a>> {
        self.uploads.turns.acquire().await.ok()
    }

    /// Until when the HEAD is held at most.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Ends when the longest time of the HEAD is over.
    pub(crate) async fn time_over(&self) {
        tokio::time::sleep_until(self.until.into()).await;
    }

    /// Repositories into which the layer is being uploaded, for which the client's access is to be
    /// decided before it may wait for them.
    pub(crate) fn undecided(&self) -> Vec<RepositoryName> {
        self.uploads.table.lock().undecided(&self.asking())
    }

    /// Records whether the client may pull from a repository.
    pub(crate) fn decide(&mut self, repository: RepositoryName, may_pull: bool) {
        if may_pull {
            self.allowed.push(repository.clone());
        }
        self.decided.push(repository);
    }

    /// Waits for an upload into a repository from which the client may pull. Without one, or if all
    /// places are taken, the client goes on at once.
    ///
    /// A client that goes on has claimed the layer. Dropping the future gives the place back.
    pub(crate) async fn wait(&mut self) -> Waited {
        loop {
            if let Some(waited) = self.end_contest() {
                return waited;
            }
            self.fetch_remote().await;
            let mut changed = match self.look() {
                Ok(changed) => changed,
                Err(Ended::GoesOn(Some(claim))) => {
                    self.begin_contest(claim).await;
                    continue;
                }
                Err(Ended::GoesOn(None)) => return Waited::Released,
                Err(Ended::Otherwise(waited)) => return waited,
            };
            let pause = LOOK_EVERY.min(self.until.saturating_duration_since(Instant::now()));
            match &mut changed {
                // Looked at again in either case.
                Some(changed) => drop(tokio::time::timeout(pause, changed.changed()).await),
                None => tokio::time::sleep(pause).await,
            }
            self.remote.is_stale = true;
            self.changed = changed;
        }
    }

    /// Where changes are seen, if the client waits.
    fn look(&mut self) -> Result<Option<watch::Receiver<()>>, Ended> {
        let mut table = self.uploads.table.lock();
        // Kept until the end: the table counts who waits for an upload.
        let _waited_for = self.changed.take();
        self.end_listing(&mut table);
        if self.place.is_some() && Instant::now() >= self.until {
            table.waited_in_vain(&self.asking());
            return Err(Ended::Otherwise(Waited::TimedOut));
        }
        let place = self
            .place
            .take()
            .or_else(|| self.uploads.places.try_acquire().ok());
        match table.look(&self.asking(), place.is_some()) {
            Look::Wait(changed) => {
                self.hold(place);
                if self.uploads.mountable != Mountable::Uploaded {
                    self.is_listed = true;
                    let login = self.pusher.login();
                    table.pushes.begin_wait(login, self.digest.bytes());
                }
                Ok(changed)
            }
            Look::Undecided => {
                // A held HEAD keeps its place meanwhile.
                self.place = place.filter(|_| self.was_held);
                Err(Ended::Otherwise(Waited::Undecided))
            }
            Look::Arrived(repository) => {
                drop(table);
                self.place = place.filter(|_| self.was_held);
                self.seen = Instant::now();
                self.mark_tried(&repository);
                Err(Ended::Otherwise(Waited::Arrived(repository)))
            }
            Look::Uploaded(repository) => {
                if *repository == self.pusher.repository {
                    self.place = place.filter(|_| self.was_held);
                } else {
                    self.hold(place);
                }
                self.tried.push((*repository).clone());
                Err(Ended::Otherwise(Waited::Uploaded(repository)))
            }
            Look::GoOn(claim) => Err(Ended::GoesOn(claim)),
        }
    }

    fn hold(&mut self, place: Option<SemaphorePermit<'a>>) {
        self.place = place;
        if !self.was_held {
            self.was_held = true;
            self.uploads.held.inc();
        }
    }

    fn end_listing(&mut self, table: &mut UploadTable) {
        if std::mem::take(&mut self.is_listed) {
            let digest = self.digest.bytes();
            table.pushes.end_wait(&self.pusher.login(), &digest);
        }
    }

    /// Whether the HEAD was held.
    pub(crate) fn is_held(&self) -> bool {
        self.was_held
    }

    /// How long it is since the registry's 404.
    pub(crate) fn held_for(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn asking(&self) -> Asking<'_> {
        Asking {
            pusher: &self.pusher,
            digest: self.digest.bytes(),
            decided: &self.decided,
            allowed: &self.allowed,
            since: self.seen,
            until: self.until,
            copies: self.uploads.mountable == Mountable::Named { copies: true },
            tried: &self.tried,
            is_held: self.was_held,
            is_proved: self.is_proved,
            remote: &self.remote.uploads,
        }
    }
}

impl Drop for WaitingHead<'_> {
    fn drop(&mut self) {
        if self.is_listed {
            let uploads = self.uploads;
            self.end_listing(&mut uploads.table.lock());
        }
        if self.was_held {
            self.uploads.held.dec();
        }
    }
}

//! A HEAD reads the uploads through other replicas, and of the clients of all replicas one goes on.

use std::sync::{Arc, Weak};
use std::time::Instant;

use tokio::time::MissedTickBehavior;

use crate::discovery::redis::{Flight, FlightId};
use crate::discovery::uploads::leader::LeaderId;
use crate::discovery::uploads::remote::RemoteUploads;
use crate::discovery::uploads::sharing::PUBLISH_EVERY;
use crate::discovery::uploads::table::{ContestResult, WaitingFor};
use crate::discovery::uploads::{UploadsInFlight, Waited, WaitingHead};
use crate::oci::RepositoryName;

/// So often a client claims a layer and then waits for another replica's. After that it goes on.
const MOST_CONTESTS: usize = 8;
/// So many arrivals at other replicas are tried that cannot be mounted.
const MOST_TRIED: usize = 4;

/// A client has claimed the layer, and goes on unless another replica's client was first.
#[derive(Debug)]
pub(super) struct Contest {
    claim: LeaderId,
    /// What was known before the claim: it was decided not to wait for these.
    before: Vec<FlightId>,
}

/// What one HEAD knows of other replicas.
#[derive(Debug)]
pub(super) struct RemoteView {
    /// The uploads of the layer there, as last read.
    pub(super) uploads: RemoteUploads,
    /// Whether they are to be read again before the next look.
    pub(super) is_stale: bool,
    /// What arrived there, and could not be mounted.
    tried: Vec<FlightId>,
    contest: Option<Contest>,
    /// How often the client claimed the layer.
    contests: usize,
}

impl RemoteView {
    pub(super) fn new() -> Self {
        Self {
            uploads: RemoteUploads::default(),
            is_stale: true,
            tried: Vec::new(),
            contest: None,
            contests: 0,
        }
    }
}

impl UploadsInFlight {
    /// Publishes the uploads each second, until this is dropped.
    pub(crate) fn keep_publishing(self: &Arc<Self>) {
        if self.shared.is_none() {
            return;
        }
        let uploads: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PUBLISH_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match uploads.upgrade() {
                    Some(uploads) => uploads.table.lock().publish_all(),
                    None => return,
                }
            }
        });
    }
}

impl WaitingHead<'_> {
    /// Reads the uploads of the layer through other replicas, if that is due: once for every HEAD,
    /// and before each look while it is held.
    ///
    /// This comes before any access is decided. So a client that may pull none of the repositories
    /// causes the same requests to the server as without uploads.
    pub(crate) async fn fetch_remote(&mut self) {
        let Some(shared) = self
            .uploads
            .shared
            .as_ref()
            .filter(|_| self.remote.is_stale)
        else {
            return;
        };
        self.remote.is_stale = false;
        let within = self.until.saturating_duration_since(Instant::now());
        if within.is_zero() {
            return;
        }
        let fetched = tokio::time::timeout(within, shared.fetch(self.digest.bytes())).await;
        // Without a response the last uploads count until they are silent.
        if let Ok(Some(flights)) = fetched {
            self.read_flights(flights);
        }
    }

    fn read_flights(&mut self, flights: Vec<(FlightId, Flight)>) {
        let waiting = WaitingFor {
            digest: self.digest.bytes(),
            allowed: &self.allowed,
            is_held: self.was_held,
            before: &self.remote.uploads,
        };
        let mut table = self.uploads.table.lock();
        let mut remote = table.read_flights(flights, &self.uploads.fingerprints, &waiting);
        drop(table);
        let has_tried_enough = self.remote.tried.len() >= MOST_TRIED;
        remote
            .arrivals
            .retain(|(id, _)| !has_tried_enough && !self.remote.tried.contains(id));
        self.remote.uploads = remote;
    }

    /// A mount from this repository is tried now. What arrived there is not tried again.
    pub(super) fn mark_tried(&mut self, repository: &RepositoryName) {
        let tried = &mut self.remote.tried;
        self.remote.uploads.arrivals.retain(|(id, place)| {
            let is_tried = **place == *repository;
            tried.extend(is_tried.then_some(*id));
            !is_tried
        });
    }

    /// Adds the client's claim to those of other replicas, and reads those that were there before.
    pub(super) async fn begin_contest(&mut self, claim: LeaderId) {
        let before = self.remote.uploads.ids();
        let digest = self.digest.bytes();
        let part = self.uploads.table.lock().claim_flight(&digest, claim);
        let within = self.until.saturating_duration_since(Instant::now());
        let is_one_too_many = self.remote.contests >= MOST_CONTESTS || within.is_zero();
        self.remote.contests += 1;
        if let (Some(shared), Some((id, flight))) = (&self.uploads.shared, part)
            && !is_one_too_many
        {
            let claimed = shared.claim(digest, id, flight);
            let claimed = tokio::time::timeout(within, claimed).await;
            if let Ok(Some(flights)) = claimed {
                self.read_flights(flights);
            }
        }
        self.uploads.table.lock().mark_published(&digest, claim);
        self.remote.contest = Some(Contest { claim, before });
    }

    /// How a claim ends; `None` if there is none, or another replica's client was first.
    pub(super) fn end_contest(&mut self) -> Option<Waited> {
        let contest = self.remote.contest.take()?;
        let mut table = self.uploads.table.lock();
        match table.judge(&self.asking(), &contest.before) {
            ContestResult::Waits => {
                table.withdraw(&self.digest.bytes(), contest.claim);
                self.remote.is_stale = true;
                None
            }
            ContestResult::Undecided => {
                drop(table);
                self.remote.contest = Some(contest);
                Some(Waited::Undecided)
            }
            ContestResult::GoesOn => Some(Waited::Released),
        }
    }
}

#[cfg(test)]
mod tests;

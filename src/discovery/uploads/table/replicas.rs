//! Publishes the table for other replicas, and reads theirs.

use crate::discovery::redis::{Flight, FlightId, FlightState};
use crate::discovery::uploads::leader::{LeaderId, Stage};
use crate::discovery::uploads::remote::RemoteUploads;
use crate::discovery::uploads::table::{Asking, UploadTable};
use crate::oci::RepositoryName;
use crate::util::Fingerprints;

/// The most uploads that are published: each is published anew each second.
const MOST_PUBLISHED: usize = 1024;

/// Whether a client goes on that has claimed a layer, when other replicas' claims are known.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::discovery::uploads) enum ContestResult {
    /// Another replica's client was first, and this one may wait for it.
    Waits,
    /// Access to that client's repository is to be decided.
    Undecided,
    GoesOn,
}

/// A HEAD that may be held, as far as it concerns other replicas.
pub(in crate::discovery::uploads) struct WaitingFor<'a> {
    pub(in crate::discovery::uploads) digest: [u8; 32],
    /// The repositories that its client may pull.
    pub(in crate::discovery::uploads) allowed: &'a [RepositoryName],
    pub(in crate::discovery::uploads) is_held: bool,
    /// What was there before.
    pub(in crate::discovery::uploads) before: &'a RemoteUploads,
}

impl UploadTable {
    /// Publishes a leader.
    pub(super) fn publish(&mut self, digest: &[u8; 32], id: LeaderId) {
        let flight = self.layers.get_mut(digest);
        let mut leaders = flight.into_iter().flat_map(|flight| &mut flight.leaders);
        if let Some(leader) = leaders.find(|leader| leader.id == id)
            && let Some(sharing) = &mut self.sharing
        {
            leader.is_published = true;
            sharing.publish(*digest, leader);
        }
    }

    /// Publishes all leaders anew: other replicas forget those that stay the same.
    pub(in crate::discovery::uploads) fn publish_all(&mut self) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let flights = self.layers.iter_mut();
        let leaders = flights.flat_map(|(digest, flight)| {
            let leaders = flight.leaders.iter_mut();
            leaders.map(move |leader| (digest, leader))
        });
        // A claim is published when its client goes on.
        let known = leaders.filter(|(_, leader)| {
            leader.is_published || !matches!(leader.stage, Stage::Claimed(_)) && !leader.is_dead()
        });
        for (digest, leader) in known.take(MOST_PUBLISHED) {
            leader.is_published = !leader.is_dead();
            if leader.is_published {
                sharing.publish(*digest, leader);
            } else {
                sharing.publish_end(*digest, leader, Some(FlightState::Silent));
            }
        }
        let layers = &self.layers;
        sharing.forget_ends(|digest, id| {
            let flight = layers.get(digest);
            let mut leaders = flight.into_iter().flat_map(|flight| &flight.leaders);
            leaders.any(|leader| leader.id == id && leader.is_published)
        });
    }

    /// What other replicas are to know of a claim, before its client goes on.
    pub(in crate::discovery::uploads) fn claim_flight(
        &mut self,
        digest: &[u8; 32],
        id: LeaderId,
    ) -> Option<(FlightId, Flight)> {
        let flight = self.layers.get(digest)?;
        let leader = flight.leaders.iter().find(|leader| leader.id == id)?;
        let sharing = self.sharing.as_mut()?;
        let claim = sharing.flight_of(leader, FlightState::Claimed);
        Some((sharing.id_of(id), claim))
    }

    /// Other replicas know of a claim.
    pub(in crate::discovery::uploads) fn mark_published(
        &mut self,
        digest: &[u8; 32],
        id: LeaderId,
    ) {
        let flight = self.layers.get_mut(digest);
        let mut leaders = flight.into_iter().flat_map(|flight| &mut flight.leaders);
        if let Some(leader) = leaders.find(|leader| leader.id == id) {
            leader.is_published = true;
        }
    }

    /// A client that had claimed a layer waits for another one.
    pub(in crate::discovery::uploads) fn withdraw(&mut self, digest: &[u8; 32], id: LeaderId) {
        let is_claim = |leader: &_| matches!(leader, Stage::Claimed(_));
        if self
            .leader(digest, id)
            .is_some_and(|it| is_claim(&it.stage))
        {
            self.remove(digest, id);
        }
    }

    /// Whether a client that has claimed the layer goes on. `before` was known before its claim.
    pub(in crate::discovery::uploads) fn judge(
        &self,
        asking: &Asking<'_>,
        before: &[FlightId],
    ) -> ContestResult {
        let is_new = |id: FlightId| !before.contains(&id);
        let leaders = self.leaders_for(asking);
        let mut verdict = ContestResult::GoesOn;
        for leader in leaders.filter(|it| it.origin.flight().is_some_and(is_new)) {
            let repository = &leader.pusher.repository;
            if asking.allowed.contains(repository) {
                return ContestResult::Waits;
            }
            if !asking.decided.contains(repository) {
                verdict = ContestResult::Undecided;
            }
        }
        verdict
    }

    /// The uploads of other replicas that a HEAD sees.
    pub(in crate::discovery::uploads) fn read_flights(
        &mut self,
        mut flights: Vec<(FlightId, Flight)>,
        fingerprints: &Fingerprints,
        waiting: &WaitingFor<'_>,
    ) -> RemoteUploads {
        let Some(sharing) = &self.sharing else {
            return RemoteUploads::default();
        };
        flights.retain(|(id, _)| !sharing.is_own(*id));
        let remote = RemoteUploads::sort(flights, &mut self.heartbeats, fingerprints);
        let leaders = waiting.before.leaders.iter();
        let waited_for: Vec<_> = leaders
            .filter(|it| waiting.is_held && waiting.allowed.contains(&it.pusher.repository))
            .filter_map(|leader| leader.origin.flight())
            .collect();
        for (_, pusher) in remote
            .silent
            .iter()
            .filter(|(id, _)| waited_for.contains(id))
        {
            self.dead.begin(pusher.clone());
        }
        for id in remote.gone.iter().filter(|id| waited_for.contains(id)) {
            sharing.forget(waiting.digest, *id);
        }
        remote
    }
}

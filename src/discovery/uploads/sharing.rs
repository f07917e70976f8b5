//! Publishes the uploads through this replica for the other ones.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use crate::discovery::redis::{Flight, FlightId, FlightState, SharedIndex};
use crate::discovery::uploads::leader::{Leader, LeaderId, Stage};
use crate::util::{Fingerprints, NoRandomness};

/// How often each upload is published anew.
pub(super) const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// How long the end of an upload can be seen: HEADs look several times meanwhile.
const KEEP_ENDS_FOR: Duration = Duration::from_secs(2);

/// What is there about a layer; `None` without a response.
pub(super) type Fetched<'a> =
    Pin<Box<dyn Future<Output = Option<Vec<(FlightId, Flight)>>> + Send + 'a>>;

/// Where replicas read each other's uploads. All that it says is a suggestion.
pub(crate) trait SharedFlights: fmt::Debug + Send + Sync {
    /// Makes fingerprints that all replicas understand, if they may share them.
    fn fingerprints(&self) -> Option<Fingerprints>;
    /// The uploads of a layer.
    fn fetch(&self, digest: [u8; 32]) -> Fetched<'_>;
    /// Adds a claim, and returns it with all that were there before it.
    fn claim(&self, digest: [u8; 32], id: FlightId, claim: Flight) -> Fetched<'_>;
    /// Records how far an upload is, without waiting.
    fn record(&self, digest: [u8; 32], id: FlightId, flight: Flight);
    /// Forgets an upload, without waiting.
    fn forget(&self, digest: [u8; 32], id: FlightId);
}

impl SharedFlights for SharedIndex {
    fn fingerprints(&self) -> Option<Fingerprints> {
        self.fingerprints().cloned()
    }

    fn fetch(&self, digest: [u8; 32]) -> Fetched<'_> {
        Box::pin(self.fetch_flights(digest))
    }

    fn claim(&self, digest: [u8; 32], id: FlightId, claim: Flight) -> Fetched<'_> {
        Box::pin(async move { self.claim_flight(digest, id, &claim).await })
    }

    fn record(&self, digest: [u8; 32], id: FlightId, flight: Flight) {
        self.record_flight(digest, id, flight);
    }

    fn forget(&self, digest: [u8; 32], id: FlightId) {
        self.forget_flight(digest, id);
    }
}

/// Publishes the uploads through this replica.
#[derive(Debug)]
pub(super) struct Sharing {
    shared: Arc<dyn SharedFlights>,
    replica: [u8; 8],
    /// Whether replicas understand each other's fingerprints of logins.
    shares_logins: bool,
    beat: u64,
    /// Ends of uploads that were published.
    ends: Vec<(Instant, [u8; 32], LeaderId)>,
}

impl Sharing {
    pub(super) fn new(shared: Arc<dyn SharedFlights>) -> Result<Self, NoRandomness> {
        let mut replica = [0; 8];
        let filled = SystemRandom::new().fill(&mut replica);
        filled.map_err(|_| NoRandomness)?;
        Ok(Self {
            shares_logins: shared.fingerprints().is_some(),
            shared,
            replica,
            beat: 0,
            ends: Vec::new(),
        })
    }

    pub(super) fn is_own(&self, id: FlightId) -> bool {
        id.is_of(self.replica)
    }

    pub(super) fn id_of(&self, leader: LeaderId) -> FlightId {
        FlightId::new(self.replica, leader)
    }

    /// What other replicas get to know of a leader.
    pub(super) fn flight_of(&mut self, leader: &Leader, state: FlightState) -> Flight {
        self.beat += 1;
        let (age, received, length) = match &leader.stage {
            Stage::Claimed(claim) => (claim.since.elapsed(), 0, None),
            Stage::Uploading(upload) => {
                let received = upload.progress.received();
                (upload.began.elapsed(), received, upload.length)
            }
            // No byte is missing, and waiting for the manifest does not make the upload slow.
            Stage::Uploaded(_) => (Duration::ZERO, 0, Some(0)),
        };
        Flight {
            state,
            beat: self.beat,
            age,
            received,
            length,
            is_token: leader.pusher.is_token,
            login: self.shares_logins.then_some(leader.pusher.credential),
            repository: leader.pusher.repository.clone(),
        }
    }

    /// Publishes how far a leader is.
    pub(super) fn publish(&mut self, digest: [u8; 32], leader: &Leader) {
        let state = match &leader.stage {
            Stage::Claimed(_) => FlightState::Claimed,
            Stage::Uploading(_) | Stage::Uploaded(_) => FlightState::Uploading,
        };
        let flight = self.flight_of(leader, state);
        self.shared.record(digest, self.id_of(leader.id), flight);
    }

    /// Publishes how a leader ended. Without a state other replicas forget it.
    pub(super) fn publish_end(
        &mut self,
        digest: [u8; 32],
        leader: &Leader,
        state: Option<FlightState>,
    ) {
        let id = self.id_of(leader.id);
        match state {
            Some(state) => {
                let flight = self.flight_of(leader, state);
                self.shared.record(digest, id, flight);
                self.ends.push((Instant::now(), digest, leader.id));
            }
            None => self.shared.forget(digest, id),
        }
    }

    /// Removes ends that every held HEAD has read by now, but not those of leaders that went on.
    pub(super) fn forget_ends(&mut self, is_published: impl Fn(&[u8; 32], LeaderId) -> bool) {
        let seen = |(at, _, _): &(Instant, _, _)| at.elapsed() >= KEEP_ENDS_FOR;
        let count = self.ends.iter().take_while(|it| seen(it)).count();
        for (_, digest, leader) in self.ends.drain(..count) {
            if !is_published(&digest, leader) {
                let id = FlightId::new(self.replica, leader);
                self.shared.forget(digest, id);
            }
        }
    }

    /// Forgets an upload of a replica that is gone.
    pub(super) fn forget(&self, digest: [u8; 32], id: FlightId) {
        self.shared.forget(digest, id);
    }
}

//! The uploads in flight, by digest and by upload session: what is known, and what a HEAD sees of
//! it. `changes` has what claims, requests and arrivals change, `mistakes` which session is that of
//! which layer after all, `manifests` which layers wait for one; `replicas` publishes them for other
//! replicas.

mod changes;
mod manifests;
mod mistakes;
mod replicas;

pub(super) use replicas::{ContestResult, WaitingFor};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::discovery::uploads::Pusher;
use crate::discovery::uploads::arrivals::Arrivals;
use crate::discovery::uploads::cooldown::Cooldown;
use crate::discovery::uploads::leader::{Leader, LeaderId, Origin, Upload};
use crate::discovery::uploads::rates::Rates;
use crate::discovery::uploads::remote::{Heartbeats, RemoteUploads};
use crate::discovery::uploads::sharing::Sharing;
use crate::discovery::uploads::table::manifests::Pushes;
use crate::discovery::uploads::table::mistakes::{OddLayer, Unclaimed};
use crate::oci::RepositoryName;
use crate::util::Fingerprint;

/// The most uploads and claims that are known at once; no HEAD waits for others.
const MOST_LEADERS: usize = 16 * 1024;
/// The most of them for one layer: for each, access is decided before a HEAD may wait for it.
pub(super) const MOST_LEADERS_OF_LAYER: usize = 16;
/// The most claims of one client for one repository: clients ask for all layers of an image first.
pub(super) const MOST_CLAIMS: usize = 256;
/// The most tentative claims of a layer, and the most leaders beyond which there are no new ones: a
/// client that is not proved to have push may send any credentials.
const MOST_TENTATIVE: (usize, usize) = (64, MOST_LEADERS / 2);
/// How often all claims that ran out are dropped.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a client that let others wait in vain is not waited for.
const NOT_WAITED_FOR: Duration = Duration::from_secs(10 * 60);
/// How long a layer is not waited for whose client brought another one.
const ODD_FOR: Duration = Duration::from_secs(60 * 60);

/// What a HEAD does next.
pub(super) enum Look {
    /// Until something changes; what changes at other replicas does not show here.
    Wait(Option<watch::Receiver<()>>),
    /// The layer is in this repository, from which the client may pull.
    Arrived(Arc<RepositoryName>),
    /// The layer is in this repository, from which the client may pull and the registry does not
    /// mount it yet.
    Uploaded(Arc<RepositoryName>),
    /// There is an upload into a repository for which access is to be decided.
    Undecided,
    /// It goes on, and has claimed the layer. That claim is named if its client is proved to have
    /// push, and no other replica knows of the claim yet.
    GoOn(Option<LeaderId>),
}

/// The uploads of one layer.
#[derive(Debug)]
struct Flight {
    leaders: Vec<Leader>,
    changed: watch::Sender<()>,
}

/// A HEAD, as the table sees it.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) pusher: &'a Pusher,
    pub(super) digest: [u8; 32],
    /// The repositories for which it was decided whether the client may pull.
    pub(super) decided: &'a [RepositoryName],
    /// Those of them that it may pull.
    pub(super) allowed: &'a [RepositoryName],
    /// What arrived before that, the HEAD has seen.
    pub(super) since: Instant,
    /// Until when the HEAD may be held.
    pub(super) until: Instant,
    /// Whether layers are copied that the registry does not mount yet.
    pub(super) copies: bool,
    /// The repositories from which a copy was tried.
    pub(super) tried: &'a [RepositoryName],
    /// Whether the HEAD is held already.
    pub(super) is_held: bool,
    /// Whether the client is proved to have push on the target.
    pub(super) is_proved: bool,
    /// The uploads of the layer through other replicas.
    pub(super) remote: &'a RemoteUploads,
}

#[derive(Debug)]
pub(super) struct UploadTable {
    layers: HashMap<[u8; 32], Flight>,
    sessions: HashMap<Box<str>, ([u8; 32], LeaderId)>,
    /// The claims of each client, the oldest first.
    claims: HashMap<Pusher, Vec<([u8; 32], LeaderId)>>,
    next_id: LeaderId,
    leaders: usize,
    swept: Instant,
    rates: Rates,
    /// Credentials for which HEADs waited in vain.
    vain: Cooldown<Fingerprint>,
    /// Repositories into which clients with tokens let HEADs wait in vain: a new token of the same
    /// client would be waited for again.
    vain_in: Cooldown<RepositoryName>,
    /// Clients that claimed or began an upload, and did not go on.
    dead: Cooldown<Pusher>,
    /// Clients whose HEADs waited in vain.
    waited: Cooldown<Pusher>,
    odd: Cooldown<OddLayer>,
    unclaimed: Unclaimed,
    /// What arrived while HEADs may have been held.
    arrivals: Arrivals,
    pub(super) pushes: Pushes,
    /// Publishes for other replicas, if there are any.
    pub(super) sharing: Option<Sharing>,
    heartbeats: Heartbeats,
}

impl Asking<'_> {
    /// Whether the client may get the layer from a repository from which the registry does not mount
    /// it yet.
    fn may_try(&self, repository: &RepositoryName, may_wait: bool) -> bool {
        let is_copied = may_wait && self.copies && !self.tried.contains(repository);
        *repository == self.pusher.repository || is_copied
    }
}

impl Default for UploadTable {
    fn default() -> Self {
        Self {
            layers: HashMap::new(),
            sessions: HashMap::new(),
            claims: HashMap::new(),
            next_id: 0,
            leaders: 0,
            swept: Instant::now(),
            rates: Rates::default(),
            vain: Cooldown::lasting(NOT_WAITED_FOR),
            vain_in: Cooldown::lasting(NOT_WAITED_FOR),
            dead: Cooldown::lasting(NOT_WAITED_FOR),
            waited: Cooldown::lasting(NOT_WAITED_FOR),
            odd: Cooldown::lasting(ODD_FOR),
            unclaimed: Unclaimed::default(),
            arrivals: Arrivals::default(),
            pushes: Pushes::default(),
            sharing: None,
            heartbeats: Heartbeats::default(),
        }
    }
}

impl UploadTable {
    /// The repositories for which access is to be decided before the HEAD may wait.
    pub(super) fn undecided(&self, asking: &Asking<'_>) -> Vec<RepositoryName> {
        let mut found = Vec::new();
        let leaders = self.leaders_for(asking);
        let leaders = leaders.map(|leader| &leader.pusher.repository);
        for repository in leaders.chain(self.arrivals_for(asking).map(Arc::as_ref)) {
            if !asking.decided.contains(repository) && !found.contains(repository) {
                found.push(repository.clone());
            }
        }
        found
    }

    /// Looks at the uploads of the layer: whether the HEAD waits or goes on.
    pub(super) fn look(&mut self, asking: &Asking<'_>, may_wait: bool) -> Look {
        self.drop_dead(&asking.digest);
        // Perhaps after the registry's 404, and before the HEAD looked here.
        let is_allowed = |repository: &&Arc<RepositoryName>| asking.allowed.contains(repository);
        let arrived = self.arrivals_for(asking).find(is_allowed).cloned();
        if let Some(repository) = arrived {
            return Look::Arrived(repository);
        }
        let has_new = |repository: &Arc<RepositoryName>| !asking.decided.contains(repository);
        if self.arrivals_for(asking).any(has_new) {
            return Look::Undecided;
        }
        let (mut is_undecided, mut slow, mut waits) = (false, None, false);
        for leader in self.leaders_for(asking) {
            let repository = &leader.pusher.repository;
            is_undecided |= !asking.decided.contains(repository);
            if asking.allowed.contains(repository) {
                if leader.is_uploaded() && asking.may_try(repository, may_wait) {
                    return Look::Uploaded(Arc::new(repository.clone()));
                }
                waits = true;
                if !leader.is_passed && self.is_slow(leader) {
                    slow = Some((leader.id, leader.origin));
                }
            }
        }
        if let Some(slow) = slow.filter(|_| asking.is_held) {
            self.mark_passed(&asking.digest, slow.0, slow.1);
            waits = false;
        } else if is_undecided && !waits {
            return Look::Undecided;
        }
        if waits && may_wait && !self.closes_circle(asking) {
            let flight = self.layers.get(&asking.digest);
            return Look::Wait(flight.map(|flight| flight.changed.subscribe()));
        }
        Look::GoOn(self.claim(asking))
    }

    /// Where the layer arrived, here or at other replicas.
    fn arrivals_for<'a>(
        &'a self,
        asking: &'a Asking<'a>,
    ) -> impl Iterator<Item = &'a Arc<RepositoryName>> {
        let remote = asking.remote.arrivals.iter();
        self.arrivals
            .since(&asking.digest, asking.since)
            .chain(remote.map(|(_, repository)| repository))
    }

    /// The uploads that a HEAD may wait for, if its client may pull their repositories.
    fn leaders_for<'a>(&'a self, asking: &'a Asking<'a>) -> impl Iterator<Item = &'a Leader> {
        let is_refused = self.waited.has(asking.pusher);
        let flight = self.layers.get(&asking.digest);
        let here = flight.map_or(&[][..], |flight| &flight.leaders);
        let all = here.iter().chain(&asking.remote.leaders);
        all.filter(move |leader| !is_refused && self.is_worth_waiting(leader, asking))
    }

    fn is_worth_waiting(&self, leader: &Leader, asking: &Asking<'_>) -> bool {
        if leader.is_dead()
            || self.vain.has(&leader.pusher.credential)
            || leader.pusher.is_token && self.vain_in.has(&leader.pusher.repository)
            || self.dead.has(&leader.pusher)
            || self.odd.has(&OddLayer::of(&leader.pusher, asking.digest))
        {
            return false;
        }
        match leader.upload() {
            None if leader.is_uploaded() => true,
            // Some clients ask twice before they upload.
            None => !leader.is_tentative() && !may_be_of(leader, asking.pusher),
            Some(upload) => {
                let within = asking.until.saturating_duration_since(Instant::now());
                let missing = upload.missing().filter(|_| !asking.is_held);
                missing.is_none_or(|missing| !self.rates.is_hopeless(missing, within))
            }
        }
    }

    fn is_slow(&self, leader: &Leader) -> bool {
        let Some(rate) = leader.upload().and_then(Upload::rate) else {
            return false;
        };
        let uploads = self.sessions.values();
        let others = uploads.filter(|(_, id)| *id != leader.id);
        let rates = others.filter_map(|(digest, id)| self.leader(digest, *id)?.upload()?.rate());
        self.rates.is_slow(rate, rates)
    }

    fn mark_passed(&mut self, digest: &[u8; 32], id: LeaderId, origin: Origin) {
        if let Some(id) = origin.flight() {
            self.heartbeats.mark_passed(id);
        } else if let Some(flight) = self.layers.get_mut(digest) {
            let leaders = flight.leaders.iter_mut();
            for leader in leaders.filter(|leader| leader.id == id) {
                leader.is_passed = true;
            }
        }
    }
}

/// Whether a claim is that of this client, as far as that is known.
fn may_be_of(leader: &Leader, pusher: &Pusher) -> bool {
    match leader.origin {
        Origin::Remote {
            is_login_known: false,
            ..
        } => leader.pusher.repository == pusher.repository,
        Origin::Remote { .. } | Origin::Here => leader.pusher == *pusher,
    }
}

#[cfg(test)]
impl UploadTable {
    pub(super) fn layer_of(&self, session: &str) -> Option<[u8; 32]> {
        self.sessions.get(session).map(|(digest, _)| *digest)
    }

    pub(super) fn record_rate(&mut self, bytes: u64, time: Duration) {
        self.rates.record(bytes, time);
    }

    pub(super) fn size(&self) -> usize {
        self.leaders
    }
}

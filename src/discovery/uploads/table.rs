//! The uploads in flight, by digest and by upload session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::discovery::uploads::Pusher;
use crate::discovery::uploads::arrivals::Arrivals;
use crate::discovery::uploads::cooldown::Cooldown;
use crate::discovery::uploads::leader::{Claim, Leader, LeaderId, Progress, Stage, Upload};
use crate::discovery::uploads::rates::Rates;
use crate::discovery::uploads::upload_request::UploadPart;
use crate::oci::{Digest, RepositoryName};
use crate::util::Fingerprint;

/// The most uploads and claims that are known at once; no HEAD waits for others.
const MOST_LEADERS: usize = 16 * 1024;
/// The most of them for one layer: for each, access is decided before a HEAD may wait for it.
const MOST_LEADERS_OF_LAYER: usize = 16;
/// The most claims of one client for one repository: clients ask for all layers of an image first.
const MOST_CLAIMS: usize = 256;
/// The most tentative claims of a layer, and the most leaders beyond which there are no new ones: a
/// client that is not proved to have push may send any credentials.
const MOST_TENTATIVE: (usize, usize) = (64, MOST_LEADERS / 2);
/// How often all claims that ran out are dropped.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a client that let others wait in vain is not waited for.
const NOT_WAITED_FOR: Duration = Duration::from_secs(10 * 60);
/// How long a digest is not waited for whose claim brought another one.
const ODD_FOR: Duration = Duration::from_secs(60 * 60);

/// What a HEAD does next.
pub(super) enum Look {
    /// Until something changes.
    Wait(watch::Receiver<()>),
    /// The layer is in this repository, from which the client may pull.
    Arrived(Arc<RepositoryName>),
    /// There is an upload into a repository for which access is to be decided.
    Undecided,
    /// It goes on, and has claimed the layer.
    GoOn,
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
    /// Whether the HEAD is held already.
    pub(super) is_held: bool,
    /// Whether the client is proved to have push on the target.
    pub(super) is_proved: bool,
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
    odd: Cooldown<[u8; 32]>,
    /// What arrived while HEADs may have been held.
    arrivals: Arrivals,
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
            arrivals: Arrivals::default(),
        }
    }
}

impl UploadTable {
    /// The repositories for which access is to be decided before the HEAD may wait.
    pub(super) fn undecided(&self, asking: &Asking<'_>) -> Vec<RepositoryName> {
        let mut found = Vec::new();
        let leaders = self.leaders_for(asking);
        let leaders = leaders.map(|leader| &leader.pusher.repository);
        for repository in leaders.chain(
            self.arrivals
                .since(&asking.digest, asking.since)
                .map(Arc::as_ref),
        ) {
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
        let arrived = self
            .arrivals
            .since(&asking.digest, asking.since)
            .find(is_allowed)
            .cloned();
        if let Some(repository) = arrived {
            return Look::Arrived(repository);
        }
        let has_new = |repository: &Arc<RepositoryName>| !asking.decided.contains(repository);
        if self
            .arrivals
            .since(&asking.digest, asking.since)
            .any(has_new)
        {
            return Look::Undecided;
        }
        let (mut is_undecided, mut slow, mut waits) = (false, None, false);
        for leader in self.leaders_for(asking) {
            let repository = &leader.pusher.repository;
            is_undecided |= !asking.decided.contains(repository);
            if asking.allowed.contains(repository) {
                waits = true;
                if !leader.is_passed && self.is_slow(leader) {
                    slow = Some(leader.id);
                }
            }
        }
        if let Some(slow) = slow.filter(|_| asking.is_held) {
            self.mark_passed(&asking.digest, slow);
            waits = false;
        } else if is_undecided && !waits {
            return Look::Undecided;
        }
        if waits
            && may_wait
            && let Some(flight) = self.layers.get(&asking.digest)
        {
            return Look::Wait(flight.changed.subscribe());
        }
        self.claim(asking);
        Look::GoOn
    }

    /// The uploads that a HEAD may wait for, if its client may pull their repositories.
    fn leaders_for(&self, asking: &Asking<'_>) -> impl Iterator<Item = &Leader> {
        let is_refused = self.waited.has(asking.pusher) || self.odd.has(&asking.digest);
        let flight = self.layers.get(&asking.digest).filter(|_| !is_refused);
        let leaders = flight.map_or(&[][..], |flight| &flight.leaders);
        leaders
            .iter()
            .filter(|leader| self.is_worth_waiting(leader, asking))
    }

    fn is_worth_waiting(&self, leader: &Leader, asking: &Asking<'_>) -> bool {
        if leader.is_dead()
            || self.vain.has(&leader.pusher.credential)
            || leader.pusher.is_token && self.vain_in.has(&leader.pusher.repository)
            || self.dead.has(&leader.pusher)
        {
            return false;
        }
        match leader.upload() {
            // Some clients ask twice before they upload.
            None => !leader.is_tentative() && leader.pusher != *asking.pusher,
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

    fn mark_passed(&mut self, digest: &[u8; 32], id: LeaderId) {
        if let Some(flight) = self.layers.get_mut(digest) {
            let leaders = flight.leaders.iter_mut();
            for leader in leaders.filter(|leader| leader.id == id) {
                leader.is_passed = true;
            }
        }
    }

    /// The client will likely upload the layer.
    fn claim(&mut self, asking: &Asking<'_>) {
        let (pusher, digest, is_proved) = (asking.pusher, asking.digest, asking.is_proved);
        let now = Instant::now();
        if let Some(flight) = self.layers.get_mut(&digest)
            && let Some(leader) = flight.leaders.iter_mut().find(|it| it.pusher == *pusher)
        {
            if let Stage::Claimed(claim) = &mut leader.stage {
                claim.since = now;
                claim.is_proved |= is_proved;
            }
            return;
        }
        if self.swept.elapsed() >= SWEEP_EVERY {
            self.swept = now;
            self.drop_all_dead();
        }
        if !self.has_room(&digest, is_proved) || self.claims_of(pusher) >= MOST_CLAIMS {
            return;
        }
        let claim = Claim {
            since: now,
            is_proved,
        };
        let id = self.add(pusher.clone(), digest, Stage::Claimed(claim));
        self.claims
            .entry(pusher.clone())
            .or_default()
            .push((digest, id));
    }

    fn has_room(&self, digest: &[u8; 32], is_proved: bool) -> bool {
        let leaders = self.layers.get(digest).map_or(&[][..], |it| &it.leaders);
        let of_its_kind = leaders.iter().filter(|it| it.is_tentative() != is_proved);
        let (most_of_layer, most) = if is_proved {
            (MOST_LEADERS_OF_LAYER, MOST_LEADERS)
        } else {
            MOST_TENTATIVE
        };
        of_its_kind.count() < most_of_layer && self.leaders < most
    }

    fn claims_of(&self, pusher: &Pusher) -> usize {
        self.claims.get(pusher).map_or(0, Vec::len)
    }

    fn add(&mut self, pusher: Pusher, digest: [u8; 32], stage: Stage) -> LeaderId {
        self.next_id += 1;
        self.leaders += 1;
        let flight = self.layers.entry(digest).or_insert_with(|| Flight {
            leaders: Vec::new(),
            changed: watch::channel(()).0,
        });
        flight.leaders.push(Leader {
            id: self.next_id,
            pusher,
            stage,
            is_passed: false,
        });
        self.next_id
    }

    /// The registry opened an upload session: the client's oldest claim, or the one for the layer
    /// that its request named, becomes an upload.
    pub(super) fn begin(&mut self, pusher: &Pusher, session: &str, named: Option<&Digest>) {
        let named = named.map(Digest::bytes);
        let claims = self.claims.get(pusher).map_or(&[][..], Vec::as_slice);
        let is_alive = |(digest, id): &&([u8; 32], LeaderId)| {
            let leader = self.leader(digest, *id);
            leader.is_some_and(|leader| !leader.is_dead())
        };
        let mut alive = claims.iter().filter(is_alive);
        let chosen = alive.find(|(digest, _)| named.is_none_or(|named| named == *digest));
        let Some((digest, id)) = chosen.copied() else {
            return;
        };
        self.forget_claim(pusher, id);
        self.sessions.insert(session.into(), (digest, id));
        let upload = Upload {
            session: session.into(),
            began: Instant::now(),
            length: None,
            progress: Progress::begin(),
        };
        let flight = self.layers.get_mut(&digest);
        let mut leaders = flight.into_iter().flat_map(|flight| &mut flight.leaders);
        if let Some(leader) = leaders.find(|leader| leader.id == id) {
            leader.stage = Stage::Uploading(upload);
        }
    }

    /// A request sends a part of the upload of a session; `digest` is the whole's, if it says so.
    pub(super) fn request(
        &mut self,
        session: &str,
        digest: Option<&Digest>,
        length: Option<u64>,
    ) -> Option<UploadPart> {
        let (claimed, mut id) = *self.sessions.get(session)?;
        let digest = digest.map_or(claimed, Digest::bytes);
        if digest != claimed {
            id = self.rename(claimed, digest, id)?;
        }
        let flight = self.layers.get_mut(&digest)?;
        let leader = flight.leaders.iter_mut().find(|leader| leader.id == id)?;
        let Stage::Uploading(upload) = &mut leader.stage else {
            return None;
        };
        if let Some(length) = length.filter(|length| *length > 0) {
            upload.length = Some(upload.progress.received() + length);
        }
        Some(UploadPart {
            session: session.into(),
            progress: upload.progress.clone(),
        })
    }

    /// Another layer arrives than the one that was claimed.
    ///
    /// A client that uploads several layers at once opens its sessions in any order: if it claimed
    /// this layer too, the two change places. Otherwise its other claims are as uncertain, and the
    /// claimed layer is not waited for.
    fn rename(&mut self, claimed: [u8; 32], digest: [u8; 32], id: LeaderId) -> Option<LeaderId> {
        let pusher = self.leader(&claimed, id)?.pusher.clone();
        let flight = self.layers.get(&digest);
        let mut leaders = flight.into_iter().flat_map(|flight| &flight.leaders);
        if let Some(other) = leaders.find(|leader| leader.pusher == pusher) {
            let other = other.id;
            self.change_places((claimed, id), (digest, other));
            return Some(other);
        }
        self.odd.begin(claimed);
        let leader = self.remove(&claimed, id)?;
        for (other, claim) in self.claims.remove(&leader.pusher).unwrap_or_default() {
            self.remove(&other, claim);
        }
        let Stage::Uploading(upload) = leader.stage else {
            return None;
        };
        let session = upload.session.clone();
        let id = self.add(leader.pusher, digest, Stage::Uploading(upload));
        self.sessions.insert(session, (digest, id));
        Some(id)
    }

    /// Two leaders of one client change places, with all that is known of their uploads.
    fn change_places(&mut self, one: ([u8; 32], LeaderId), other: ([u8; 32], LeaderId)) {
        for (from, to) in [(one, other), (other, one)] {
            let leader = self.leader(&from.0, from.1);
            match leader.map(|leader| (&leader.stage, &leader.pusher)) {
                Some((Stage::Uploading(upload), _)) => {
                    let session = upload.session.clone();
                    self.sessions.insert(session, to);
                }
                Some((Stage::Claimed(_), pusher)) => {
                    let pusher = pusher.clone();
                    let claims = self.claims.get_mut(&pusher);
                    for claim in claims.into_iter().flatten() {
                        if claim.1 == from.1 {
                            *claim = to;
                        }
                    }
                }
                None => {}
            }
        }
        // The registry has opened upload sessions for this client.
        let fresh = Stage::Claimed(Claim {
            since: Instant::now(),
            is_proved: true,
        });
        let Some(first) = self.replace_stage(one, fresh) else {
            return;
        };
        if let Some(Stage::Uploading(second)) = self.replace_stage(other, first) {
            self.replace_stage(one, Stage::Uploading(second));
        }
    }

    fn replace_stage(&mut self, place: ([u8; 32], LeaderId), stage: Stage) -> Option<Stage> {
        let flight = self.layers.get_mut(&place.0)?;
        let mut leaders = flight.leaders.iter_mut();
        let leader = leaders.find(|leader| leader.id == place.1)?;
        flight.changed.send_replace(());
        Some(std::mem::replace(&mut leader.stage, stage))
    }

    /// An upload has broken off.
    pub(super) fn abort(&mut self, session: &str) {
        if let Some((digest, id)) = self.sessions.get(session).copied() {
            self.remove(&digest, id);
        }
    }

    /// A repository holds a layer now.
    pub(super) fn arrived(&mut self, repository: &RepositoryName, digest: &Digest) {
        let digest = digest.bytes();
        self.arrivals.record(repository, digest);
        let flight = self.layers.get(&digest);
        let leaders = flight.map_or(&[][..], |flight| &flight.leaders);
        let of_it = leaders
            .iter()
            .filter(|it| it.pusher.repository == *repository);
        let ids: Vec<_> = of_it.map(|leader| leader.id).collect();
        if let Some(flight) = flight {
            flight.changed.send_replace(());
        }
        for id in ids {
            if let Some(leader) = self.remove(&digest, id)
                && let Some(upload) = leader.upload()
            {
                let time = upload.began.elapsed();
                self.rates.record(upload.progress.received(), time);
            }
        }
    }

    /// A HEAD was held for as long as it may be.
    pub(super) fn waited_in_vain(&mut self, asking: &Asking<'_>) {
        let leaders = self.leaders_for(asking);
        let waited_for = leaders.filter(|it| asking.allowed.contains(&it.pusher.repository));
        let pushers: Vec<_> = waited_for.map(|leader| leader.pusher.clone()).collect();
        for pusher in pushers {
            self.vain.begin(pusher.credential);
            if pusher.is_token {
                self.vain_in.begin(pusher.repository);
            }
        }
        self.waited.begin(asking.pusher.clone());
        self.claim(asking);
    }

    fn leader(&self, digest: &[u8; 32], id: LeaderId) -> Option<&Leader> {
        let flight = self.layers.get(digest)?;
        flight.leaders.iter().find(|leader| leader.id == id)
    }

    /// Removes a leader; those who wait for it look again.
    fn remove(&mut self, digest: &[u8; 32], id: LeaderId) -> Option<Leader> {
        let flight = self.layers.get_mut(digest)?;
        let place = flight.leaders.iter().position(|leader| leader.id == id)?;
        let leader = flight.leaders.remove(place);
        self.leaders -= 1;
        flight.changed.send_replace(());
        if flight.leaders.is_empty() {
            self.layers.remove(digest);
        }
        match leader.upload() {
            Some(upload) => {
                self.sessions.remove(&upload.session);
            }
            None => self.forget_claim(&leader.pusher, id),
        }
        Some(leader)
    }

    fn forget_claim(&mut self, pusher: &Pusher, id: LeaderId) {
        if let Some(claims) = self.claims.get_mut(pusher) {
            claims.retain(|(_, claim)| *claim != id);
            if claims.is_empty() {
                self.claims.remove(pusher);
            }
        }
    }

    /// Removes the leaders of a layer that did not go on.
    fn drop_dead(&mut self, digest: &[u8; 32]) {
        let Some(flight) = self.layers.get(digest) else {
            return;
        };
        let has_waiting = flight.changed.receiver_count() > 0;
        let dead = flight.leaders.iter().filter(|leader| leader.is_dead());
        let dead: Vec<_> = dead.map(|leader| leader.id).collect();
        for id in dead {
            let removed = self.remove(digest, id).filter(|_| has_waiting);
            // No HEAD waited for a tentative claim.
            if let Some(leader) = removed.filter(|leader| !leader.is_tentative()) {
                self.dead.begin(leader.pusher);
            }
        }
    }

    fn drop_all_dead(&mut self) {
        let digests: Vec<_> = self.layers.keys().copied().collect();
        for digest in digests {
            self.drop_dead(&digest);
        }
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

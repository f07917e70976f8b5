//! What claims, requests and arrivals change in the table.

use std::time::Instant;

use tokio::sync::watch;

use crate::discovery::redis::FlightState;
use crate::discovery::uploads::Pusher;
use crate::discovery::uploads::leader::{Claim, Leader, LeaderId, Origin, Stage, Upload};
use crate::discovery::uploads::table::{
    Asking, Flight, MOST_CLAIMS, MOST_LEADERS, MOST_LEADERS_OF_LAYER, MOST_TENTATIVE, OddLayer,
    SWEEP_EVERY, UploadTable,
};
use crate::discovery::uploads::upload_request::UploadPart;
use crate::oci::{Digest, RepositoryName};

impl UploadTable {
    /// The client will likely upload the layer. Returns the claim if there are other replicas that
    /// are to know of it, and do not yet.
    pub(super) fn claim(&mut self, asking: &Asking<'_>) -> Option<LeaderId> {
        let (pusher, digest, is_proved) = (asking.pusher, asking.digest, asking.is_proved);
        let now = Instant::now();
        if let Some(flight) = self.layers.get_mut(&digest)
            && let Some(leader) = flight.leaders.iter_mut().find(|it| it.pusher == *pusher)
        {
            let Stage::Claimed(claim) = &mut leader.stage else {
                return None;
            };
            claim.since = now;
            claim.is_proved |= is_proved;
            let is_new = claim.is_proved && !leader.is_published && self.sharing.is_some();
            return Some(leader.id).filter(|_| is_new);
        }
        if self.swept.elapsed() >= SWEEP_EVERY {
            self.swept = now;
            self.drop_all_dead();
        }
        if !self.has_room(&digest, is_proved) || self.claims_of(pusher) >= MOST_CLAIMS {
            return None;
        }
        let claim = Claim {
            since: now,
            is_proved,
            push: self.pushes.current(&pusher.login()),
        };
        let id = self.add(pusher.clone(), digest, Stage::Claimed(claim));
        self.claims
            .entry(pusher.clone())
            .or_default()
            .push((digest, id));
        Some(id).filter(|_| is_proved && self.sharing.is_some())
    }

    pub(super) fn has_room(&self, digest: &[u8; 32], is_proved: bool) -> bool {
        let leaders = self.layers.get(digest).map_or(&[][..], |it| &it.leaders);
        let of_its_kind = leaders.iter().filter(|it| it.is_tentative() != is_proved);
        let (most_of_layer, most) = if is_proved {
            (MOST_LEADERS_OF_LAYER, MOST_LEADERS)
        } else {
            MOST_TENTATIVE
        };
        of_its_kind.count() < most_of_layer && self.leaders < most
    }

    pub(super) fn claims_of(&self, pusher: &Pusher) -> usize {
        self.claims.get(pusher).map_or(0, Vec::len)
    }

    pub(super) fn add(&mut self, pusher: Pusher, digest: [u8; 32], stage: Stage) -> LeaderId {
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
            mistaken: 0,
            is_published: false,
            origin: Origin::Here,
        });
        self.next_id
    }

    /// The registry opened an upload session: the client's oldest claim, or the one for the layer
    /// that its request named, becomes an upload.
    pub(in crate::discovery::uploads) fn begin(
        &mut self,
        pusher: &Pusher,
        session: &str,
        named: Option<&Digest>,
    ) {
        let named = named.map(Digest::bytes);
        let claims = self.claims.get(pusher).map_or(&[][..], Vec::as_slice);
        let is_alive = |(digest, id): &&([u8; 32], LeaderId)| {
            let leader = self.leader(digest, *id);
            leader.is_some_and(|leader| !leader.is_dead())
        };
        let mut alive = claims.iter().filter(is_alive);
        let chosen = alive.find(|(digest, _)| named.is_none_or(|named| named == *digest));
        let Some((digest, id)) = chosen.copied() else {
            if named.is_none() {
                self.unclaimed.begin(pusher, session);
            }
            return;
        };
        self.forget_claim(pusher, id);
        self.sessions.insert(session.into(), (digest, id));
        let flight = self.layers.get_mut(&digest);
        let mut leaders = flight.into_iter().flat_map(|flight| &mut flight.leaders);
        if let Some(leader) = leaders.find(|leader| leader.id == id) {
            leader.stage = Stage::Uploading(Upload::begin(session));
        }
        self.publish(&digest, id);
    }

    /// A request sends a part of the upload of a session; `digest` is the whole's, if it says so.
    pub(in crate::discovery::uploads) fn request(
        &mut self,
        session: &str,
        digest: Option<&Digest>,
        length: Option<u64>,
    ) -> Option<UploadPart> {
        let Some((claimed, mut id)) = self.sessions.get(session).copied() else {
            return self.request_unclaimed(session, digest, length);
        };
        let digest = digest.map_or(claimed, Digest::bytes);
        if digest != claimed {
            id = self.rename(claimed, digest, id)?;
        }
        let flight = self.layers.get_mut(&digest)?;
        let leader = flight.leaders.iter_mut().find(|leader| leader.id == id)?;
        let Stage::Uploading(upload) = &mut leader.stage else {
            return None;
        };
        upload.expect(length);
        Some(UploadPart {
            session: session.into(),
            progress: upload.progress.clone(),
        })
    }

    /// Another layer arrives than the one that was claimed.
    ///
    /// A client that uploads several layers at once opens its sessions in any order: if it claimed
    /// this layer too, the two change places. Otherwise the session was taken by mistake, as that of
    /// a layer for which the client did not ask ([`super::mistakes`]).
    pub(super) fn rename(
        &mut self,
        claimed: [u8; 32],
        digest: [u8; 32],
        id: LeaderId,
    ) -> Option<LeaderId> {
        let pusher = self.leader(&claimed, id)?.pusher.clone();
        let flight = self.layers.get(&digest);
        let mut leaders = flight.into_iter().flat_map(|flight| &flight.leaders);
        let is_other = |leader: &&Leader| leader.pusher == pusher && !leader.is_uploaded();
        if let Some(other) = leaders.find(is_other) {
            let other = other.id;
            self.change_places((claimed, id), (digest, other));
            return Some(other);
        }
        if !self.has_room(&digest, true) || self.claims_of(&pusher) >= MOST_CLAIMS {
            self.remove(&claimed, id);
            return None;
        }
        let upload = self.take_mistaken(claimed, id)?;
        let session = upload.session.clone();
        let id = self.add(pusher, digest, Stage::Uploading(upload));
        self.sessions.insert(session, (digest, id));
        self.publish(&digest, id);
        Some(id)
    }

    /// Two leaders of one client change places, with all that is known of their uploads.
    pub(super) fn change_places(&mut self, one: ([u8; 32], LeaderId), other: ([u8; 32], LeaderId)) {
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
                Some((Stage::Uploaded(_), _)) | None => {}
            }
        }
        // The registry has opened upload sessions for this client.
        let fresh = Stage::Claimed(Claim {
            since: Instant::now(),
            is_proved: true,
            push: None,
        });
        let Some(first) = self.replace_stage(one, fresh) else {
            return;
        };
        if let Some(Stage::Uploading(second)) = self.replace_stage(other, first) {
            self.replace_stage(one, Stage::Uploading(second));
        }
    }

    pub(super) fn replace_stage(
        &mut self,
        place: ([u8; 32], LeaderId),
        stage: Stage,
    ) -> Option<Stage> {
        let flight = self.layers.get_mut(&place.0)?;
        let mut leaders = flight.leaders.iter_mut();
        let leader = leaders.find(|leader| leader.id == place.1)?;
        flight.changed.send_replace(());
        Some(std::mem::replace(&mut leader.stage, stage))
    }

    /// An upload has broken off.
    pub(in crate::discovery::uploads) fn abort(&mut self, session: &str) {
        self.unclaimed.remove(session);
        if let Some((digest, id)) = self.sessions.get(session).copied() {
            self.remove(&digest, id);
        }
    }

    /// A repository holds a layer now.
    pub(in crate::discovery::uploads) fn arrived(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
    ) {
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
            if let Some(leader) = self.end(&digest, id, Some(FlightState::Arrived))
                && let Some(upload) = leader.upload()
            {
                let time = upload.began.elapsed();
                self.rates.record(upload.progress.received(), time);
            }
        }
    }

    /// A HEAD was held for as long as it may be.
    pub(in crate::discovery::uploads) fn waited_in_vain(&mut self, asking: &Asking<'_>) {
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
        if let Some(id) = self.claim(asking) {
            self.publish(&asking.digest, id);
        }
    }

    pub(super) fn leader(&self, digest: &[u8; 32], id: LeaderId) -> Option<&Leader> {
        let flight = self.layers.get(digest)?;
        flight.leaders.iter().find(|leader| leader.id == id)
    }

    /// Removes a leader; those who wait for it look again.
    pub(super) fn remove(&mut self, digest: &[u8; 32], id: LeaderId) -> Option<Leader> {
        self.end(digest, id, None)
    }

    /// The same; other replicas get to know how it ended.
    pub(super) fn end(
        &mut self,
        digest: &[u8; 32],
        id: LeaderId,
        state: Option<FlightState>,
    ) -> Option<Leader> {
        let flight = self.layers.get_mut(digest)?;
        let place = flight.leaders.iter().position(|leader| leader.id == id)?;
        let leader = flight.leaders.remove(place);
        self.leaders -= 1;
        flight.changed.send_replace(());
        if flight.leaders.is_empty() {
            self.layers.remove(digest);
        }
        match &leader.stage {
            Stage::Claimed(_) => self.forget_claim(&leader.pusher, id),
            Stage::Uploading(upload) => {
                self.sessions.remove(&upload.session);
            }
            Stage::Uploaded(_) => self.pushes.forget_uploaded(&leader.pusher.repository, id),
        }
        if leader.is_published
            && let Some(sharing) = &mut self.sharing
        {
            sharing.publish_end(*digest, &leader, state);
        }
        Some(leader)
    }

    pub(super) fn forget_claim(&mut self, pusher: &Pusher, id: LeaderId) {
        if let Some(claims) = self.claims.get_mut(pusher) {
            claims.retain(|(_, claim)| *claim != id);
            if claims.is_empty() {
                self.claims.remove(pusher);
            }
        }
    }

    /// Removes the leaders of a layer that did not go on.
    pub(super) fn drop_dead(&mut self, digest: &[u8; 32]) {
        let Some(flight) = self.layers.get(digest) else {
            return;
        };
        let has_waiting = flight.changed.receiver_count() > 0;
        let dead = flight.leaders.iter().filter(|leader| leader.is_dead());
        let dead: Vec<_> = dead.map(|leader| leader.id).collect();
        for id in dead {
            let removed = self.end(digest, id, Some(FlightState::Silent));
            if let Some(mistaken) = removed.as_ref().filter(|it| it.was_mistaken()) {
                self.odd.begin(OddLayer::of(&mistaken.pusher, *digest));
                continue;
            }
            let removed = removed.filter(|_| has_waiting);
            // No HEAD waited for a tentative claim.
            if let Some(leader) = removed.filter(|leader| !leader.is_tentative()) {
                self.dead.begin(leader.pusher);
            }
        }
    }

    pub(super) fn drop_all_dead(&mut self) {
        let digests: Vec<_> = self.layers.keys().copied().collect();
        for digest in digests {
            self.drop_dead(&digest);
        }
    }
}

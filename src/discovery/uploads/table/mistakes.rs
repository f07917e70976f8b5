//! Which upload session is that of which layer, where the first guess was wrong.
//!
//! A client that asked for several layers opens its sessions in any order, so a session is taken for
//! that of the oldest claim until a request names the layer. Some clients also upload layers for
//! which they did not ask, such as Docker's classic store the layer of a build. Then one layer more
//! arrives than was claimed, and the last session has no claim left.

use std::collections::HashMap;
use std::time::Instant;

use crate::discovery::uploads::Pusher;
use crate::discovery::uploads::leader::{Claim, LeaderId, Stage, Upload};
use crate::discovery::uploads::table::UploadTable;
use crate::discovery::uploads::upload_request::UploadPart;
use crate::oci::{Digest, RepositoryName};
use crate::util::Fingerprint;

/// The most sessions without a claim that are known.
const MOST_UNCLAIMED: usize = 1024;
/// So often a claim may be taken for that of another layer. After that it is not waited for: its
/// client compresses the layer anew, and the upload has another digest.
const MOST_MISTAKES: u8 = 2;

/// A layer that a client does not upload as it asked for it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OddLayer {
    client: OddClient,
    digest: [u8; 32],
}

/// Other clients may well upload the layer. A client has another token for each push.
#[derive(Debug, PartialEq, Eq, Hash)]
enum OddClient {
    Credential(Fingerprint),
    TokensFor(RepositoryName),
}

impl OddLayer {
    pub(super) fn of(pusher: &Pusher, digest: [u8; 32]) -> Self {
        let client = if pusher.is_token {
            OddClient::TokensFor(pusher.repository.clone())
        } else {
            OddClient::Credential(pusher.credential)
        };
        Self { client, digest }
    }
}

/// Upload sessions of clients that have no claim left.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    sessions: HashMap<Box<str>, (Pusher, Upload)>,
}

impl Unclaimed {
    pub(super) fn begin(&mut self, pusher: &Pusher, session: &str) {
        if self.sessions.len() >= MOST_UNCLAIMED {
            self.sessions.retain(|_, (_, upload)| !upload.is_silent());
        }
        if self.sessions.len() < MOST_UNCLAIMED {
            let upload = Upload::begin(session);
            self.sessions
                .insert(session.into(), (pusher.clone(), upload));
        }
    }

    pub(super) fn remove(&mut self, session: &str) -> Option<(Pusher, Upload)> {
        self.sessions.remove(session)
    }

    /// The client's oldest session that is alive.
    fn take_oldest(&mut self, pusher: &Pusher) -> Option<Upload> {
        let sessions = self.sessions.values();
        let alive = sessions.filter(|(its, upload)| its == pusher && !upload.is_silent());
        let (_, oldest) = alive.min_by_key(|(_, upload)| upload.began)?;
        let session = oldest.session.clone();
        self.remove(&session).map(|(_, upload)| upload)
    }
}

impl UploadTable {
    /// A request sends a part of the upload of a session without a claim. If it names a layer that
    /// another session of the client was taken for, the two change places.
    pub(super) fn request_unclaimed(
        &mut self,
        session: &str,
        digest: Option<&Digest>,
        length: Option<u64>,
    ) -> Option<UploadPart> {
        let (_, upload) = self.unclaimed.sessions.get_mut(session)?;
        upload.expect(length);
        let part = UploadPart {
            session: session.into(),
            progress: upload.progress.clone(),
        };
        if let Some(digest) = digest.map(Digest::bytes) {
            let (pusher, upload) = self.unclaimed.remove(session)?;
            self.assign(&pusher, digest, upload)?;
        }
        Some(part)
    }

    /// An upload is that of this layer, if its client claimed the layer.
    fn assign(&mut self, pusher: &Pusher, digest: [u8; 32], upload: Upload) -> Option<()> {
        let flight = self.layers.get(&digest)?;
        let mut leaders = flight.leaders.iter();
        let id = leaders
            .find(|it| it.pusher == *pusher && !it.is_uploaded())?
            .id;
        self.forget_claim(pusher, id);
        self.sessions.insert(upload.session.clone(), (digest, id));
        let before = self.replace_stage((digest, id), Stage::Uploading(upload));
        if let Some(Stage::Uploading(other)) = before {
            self.sessions.remove(&other.session);
            let session = other.session.clone();
            let unclaimed = &mut self.unclaimed.sessions;
            unclaimed.insert(session, (pusher.clone(), other));
        }
        self.publish(&digest, id);
        Some(())
    }

    /// The upload that was taken for that of a layer, and is that of another one. The layer gets
    /// another session of its client, or is only claimed again.
    pub(super) fn take_mistaken(&mut self, digest: [u8; 32], id: LeaderId) -> Option<Upload> {
        let flight = self.layers.get_mut(&digest)?;
        let leader = flight.leaders.iter_mut().find(|leader| leader.id == id)?;
        leader.mistaken += 1;
        let (pusher, mistaken) = (leader.pusher.clone(), leader.mistaken);
        if mistaken > MOST_MISTAKES {
            self.odd.begin(OddLayer::of(&pusher, digest));
            let Stage::Uploading(upload) = self.remove(&digest, id)?.stage else {
                return None;
            };
            return Some(upload);
        }
        let stage = if let Some(upload) = self.unclaimed.take_oldest(&pusher) {
            self.sessions.insert(upload.session.clone(), (digest, id));
            Stage::Uploading(upload)
        } else {
            let claims = self.claims.entry(pusher).or_default();
            claims.push((digest, id));
            Stage::Claimed(Claim {
                since: Instant::now(),
                // The registry has opened upload sessions for this client.
                is_proved: true,
                push: None,
            })
        };
        let before = self.replace_stage((digest, id), stage);
        self.publish(&digest, id);
        match before {
            Some(Stage::Uploading(upload)) => Some(upload),
            _ => None,
        }
    }
}

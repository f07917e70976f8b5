//! One upload that HEADs may wait for, and whether it is alive.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::discovery::redis::FlightId;
use crate::discovery::uploads::Pusher;
use crate::discovery::uploads::rates::rate;
use crate::util::Fingerprint;

/// A claim counts for so long, and an upload for so long after its last byte.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(2);
/// So long after the last request of its push an uploaded layer still waits for its manifest.
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// So many tokens of one push are known to be taken; a client gets few for a push.
const MOST_TOKENS: usize = 16;

/// Identifies a leader.
pub(super) type LeaderId = u64;

/// A client that will likely upload a layer, or does.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) id: LeaderId,
    pub(super) pusher: Pusher,
    pub(super) stage: Stage,
    /// One HEAD was let through because this upload is slow.
    pub(super) is_passed: bool,
    /// How often another layer arrived in the session that was taken for this one's.
    pub(super) mistaken: u8,
    /// Whether it is published for other replicas.
    pub(super) is_published: bool,
    pub(super) origin: Origin,
}

/// Through which replica a leader uploads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Here,
    Remote {
        id: FlightId,
        /// Whether its login can be compared with that of a client here.
        is_login_known: bool,
    },
}

impl Origin {
    pub(super) fn flight(self) -> Option<FlightId> {
        match self {
            Self::Here => None,
            Self::Remote { id, .. } => Some(id),
        }
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    /// A HEAD got 404.
    Claimed(Claim),
    Uploading(Upload),
    /// The registry has the layer, and mounts it elsewhere once a manifest names it. Shows whether
    /// the client's push goes on.
    Uploaded(Arc<Progress>),
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) since: Instant,
    /// Whether the client is proved to have push on the repository. No HEAD waits for another
    /// client before the registry has opened an upload session for it.
    pub(super) is_proved: bool,
    /// What shows that the registry is opening an upload session for the client.
    pub(super) push: Option<Arc<Progress>>,
}

#[derive(Debug)]
pub(super) struct Upload {
    pub(super) session: Box<str>,
    pub(super) began: Instant,
    /// The length of the whole, if a request has said it.
    pub(super) length: Option<u64>,
    pub(super) progress: Arc<Progress>,
}

/// How far an upload is.
#[derive(Debug)]
pub(super) struct Progress {
    origin: Instant,
    received: AtomicU64,
    /// Milliseconds from `origin` to the last byte.
    last: AtomicU64,
    /// Requests whose body is complete, and whose response is not there yet.
    unanswered: AtomicUsize,
    /// Requests for an upload session that the registry has not answered.
    opening: AtomicUsize,
    /// Milliseconds from `origin` to the last answer to one; 0 if there was none.
    opened: AtomicU64,
    /// The last tokens with which the registry took a write.
    proved: Mutex<VecDeque<Fingerprint>>,
}

impl Progress {
    pub(super) fn begin() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            received: AtomicU64::new(0),
            last: AtomicU64::new(0),
            unanswered: AtomicUsize::new(0),
            opening: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            proved: Mutex::default(),
        })
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        self.touch();
    }

    /// A body is complete: from now on the registry is at work.
    pub(super) fn complete_body(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        self.touch();
    }

    /// The registry responded to a complete body.
    pub(super) fn end_body(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        self.touch();
    }

    /// The client asks for an upload session.
    pub(super) fn begin_opening(&self) {
        self.opening.fetch_add(1, Ordering::Relaxed);
    }

    /// The registry answered. A client that was turned away likely asks again.
    pub(super) fn end_opening(&self) {
        self.opened.store(self.now(), Ordering::Relaxed);
        self.opening.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the registry took a write of the push with this token.
    pub(super) fn has_proved(&self, token: &Fingerprint) -> bool {
        self.proved.lock().contains(token)
    }

    /// The registry took a write of the push with this token.
    pub(super) fn prove(&self, token: Fingerprint) {
        let mut proved = self.proved.lock();
        if proved.len() >= MOST_TOKENS {
            proved.pop_front();
        }
        proved.push_back(token);
        drop(proved);
        self.touch();
    }

    fn is_opening(&self) -> bool {
        let opened = self.opened.load(Ordering::Relaxed);
        let since = self.origin + Duration::from_millis(opened);
        let was_opened = opened > 0 && since.elapsed() < SILENT_AFTER;
        self.opening.load(Ordering::Relaxed) > 0 || was_opened
    }

    fn touch(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_silent(&self, after: Duration) -> bool {
        let last = self.origin + Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.unanswered.load(Ordering::Relaxed) == 0 && last.elapsed() >= after
    }
}

impl Upload {
    /// The registry has opened an upload session.
    pub(super) fn begin(session: &str) -> Self {
        Self {
            session: session.into(),
            began: Instant::now(),
            length: None,
            progress: Progress::begin(),
        }
    }

    /// Another request of the upload has a body of this length.
    pub(super) fn expect(&mut self, length: Option<u64>) {
        if let Some(length) = length.filter(|length| *length > 0) {
            self.length = Some(self.progress.received() + length);
        }
    }

    /// Whether no byte has come for long.
    pub(super) fn is_silent(&self) -> bool {
        self.progress.is_silent(SILENT_AFTER)
    }

    /// The bytes a second so far; `None` if the upload has only just begun.
    pub(super) fn rate(&self) -> Option<f64> {
        rate(self.progress.received(), self.began.elapsed())
    }

    /// The bytes that are still to come, if the length is known.
    pub(super) fn missing(&self) -> Option<u64> {
        self.length
            .map(|length| length.saturating_sub(self.progress.received()))
    }
}

impl Leader {
    /// Whether it will likely not upload, or not go on.
    pub(super) fn is_dead(&self) -> bool {
        match &self.stage {
            Stage::Claimed(claim) => {
                let is_opening = claim.push.as_ref().is_some_and(|push| push.is_opening());
                claim.since.elapsed() >= SILENT_AFTER && !is_opening
            }
            Stage::Uploading(upload) => upload.is_silent(),
            Stage::Uploaded(push) => push.is_silent(IDLE_AFTER),
        }
    }

    /// Whether the client only asked for the layer, and is not proved to have push.
    pub(super) fn is_tentative(&self) -> bool {
        matches!(&self.stage, Stage::Claimed(claim) if !claim.is_proved)
    }

    /// Whether it is a claim for which another layer arrived.
    pub(super) fn was_mistaken(&self) -> bool {
        self.mistaken > 0 && matches!(self.stage, Stage::Claimed(_))
    }

    /// Whether the registry has the layer, and no manifest names it yet.
    pub(super) fn is_uploaded(&self) -> bool {
        matches!(self.stage, Stage::Uploaded(_))
    }

    pub(super) fn upload(&self) -> Option<&Upload> {
        match &self.stage {
            Stage::Claimed(_) | Stage::Uploaded(_) => None,
            Stage::Uploading(upload) => Some(upload),
        }
    }
}

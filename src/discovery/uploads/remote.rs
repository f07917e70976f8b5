//! Uploads through other replicas, as one HEAD sees them.
//!
//! They are kept for that HEAD alone. The table knows only when each of them last changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::discovery::redis::{Flight, FlightId, FlightState};
use crate::discovery::uploads::Pusher;
use crate::discovery::uploads::leader::{Claim, Leader, Origin, Progress, Stage, Upload};
use crate::oci::RepositoryName;
use crate::util::Fingerprints;

/// An upload that did not change for so long belongs to a replica that is gone: each replica publishes
/// its uploads each second. Clocks of replicas are not compared.
const GONE_AFTER: Duration = Duration::from_secs(3);
/// The most uploads of other replicas of which is known when they changed.
const MOST_HEARTBEATS: usize = 8 * 1024;

/// The uploads of a layer through other replicas.
#[derive(Debug, Default)]
pub(super) struct RemoteUploads {
    pub(super) leaders: Vec<Leader>,
    pub(super) arrivals: Vec<(FlightId, Arc<RepositoryName>)>,
    /// Clients that did not go on.
    pub(super) silent: Vec<(FlightId, Pusher)>,
    /// Uploads of replicas that are gone.
    pub(super) gone: Vec<FlightId>,
}

/// When uploads through other replicas changed.
#[derive(Debug)]
pub(super) struct Heartbeats(LruCache<FlightId, Heartbeat>);

#[derive(Debug)]
struct Heartbeat {
    beat: u64,
    since: Instant,
    /// One HEAD was let through because this upload is slow.
    is_passed: bool,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self(LruCache::unbounded())
    }
}

impl Heartbeats {
    /// Whether the replica of an upload is gone; and whether a HEAD was let through.
    fn record(&mut self, id: FlightId, beat: u64) -> (bool, bool) {
        let now = Instant::now();
        let first = || Heartbeat {
            beat,
            since: now,
            is_passed: false,
        };
        let heartbeat = self.0.get_or_insert_mut(id, first);
        if heartbeat.beat != beat {
            (heartbeat.beat, heartbeat.since) = (beat, now);
        }
        let seen = (heartbeat.since.elapsed() >= GONE_AFTER, heartbeat.is_passed);
        if self.0.len() > MOST_HEARTBEATS {
            self.0.pop_lru();
        }
        seen
    }

    pub(super) fn mark_passed(&mut self, id: FlightId) {
        if let Some(heartbeat) = self.0.get_mut(&id) {
            heartbeat.is_passed = true;
        }
    }
}

impl RemoteUploads {
    /// Sorts what was read, and leaves out the uploads of replicas that are gone.
    pub(super) fn sort(
        flights: Vec<(FlightId, Flight)>,
        heartbeats: &mut Heartbeats,
        fingerprints: &Fingerprints,
    ) -> Self {
        let mut remote = Self::default();
        for (id, flight) in flights {
            let (is_gone, is_passed) = heartbeats.record(id, flight.beat);
            if is_gone {
                remote.gone.push(id);
                continue;
            }
            match flight.state {
                FlightState::Arrived => {
                    let repository = Arc::new(flight.repository);
                    remote.arrivals.push((id, repository));
                }
                FlightState::Silent => {
                    let pusher = pusher_of(&flight, fingerprints);
                    remote.silent.push((id, pusher));
                }
                FlightState::Claimed | FlightState::Uploading => {
                    let leader = leader_of(id, &flight, fingerprints);
                    remote.leaders.push(Leader {
                        is_passed,
                        ..leader
                    });
                }
            }
        }
        remote
    }

    pub(super) fn ids(&self) -> Vec<FlightId> {
        let leaders = self.leaders.iter();
        leaders
            .filter_map(|leader| leader.origin.flight())
            .collect()
    }
}

/// The leader as it is now. If nothing more is heard of it, it dies as others do.
fn leader_of(id: FlightId, flight: &Flight, fingerprints: &Fingerprints) -> Leader {
    let now = Instant::now();
    let stage = if flight.state == FlightState::Claimed {
        Stage::Claimed(Claim {
            since: now,
            is_proved: true,
            push: None,
        })
    } else {
        let progress = Progress::begin();
        progress.add(flight.received);
        Stage::Uploading(Upload {
            session: Box::default(),
            began: now.checked_sub(flight.age).unwrap_or(now),
            length: flight.length,
            progress,
        })
    };
    Leader {
        id: 0,
        pusher: pusher_of(flight, fingerprints),
        stage,
        is_passed: false,
        mistaken: 0,
        is_published: false,
        origin: Origin::Remote {
            id,
            is_login_known: flight.login.is_some(),
        },
    }
}

/// A login that is not known counts as one login for each repository.
fn pusher_of(flight: &Flight, fingerprints: &Fingerprints) -> Pusher {
    let name = flight.repository.as_str().as_bytes();
    let unknown = || fingerprints.fingerprint(&[b"unknown login", name]);
    Pusher {
        repository: flight.repository.clone(),
        credential: flight.login.unwrap_or_else(unknown),
        is_token: flight.is_token,
    }
}

//! Uploads in flight, as replicas share them.

use std::fmt::Write;
use std::time::Duration;

use redis::{Pipeline, RedisResult, pipe};

use crate::discovery::redis::connection::RequestKind;
use crate::discovery::redis::queue::{Change, milliseconds};
use crate::discovery::redis::{Link, SharedIndex};
use crate::oci::RepositoryName;
use crate::util::{Fingerprint, Fingerprints};

/// The most uploads of a layer that are looked at. For each, access may have to be decided.
const MOST_FLIGHTS: usize = 64;
/// How long the uploads of a layer stay after the last word of any replica.
const FLIGHTS_COUNT_FOR: Duration = Duration::from_secs(5);
/// The longest value that is parsed: a name has 255 bytes, a fingerprint 64.
const LONGEST_VALUE: usize = 512;
/// Stands for what is not known.
const UNKNOWN: &str = "-";

/// What a server sent of a hash.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Identifies an upload: the replica, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlightId([u8; 16]);

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FlightState {
    /// A HEAD got 404, and its client may push.
    Claimed,
    Uploading,
    /// The repository holds the layer.
    Arrived,
    /// The client did not go on.
    Silent,
}

/// An upload, or the claim of one, as one replica sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) state: FlightState,
    /// Another number in each value: one that stays shows that the replica is gone.
    pub(crate) beat: u64,
    /// Since the upload began. No clock of one replica is compared with that of another.
    pub(crate) age: Duration,
    pub(crate) received: u64,
    pub(crate) length: Option<u64>,
    pub(crate) is_token: bool,
    /// The client's login, if the operator lets replicas share fingerprints.
    pub(crate) login: Option<Fingerprint>,
    pub(crate) repository: RepositoryName,
}

impl FlightId {
    pub(crate) fn new(replica: [u8; 8], number: u64) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&replica);
        id[8..].copy_from_slice(&number.to_be_bytes());
        Self(id)
    }

    pub(crate) fn is_of(&self, replica: [u8; 8]) -> bool {
        self.0[..8] == replica
    }
}

impl FlightState {
    const ALL: [Self; 4] = [Self::Claimed, Self::Uploading, Self::Arrived, Self::Silent];

    fn word(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Uploading => "uploading",
            Self::Arrived => "arrived",
            Self::Silent => "silent",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == text)
    }
}

impl Flight {
    /// One line of words.
    pub(super) fn encode(&self) -> String {
        let length = self.length.map(|length| length.to_string());
        let login = self.login.as_ref().map(hex);
        format!(
            "{} {} {} {} {} {} {} {}",
            self.state.word(),
            self.beat,
            milliseconds(self.age),
            self.received,
            length.as_deref().unwrap_or(UNKNOWN),
            if self.is_token { "token" } else { "login" },
            login.as_deref().unwrap_or(UNKNOWN),
            self.repository,
        )
    }

    /// `None` for all that no replica writes.
    fn parse(value: &[u8]) -> Option<Self> {
        if value.len() > LONGEST_VALUE {
            return None;
        }
        let words: Vec<_> = std::str::from_utf8(value).ok()?.split(' ').collect();
        let [state, beat, age, received, length, kind, login, repository] = words[..] else {
            return None;
        };
        Some(Self {
            state: FlightState::parse(state)?,
            beat: beat.parse().ok()?,
            age: Duration::from_millis(age.parse().ok()?),
            received: received.parse().ok()?,
            length: match length {
                UNKNOWN => None,
                length => Some(length.parse().ok()?),
            },
            is_token: match kind {
                "token" => true,
                "login" => false,
                _ => return None,
            },
            login: match login {
                UNKNOWN => None,
                login => Some(parse_fingerprint(login)?),
            },
            repository: RepositoryName::parse(repository)
                .ok()
                .filter(RepositoryName::is_mountable)?,
        })
    }
}

fn hex(fingerprint: &Fingerprint) -> String {
    let bytes = fingerprint.bytes().iter();
    bytes.fold(String::new(), |mut text, byte| {
        // A String takes all that is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse_fingerprint(text: &str) -> Option<Fingerprint> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(Fingerprint::from_bytes(bytes))
}

/// The flights among the fields that a server sent, which may be anything.
fn parse_flights(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(FlightId, Flight)> {
    let flights = fields.iter().take(MOST_FLIGHTS).filter_map(|(id, value)| {
        let id = FlightId(id.as_slice().try_into().ok()?);
        Some((id, Flight::parse(value)?))
    });
    flights.collect()
}

impl SharedIndex {
    /// Makes fingerprints that all replicas understand, if they may share them.
    pub(crate) fn fingerprints(&self) -> Option<&Fingerprints> {
        self.fingerprints.as_ref()
    }

    /// The uploads of a layer; `None` without a response.
    pub(crate) async fn fetch_flights(&self, digest: [u8; 32]) -> Option<Vec<(FlightId, Flight)>> {
        let key = self.connection.keys().flights(&digest);
        let fetched = self
            .connection
            .request(RequestKind::Read, |link| fetch(link, key));
        Some(parse_flights(&fetched.await?))
    }

    /// Adds a claim, and returns it with all that were there before it: of two replicas that claim
    /// at the same moment, one sees the other's. `None` without a response.
    pub(crate) async fn claim_flight(
        &self,
        digest: [u8; 32],
        id: FlightId,
        claim: &Flight,
    ) -> Option<Vec<(FlightId, Flight)>> {
        let key = self.connection.keys().flights(&digest);
        let mut commands = pipe();
        commands.atomic();
        add_flight(&mut commands, &key, id, claim);
        commands.cmd("HGETALL").arg(key);
        let claimed = self
            .connection
            .request(RequestKind::Write, |mut link| async move {
                commands.query_async::<(Fields,)>(&mut link).await
            });
        Some(parse_flights(&claimed.await?.0))
    }

    /// Records how far an upload is.
    pub(crate) fn record_flight(&self, digest: [u8; 32], id: FlightId, flight: Flight) {
        self.push(Change::Flight(digest, id, flight));
    }

    /// Forgets an upload.
    pub(crate) fn forget_flight(&self, digest: [u8; 32], id: FlightId) {
        self.push(Change::NoFlight(digest, id));
    }
}

async fn fetch(mut link: Link, key: Vec<u8>) -> RedisResult<Fields> {
    redis::cmd("HGETALL").arg(key).query_async(&mut link).await
}

pub(super) fn add_flight(commands: &mut Pipeline, key: &[u8], id: FlightId, flight: &Flight) {
    let command = commands.cmd("HSET").arg(key).arg(&id.0[..]);
    command.arg(flight.encode()).ignore();
    let command = commands.cmd("EXPIRE").arg(key);
    command.arg(FLIGHTS_COUNT_FOR.as_secs()).ignore();
}

pub(super) fn remove_flight(commands: &mut Pipeline, key: &[u8], id: FlightId) {
    commands.cmd("HDEL").arg(key).arg(&id.0[..]).ignore();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight() -> Flight {
        Flight {
            state: FlightState::Uploading,
            beat: 7,
            age: Duration::from_millis(1500),
            received: 1 << 40,
            length: Some(1 << 41),
            is_token: true,
            login: Some(Fingerprint::from_bytes([0xa5; 32])),
            repository: RepositoryName::parse("team/app").unwrap(),
        }
    }

    #[test]
    fn what_one_replica_writes_another_reads() {
        let bare = Flight {
            length: None,
            is_token: false,
            login: None,
            ..flight()
        };
        for flight in [flight(), bare] {
            for state in FlightState::ALL {
                let flight = Flight {
                    state,
                    ..flight.clone()
                };
                let value = flight.encode();
                assert_eq!(Flight::parse(value.as_bytes()), Some(flight), "{value}");
            }
        }
    }

    #[test]
    fn what_no_replica_writes_is_no_upload() {
        let good = flight().encode();
        for (part, other) in [
            ("uploading", "Uploading"),
            ("uploading", ""),
            (" 7 ", " -7 "),
            (" 7 ", "  7 "),
            (" 1500 ", " 99999999999999999999 "),
            (" 1500 ", " 1.5 "),
            (" token ", " cookie "),
            (" a5", " b"),
            (" a5", " +5"),
            ("team/app", "Team/App"),
            ("team/app", "../../etc"),
            ("team/app", "team/app "),
            ("team/app", "team/app\n"),
            ("team/app", ""),
        ] {
            let value = good.replacen(part, other, 1);
            assert_ne!(value, good);
            assert_eq!(Flight::parse(value.as_bytes()), None, "{value:?}");
        }
        let long = format!("{good}{}", "a".repeat(LONGEST_VALUE));
        for value in [&b""[..], b"\xff\xfe", long.as_bytes()] {
            assert_eq!(Flight::parse(value), None);
        }
    }

    #[test]
    fn no_more_uploads_are_looked_at_than_the_bound() {
        let field = |number: u64| {
            let id = FlightId::new([1; 8], number);
            (id.0.to_vec(), flight().encode().into_bytes())
        };
        let mut fields: Vec<_> = (0..1000).map(field).collect();
        assert_eq!(parse_flights(&fields).len(), MOST_FLIGHTS);
        fields[0].0.push(0);
        fields[1].0.clear();
        assert_eq!(parse_flights(&fields).len(), MOST_FLIGHTS - 2);
    }

    #[test]
    fn an_upload_is_of_the_replica_that_wrote_it() {
        let id = FlightId::new([1; 8], 2);
        assert!(id.is_of([1; 8]) && !id.is_of([2; 8]));
        assert_ne!(id, FlightId::new([1; 8], 3));
    }
}

//! What replicas share through Redis or Valkey, and where it is.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::leaf::{parse_positive_span, parsed, span};
use crate::config::{RedisUrl, Secret};

/// A request waits for Redis for so long: a longer wait would cost more than it saves.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The shortest key of fingerprints: a shorter one may be guessed.
const SHORTEST_KEY: usize = 32;
/// The longest prefix of keys.
const LONGEST_PREFIX: usize = 64;

/// A Redis or Valkey through which replicas share what they know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct RedisConfig {
    /// Where it is, and the login.
    pub url: RedisUrl,
    /// The beginning of every key.
    #[serde(default = "crossmounts", deserialize_with = "prefix")]
    pub prefix: String,
    /// A file with the roots that its certificate is checked against, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<PathBuf>,
    /// How long a request waits for it.
    #[serde(
        default = "fifty_milliseconds",
        deserialize_with = "wait",
        serialize_with = "span::serialize"
    )]
    pub timeout: Duration,
    /// The key of the fingerprints of logins. Without one, uses of logins are not shared.
    #[serde(
        default,
        deserialize_with = "key",
        skip_serializing_if = "Option::is_none"
    )]
    pub fingerprint_key: Option<Secret<String>>,
}

fn crossmounts() -> String {
    "crossmount:".to_owned()
}

fn fifty_milliseconds() -> Duration {
    Duration::from_millis(50)
}

fn prefix<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    parsed(value, |text| {
        // Braces would decide which node of a cluster has a key: one node would have them all.
        let is_plain = |letter: u8| letter.is_ascii_graphic() && !matches!(letter, b'{' | b'}');
        let is_right = (1..=LONGEST_PREFIX).contains(&text.len()) && text.bytes().all(is_plain);
        is_right.then(|| text.to_owned()).ok_or_else(|| {
            "must have 1 to 64 characters of printable ASCII, without spaces and braces".to_owned()
        })
    })
}

fn wait<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    parsed(value, |text| match parse_positive_span(text)? {
        wait if wait > LONGEST_WAIT => {
            Err("must not be longer than 1s: a request waits for as long".to_owned())
        }
        wait => Ok(wait),
    })
}

fn key<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Secret<String>>, D::Error> {
    parsed(value, |text| {
        let is_long = text.chars().count() >= SHORTEST_KEY;
        is_long
            .then(|| Some(Secret::from(text.to_owned())))
            .ok_or_else(|| {
                "must have 32 characters or more, such as those of: openssl rand -hex 32".to_owned()
            })
    })
}

//! Webhooks, as in distribution's own `notifications.endpoints`.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::leaf::{parse_span, parsed, span};
use crate::config::secret::{MASK, host_of};

/// distribution's defaults, also for a zero (`notifications/endpoint.go`).
const SECOND: Duration = Duration::from_secs(1);
const THRESHOLD: u32 = 10;

/// A webhook that receives events of mounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct EndpointConfig {
    /// Its name in the log and the metrics.
    pub name: String,
    /// The address for events. Behind the host, it is often a secret itself.
    #[serde(deserialize_with = "address", serialize_with = "masked_address")]
    pub url: String,
    /// Headers of each event; their values may be secret.
    #[serde(
        default,
        deserialize_with = "headers",
        serialize_with = "masked_headers"
    )]
    pub headers: HeaderMap,
    /// How long one attempt may take.
    #[serde(
        default = "second",
        deserialize_with = "span_or_second",
        serialize_with = "span::serialize"
    )]
    pub timeout: Duration,
    /// After so many failed attempts in a row, each further one waits for the backoff.
    #[serde(default = "ten", deserialize_with = "number_or_ten")]
    pub threshold: u32,
    /// The pause between attempts after that.
    #[serde(
        default = "second",
        deserialize_with = "span_or_second",
        serialize_with = "span::serialize"
    )]
    pub backoff: Duration,
    /// Events that are not sent to it.
    #[serde(default)]
    pub ignore: IgnoredEvents,
}

/// Events that are not sent to an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct IgnoredEvents {
    /// Events about these media types.
    pub mediatypes: Vec<String>,
    /// Events of these actions.
    pub actions: Vec<String>,
}

fn second() -> Duration {
    SECOND
}

fn ten() -> u32 {
    THRESHOLD
}

fn span_or_second<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    let span = parsed(value, parse_span)?;
    Ok(if span.is_zero() { SECOND } else { span })
}

fn number_or_ten<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(value)?;
    Ok(if number == 0 { THRESHOLD } else { number })
}

/// Parses the URL as the HTTP client does. An invalid one is not quoted: it may hold a secret.
fn address<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    let is_right = |url: &Url| {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_web && url.username().is_empty() && url.password().is_none()
    };
    parsed(value, |text| {
        let url = Url::parse(text).ok().filter(is_right);
        let url = url.map(|url| url.to_string());
        url.ok_or_else(|| "is not http:// or https:// with a host and no user".to_owned())
    })
}

fn masked_address<S: Serializer>(url: &str, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&host_of(url))
}

fn headers<'de, D: Deserializer<'de>>(value: D) -> Result<HeaderMap, D::Error> {
    let mut headers = HeaderMap::new();
    for (name, values) in BTreeMap::<String, Vec<String>>::deserialize(value)? {
        let parsed = HeaderName::try_from(&name)
            .map_err(|_| D::Error::custom(format!("{name:?} is not a header name")))?;
        for value in values {
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                D::Error::custom(format!("the value of {name} is not a valid header value"))
            })?;
            value.set_sensitive(true);
            headers.append(parsed.clone(), value);
        }
    }
    Ok(headers)
}

fn masked_headers<S: Serializer>(headers: &HeaderMap, out: S) -> Result<S::Ok, S::Error> {
    let masks = |name| headers.get_all(name).iter().map(|_| MASK).collect();
    let masked = headers.keys().map(|name| (name.as_str(), masks(name)));
    out.collect_map::<_, Vec<_>, _>(masked)
}

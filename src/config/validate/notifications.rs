//! Who is told of mounts.

use std::collections::HashSet;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::schema;
use crate::config::validate::single::{invalid, span};
use crate::config::{ConfigError, Endpoint};

const SETTING: &str = "notifications.endpoints";
/// What distribution takes if nothing is said, or zero (`notifications/endpoint.go`).
const SECOND: Duration = Duration::from_secs(1);
const THRESHOLD: u32 = 10;

pub(crate) fn validate(file: &schema::Notifications) -> Result<Vec<Endpoint>, ConfigError> {
    let mut names = HashSet::new();
    let mut endpoints = Vec::new();
    for (number, settings) in file.endpoints.iter().enumerate() {
        // The registry reads nothing else of it then (`registry/handlers/app.go`).
        if settings.disabled == Some(true) {
            continue;
        }
        let endpoint = endpoint(settings, number + 1)?;
        if !names.insert(endpoint.name.clone()) {
            let reason = format!("two are called {:?}", endpoint.name);
            return Err(invalid(SETTING, reason));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn endpoint(file: &schema::Endpoint, number: usize) -> Result<Endpoint, ConfigError> {
    let name = file.name.clone().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid(SETTING, format!("number {number} has no name")))?;
    let wrong = |reason: String| invalid(SETTING, format!("{name}: {reason}"));
    let Some(url) = file.url.as_deref().and_then(address) else {
        // It may hold a secret.
        let reason = "url is not http:// or https:// with a host and no user";
        return Err(wrong(reason.to_owned()));
    };
    let span = |key: &str, text: Option<&str>| {
        let named = span(SETTING, text, SECOND).map_err(|error| match error {
            ConfigError::Invalid { reason, .. } => wrong(format!("{key} {reason}")),
            error => error,
        });
        named.map(|span| if span.is_zero() { SECOND } else { span })
    };
    let threshold = file.threshold.filter(|threshold| *threshold > 0);
    let ignore = file.ignore.as_ref();
    let media_types = ignore.map_or(&[][..], |ignore| &ignore.mediatypes);
    Ok(Endpoint {
        url,
        headers: headers(file).map_err(wrong)?,
        timeout: span("timeout", file.timeout.as_deref())?,
        threshold: threshold.unwrap_or(THRESHOLD),
        backoff: span("backoff", file.backoff.as_deref())?,
        ignored_media_types: [media_types, &file.ignoredmediatypes].concat(),
        ignored_actions: ignore.map_or_else(Vec::new, |ignore| ignore.actions.clone()),
        name,
    })
}

/// As whoever sends to it reads it.
fn address(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_nobodys = url.username().is_empty() && url.password().is_none();
    (is_web && is_nobodys).then(|| url.to_string())
}

/// Their values are never shown.
fn headers(file: &schema::Endpoint) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in &file.headers {
        let parsed = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header"))?;
        for value in values {
            let value = HeaderValue::try_from(value);
            let mut value =
                value.map_err(|_| format!("the value of {name} is none of a header"))?;
            value.set_sensitive(true);
            headers.append(parsed.clone(), value);
        }
    }
    Ok(headers)
}

//! The configuration that is in effect, as a file that says it all: for people to read.
//!
//! It is made from the valid [`Config`], so that defaults, environment and flags are in it, and
//! written in the file's own shape, so that its keys are the documented ones. What could be a
//! credential is masked. Only settings that have an effect here are shown: the text is a valid
//! configuration itself, but for what is masked.

mod kind;

use std::path::Path;
use std::time::Duration;

use serde_yaml::Value;

use crate::config::schema::{self, File};
use crate::config::{Config, Http2, LogFormat, Upstream};

/// Stands where a value is not shown.
const MASK: &str = "(masked)";

/// The configuration in effect as YAML, by the documented names. No secret is in it: values of
/// `upstream.response_headers`, logins in URLs, and headers and paths of endpoints are masked. Paths of files are shown.
#[must_use]
pub fn effective(config: &Config) -> String {
    let tree = serde_yaml::to_value(file(config)).map(without_nothing);
    let text = tree.and_then(|tree| serde_yaml::to_string(&tree));
    // Cannot happen with this shape; a page without this part is better than none.
    text.unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

fn file(config: &Config) -> File {
    // Part by part, so that a new one cannot be forgotten here.
    let Config {
        listen,
        header_timeout,
        http2,
        tls,
        admin,
        upstream,
        kind,
        token_endpoint,
        shutdown,
        log,
        warnings: _,
    } = config;
    let mut file = File {
        listen: schema::Listen {
            address: Some(listen.to_string()),
            header_timeout: span(*header_timeout),
            http2: Some(*http2 == Http2::OverTls),
            h2c: Some(*http2 == Http2::PriorKnowledge),
            tls: tls.as_ref().map(|files| schema::Tls {
                certificate: path(&files.certificate),
                key: path(&files.key),
            }),
        },
        admin: schema::Admin {
            address: Some(admin.to_string()),
        },
        upstream: self::upstream(upstream),
        shutdown: schema::Shutdown {
            drain_delay: span(shutdown.drain_delay),
            timeout: span(shutdown.timeout),
        },
        log: schema::Log {
            level: Some(log.level.to_string().to_lowercase()),
            format: word(match log.format {
                LogFormat::Json => "json",
                LogFormat::Text => "text",
            }),
        },
        ..File::default()
    };
    kind::sections(&mut file, kind);
    if let Some(endpoint) = token_endpoint {
        file.token_endpoint = schema::TokenEndpoint {
            path: Some(endpoint.path.clone()),
            cache: schema::TokenCache {
                enabled: Some(endpoint.remembered_for.is_some()),
                ttl: endpoint.remembered_for.and_then(span),
            },
        };
        file.discovery.widen_scopes = Some(endpoint.widens_scopes);
    }
    file
}

fn upstream(upstream: &Upstream) -> schema::Upstream {
    let headers = upstream.response_headers.iter();
    let client = upstream.client_certificate.as_ref();
    let masked = |values: &Vec<String>| vec![MASK.to_owned(); values.len()];
    schema::Upstream {
        url: Some(without_login(&upstream.url.to_string())),
        ca_certificate: upstream.ca_certificate.as_deref().and_then(path),
        client_certificate: client.and_then(|files| path(&files.certificate)),
        client_key: client.and_then(|files| path(&files.key)),
        external_url: upstream.external_url.as_deref().map(without_login),
        relative_urls: Some(upstream.relative_urls),
        prefix: Some(upstream.prefix.clone()),
        response_headers: headers
            .map(|(name, values)| (name.clone(), masked(values)))
            .collect(),
        timeouts: schema::Timeouts {
            connect: span(upstream.timeouts.connect),
            read: span(upstream.timeouts.read),
            write: span(upstream.timeouts.write),
            idle: span(upstream.timeouts.idle),
        },
        trusted_proxies: texts(&upstream.trusted_proxies),
        ..schema::Upstream::default()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "settings of a file are optional")]
fn word(word: &str) -> Option<String> {
    Some(word.to_owned())
}

fn path(path: &Path) -> Option<String> {
    word(&path.to_string_lossy())
}

fn span(span: Duration) -> Option<String> {
    word(&humantime::format_duration(span).to_string())
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// The text with `user:password@` of a URL masked. What is taken as a URL elsewhere has no login,
/// but names such as a token's issuer may be any text.
pub(crate) fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{MASK}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// A URL with everything behind its host masked.
fn host_of(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    match url[start..].find(['/', '?', '#']) {
        Some(end) if start + end + 1 < url.len() => format!("{}/{MASK}", &url[..start + end]),
        _ => url.to_owned(),
    }
}

/// Leaves out what is not set, and sections in which nothing is.
fn without_nothing(tree: Value) -> Value {
    let Value::Mapping(mapping) = tree else {
        return tree;
    };
    let kept = mapping
        .into_iter()
        .map(|(key, value)| (key, without_nothing(value)))
        .filter(|(key, value)| match value {
            Value::Null => false,
            // An empty list is every list's default but for this one's: then nothing is mended.
            Value::Sequence(values) => !values.is_empty() || key == "statuses",
            Value::Mapping(mapping) => !mapping.is_empty(),
            _ => true,
        });
    Value::Mapping(kept.collect())
}

#[cfg(test)]
mod tests;

//! A mount's event, as distribution writes it (`notifications/event.go`).

use std::time::SystemTime;

use serde::Serialize;
use uuid::Uuid;

use crate::oci::{BlobRef, RepositoryName};

/// The media type that distribution gives every blob.
pub(crate) const BLOB: &str = "application/octet-stream";
/// The event's action.
pub(crate) const ACTION: &str = "mount";

/// A mounted layer.
#[derive(Debug)]
pub(crate) struct Event {
    /// The layer in the repository into which it was mounted.
    pub target: BlobRef,
    pub source: RepositoryName,
    /// The layer's length in bytes.
    pub size: u64,
    /// The Location that the client got.
    pub url: String,
    /// The caller's name, if it is known.
    pub user: Option<String>,
    pub request: EventRequest,
}

/// The client's request, as an event describes it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventRequest {
    /// The request's identifier.
    pub id: String,
    /// The client's address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub addr: String,
    /// The Host that the client named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    pub method: String,
    /// The User-Agent.
    #[serde(rename = "useragent")]
    pub user_agent: String,
}

/// The process that sends an event.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventSource {
    addr: String,
    #[serde(rename = "instanceID")]
    instance: Uuid,
}

/// One event, in the envelope of a request's body.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope<'a> {
    events: [Record<'a>; 1],
}

#[derive(Debug, Serialize)]
struct Record<'a> {
    id: Uuid,
    timestamp: String,
    action: &'static str,
    target: EventTarget<'a>,
    request: &'a EventRequest,
    actor: Actor<'a>,
    source: &'a EventSource,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventTarget<'a> {
    media_type: &'static str,
    size: u64,
    digest: &'a str,
    length: u64,
    repository: &'a str,
    from_repository: &'a str,
    url: &'a str,
}

#[derive(Debug, Serialize)]
struct Actor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl EventSource {
    pub(crate) fn new(listen: &str) -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let port = listen.rsplit_once(':').map_or("", |(_, port)| port);
        Self {
            addr: format!("{host}:{port}"),
            instance: Uuid::new_v4(),
        }
    }
}

impl<'a> Envelope<'a> {
    pub(crate) fn of(event: &'a Event, source: &'a EventSource) -> Self {
        Self {
            events: [Record {
                id: Uuid::new_v4(),
                timestamp: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
                action: ACTION,
                target: EventTarget {
                    media_type: BLOB,
                    size: event.size,
                    digest: event.target.digest.as_str(),
                    length: event.size,
                    repository: event.target.repository.as_str(),
                    from_repository: event.source.as_str(),
                    url: &event.url,
                },
                request: &event.request,
                actor: Actor {
                    name: event.user.as_deref(),
                },
                source,
            }],
        }
    }
}

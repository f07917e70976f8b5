//! The request's identifier, which the registry, the log and events share.

use http::HeaderName;
use pingora::http::RequestHeader;

use crate::notifications::EventRequest;
use crate::telemetry::request_id::RequestId;

/// The longest header value in an event, in bytes: many events may be queued.
const LONGEST: usize = 256;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Keeps the identifier in the head, or else inserts the new one.
pub(crate) fn assign(head: &mut RequestHeader, new: RequestId) -> RequestId {
    if let Some(given) = from_header(head) {
        return given;
    }
    // Only a value with control characters is refused, and a new identifier has none.
    if let Err(error) = head.insert_header("X-Request-Id", new.as_str()) {
        tracing::debug!(%error, "request id not forwarded");
    }
    new
}

/// The request as an event describes it, by distribution's rules (`notifications/bridge.go`,
/// `NewRequestRecord`). The first address that proxies name is the client's, and the last proxy is
/// crossmount.
pub(crate) fn event_request(head: &RequestHeader, id: &RequestId) -> EventRequest {
    let text = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        // The value is ASCII, so a cut falls between characters.
        let value = value.unwrap_or_default();
        value[..value.len().min(LONGEST)].to_owned()
    };
    let forwarded = text("x-forwarded-for");
    let client = forwarded.split(',').next().unwrap_or_default();
    EventRequest {
        id: id.as_str().to_owned(),
        addr: client.trim().to_owned(),
        host: text("host"),
        method: head.method.to_string(),
        user_agent: text("user-agent"),
    }
}

/// The client's identifier, if there is exactly one and the log can hold it.
fn from_header(head: &RequestHeader) -> Option<RequestId> {
    let mut all = head.headers.get_all(REQUEST_ID).iter();
    let first = all.next()?;
    if all.next().is_some() {
        return None;
    }
    RequestId::parse(first.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(given: &[&str]) -> (RequestId, Vec<String>) {
        let mut head = RequestHeader::build("GET", b"/v2/", None).unwrap();
        for value in given {
            head.append_header("X-Request-Id", *value).unwrap();
        }
        let name = assign(&mut head, RequestId::parse("new").unwrap());
        let passed = head.headers.get_all(REQUEST_ID).iter();
        let passed = passed.map(|value| value.to_str().unwrap().to_owned());
        (name, passed.collect())
    }

    #[test]
    fn one_usable_name_is_kept_and_anything_else_is_replaced() {
        for (given, kept) in [
            (&["theirs"][..], "theirs"),
            (&[], "new"),
            (&[""], "new"),
            (&["two words"], "new"),
            (&["one", "other"], "new"),
        ] {
            let (name, passed) = named(given);
            assert_eq!(name.as_str(), kept, "{given:?}");
            assert_eq!(passed, [kept], "{given:?}");
        }
    }
}

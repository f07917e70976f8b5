//! The name by which a request is known to everybody on its way.

use http::HeaderName;
use pingora::http::RequestHeader;

use crate::notifications::EventRequest;
use crate::telemetry::request_id::RequestId;

/// Bytes of what a client says of itself that an event keeps: many events may have to wait.
const LONGEST: usize = 256;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Takes the name that stands in the head, or else puts the new one there.
pub(crate) fn assign(head: &mut RequestHeader, new: RequestId) -> RequestId {
    if let Some(given) = from_header(head) {
        return given;
    }
    // Only a value with control characters is refused, and a new name has none.
    if let Err(error) = head.insert_header("X-Request-Id", new.as_str()) {
        tracing::debug!(%error, "a request goes on without a name");
    }
    new
}

/// What an event says of a request, as distribution says it (`notifications/bridge.go`,
/// `NewRequestRecord`): the first address that proxies name is the client's, and the last proxy
/// is crossmount.
pub(crate) fn event_request(head: &RequestHeader, id: &RequestId) -> EventRequest {
    let text = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        // Only letters of one byte are in it.
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

/// The one name that is given and can be written down.
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

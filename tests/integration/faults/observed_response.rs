//! What a client sees of an upstream's answer, and how two views of it compare.

use crate::support;
use serde_json::Value;
use support::raw_http::{Answer, Connection, Request};

/// What came before the connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObservedResponse {
    /// No head of an answer that can be read.
    Nothing,
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        /// The body ended as its head or its chunks say, and not before.
        is_whole: bool,
    },
}

/// Belong to one hop, and not to the answer.
const HOP: &[&str] = &["Connection", "Transfer-Encoding", "Keep-Alive", "Date"];

/// Sends a request and takes whatever comes.
pub fn send_and_observe(port: u16, method: &str, request: &Request) -> ObservedResponse {
    let mut connection = Connection::to(port).expect("a connection");
    // An upstream or sidecar that has answered already may hang up on the rest of the body.
    let _ = connection.write(&request.bytes(port));
    observe(&mut connection, method)
}

/// Takes one answer; interim ones are passed over.
pub fn observe(connection: &mut Connection, method: &str) -> ObservedResponse {
    let head = loop {
        match connection.head() {
            Ok(head) if (100..200).contains(&head.status) => {}
            Ok(head) => break head,
            Err(_) => return ObservedResponse::Nothing,
        }
    };
    let mut body = Vec::new();
    let has_none = method == "HEAD" || [204, 304].contains(&head.status);
    let is_whole = has_none
        || connection
            .body(&head, |piece| body.extend_from_slice(piece))
            .is_ok();
    ObservedResponse::Answer {
        status: head.status,
        headers: essential(&head),
        body,
        is_whole,
    }
}

fn essential(head: &Answer) -> Vec<(String, String)> {
    let mut headers = head.headers.clone();
    headers.retain(|(name, _)| !HOP.iter().any(|hop| hop.eq_ignore_ascii_case(name)));
    headers.sort();
    headers
}

impl ObservedResponse {
    /// The status of an answer that the sidecar gives where the upstream gave none.
    pub fn own_failure(&self) -> Option<u16> {
        let Self::Answer {
            status,
            body,
            is_whole: true,
            headers,
        } = self
        else {
            return None;
        };
        let is_json = headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("Content-Type") && value.starts_with("application/json")
        });
        // The answer to a HEAD has no body.
        let is_error = body.is_empty()
            || serde_json::from_slice::<Value>(body)
                .is_ok_and(|body| body["errors"][0]["code"] == "UNAVAILABLE");
        ([502, 503, 504].contains(status) && is_json && is_error).then_some(*status)
    }

    /// Whether `through` is what is to be seen through the sidecar of what is this without it;
    /// a reset loses what is on its way.
    pub fn is_shown_as(&self, through: &Self, is_reset: bool) -> bool {
        let (
            Self::Answer {
                status,
                headers,
                body,
                is_whole,
            },
            Self::Answer {
                status: status_through,
                headers: headers_through,
                body: body_through,
                is_whole: is_whole_through,
            },
        ) = (self, through)
        else {
            return *self == Self::Nothing && through.own_failure() == Some(502);
        };
        let is_lossy = is_reset && !is_whole;
        let is_same_body = body == body_through
            || is_lossy && (body.starts_with(body_through) || body_through.starts_with(body));
        status == status_through
            && headers == headers_through
            && is_whole == is_whole_through
            && is_same_body
    }
}

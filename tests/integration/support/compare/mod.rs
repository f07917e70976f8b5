//! Two registries with the same content, one of them behind the sidecar, and a comparison of their
//! responses.

pub mod ambiguous_mounts;
pub mod credentials;

use crate::support::raw_http::{Answer, Connection};
use crate::support::registry::Registry;
use crate::support::sidecar::Sidecar;
use std::fmt::Debug;

pub struct RegistryPair {
    pub alone: Registry,
    pub behind: Registry,
    pub sidecar: Sidecar,
}

/// An answer without what differs from one request to the next.
#[derive(Debug, PartialEq, Eq)]
pub struct ComparableResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl RegistryPair {
    /// Both registries, and the sidecar with its store verified.
    pub fn start() -> Self {
        let (alone, behind) = (Registry::start(), Registry::start());
        let sidecar = Sidecar::with_verified_store(&behind);
        Self {
            alone,
            behind,
            sidecar,
        }
    }

    /// Does the same to both registries, past the sidecar.
    pub fn prepare(&self, make: impl Fn(&Registry)) {
        make(&self.alone);
        make(&self.behind);
    }

    /// Sends the same bytes to the registry alone and through the sidecar.
    pub fn both(&self, request: &str) -> (ComparableResponse, ComparableResponse) {
        let ask = |port| essence(&send_raw(port, request.as_bytes()));
        (ask(self.alone.port), ask(self.sidecar.port))
    }
}

/// Sends raw bytes and reads one answer.
pub fn send_raw(port: u16, request: &[u8]) -> Answer {
    let method = request.split(|byte| *byte == b' ').next().unwrap();
    let method = String::from_utf8_lossy(method);
    let mut connection = Connection::to(port).unwrap();
    connection.write(request).unwrap();
    connection
        .answer(&method)
        .unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(request)))
}

pub fn essence(answer: &Answer) -> ComparableResponse {
    let session = answer.header("Docker-Upload-Uuid").map(str::to_owned);
    let clean = |text: &str| {
        let text = match &session {
            Some(session) => text.replace(session, "SESSION"),
            None => text.to_owned(),
        };
        match text.split_once("_state=") {
            Some((before, _)) => format!("{before}_state=…"),
            None => text,
        }
    };
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        // Connection and Transfer-Encoding belong to one hop, not to the answer.
        .filter(|(name, _)| !["Date", "Connection", "Transfer-Encoding"].contains(&&**name))
        .map(|(name, value)| (name.clone(), clean(value)))
        .collect();
    headers.sort();
    ComparableResponse {
        status: answer.status,
        headers,
        body: answer.text(),
    }
}

/// Collects what differs, so that one run shows all of it.
#[derive(Default)]
pub struct Differences(Vec<String>);

impl Differences {
    pub fn compare<T: PartialEq + Debug>(&mut self, what: &str, wanted: &T, got: &T) {
        if wanted != got {
            self.0
                .push(format!("{what}\n  wanted: {wanted:?}\n  got:    {got:?}"));
        }
    }

    #[track_caller]
    pub fn assert_none(self) {
        let found = self.0;
        assert!(
            found.is_empty(),
            "{} differ:\n{}",
            found.len(),
            found.join("\n")
        );
    }
}

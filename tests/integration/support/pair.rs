//! Two registries prepared alike, one of them behind the sidecar, and a way to compare what they say.

use super::registry::Registry;
use super::sidecar::Sidecar;
use super::wire::{Answer, Connection};
use std::fmt::Debug;

pub struct Pair {
    pub alone: Registry,
    pub behind: Registry,
    pub sidecar: Sidecar,
}

/// An answer without what differs from one request to the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Essence {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Pair {
    /// Both registries, and the sidecar with its store proved.
    pub fn start() -> Self {
        let (alone, behind) = (Registry::start(), Registry::start());
        let sidecar = Sidecar::proved(&behind);
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
    pub fn both(&self, request: &str) -> (Essence, Essence) {
        let ask = |port| essence(&exchange(port, request.as_bytes()));
        (ask(self.alone.port), ask(self.sidecar.port))
    }
}

/// Sends raw bytes and reads one answer.
pub fn exchange(port: u16, request: &[u8]) -> Answer {
    let method = request.split(|byte| *byte == b' ').next().unwrap();
    let method = String::from_utf8_lossy(method);
    let mut connection = Connection::to(port).unwrap();
    connection.write(request).unwrap();
    connection
        .answer(&method)
        .unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(request)))
}

pub fn essence(answer: &Answer) -> Essence {
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
    Essence {
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
    pub fn none(self) {
        let found = self.0;
        assert!(
            found.is_empty(),
            "{} differ:\n{}",
            found.len(),
            found.join("\n")
        );
    }
}

//! What is said in confidence, and a search for it.

use super::raw_http::Answer;
use super::registry_client::Client;
use super::sidecar::Sidecar;
use super::{base64, raw_http, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Level and format of the log.
pub const LOGS: [(&str, &str); 2] = [("trace", "json"), ("debug", "text")];
pub const STATE: &str = "_state=";

/// Everything that must not be said again.
#[derive(Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Keeps a text, its words, and the parts of a token among them.
    pub fn keep(&mut self, text: &str) {
        let parts = text.split([' ', '.', ',', '"', '=', ':']);
        let parts = parts.chain(text.split(' ')).chain([text]);
        let long = parts.filter(|part| part.len() >= 10);
        self.0.extend(long.map(str::to_owned));
    }

    /// A client with this Authorization, which is a secret from now on.
    pub fn client(&mut self, port: u16, authorization: &str) -> Client {
        self.keep(authorization);
        Client::new(port).header("Authorization", authorization)
    }

    /// The same with a password, which is a secret too.
    pub fn basic(&mut self, port: u16, user: &str, password: &str) -> Client {
        self.keep(password);
        let pair = base64(format!("{user}:{password}").as_bytes());
        self.client(port, &format!("Basic {pair}"))
    }

    /// The same answer, whose upload's state is a secret from now on.
    pub fn state(&mut self, answer: Answer) -> Answer {
        let path = answer.location_path();
        let (_, state) = path.split_once(STATE).expect("an upload's state");
        self.keep(state);
        self.keep(&state.replace("%3D", "="));
        answer
    }

    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }

    #[track_caller]
    pub fn are_not_in(&self, text: &str) {
        assert!(!self.0.is_empty());
        let said = text
            .lines()
            .filter(|line| self.0.iter().any(|secret| line.contains(secret)));
        let said: Vec<_> = said.collect();
        assert!(said.is_empty(), "{said:#?}");
    }
}

/// Access asked of the registry, and this log.
pub fn logging(config: &mut Value, (level, format): (&str, &str)) {
    config["log"] = json!({"level": level, "format": format});
}

/// The whole log, once nothing has been added for a while.
fn log_of(sidecar: &Sidecar) -> String {
    let (mut seen, mut since) = (String::new(), Instant::now());
    wait_until("the log is quiet", || {
        let now = sidecar.log();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    });
    seen
}

/// The whole log, in which none of the secrets is, as in the metrics.
#[track_caller]
pub fn nothing_is_said(sidecar: &Sidecar, secrets: &Secrets) -> String {
    let log = log_of(sidecar);
    secrets.are_not_in(&log);
    secrets.are_not_in(&raw_http::get(sidecar.admin, "/metrics").expect(200).text());
    log
}

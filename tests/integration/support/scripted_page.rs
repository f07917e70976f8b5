//! The admin page's own files, from a real sidecar, over a `/status.json` that a test writes.

use super::browser::Browser;
use super::misbehaving_upstream::{MisbehavingUpstream, Reply, answer};
use super::program_run::Home;
use super::raw_http;
use super::sidecar::{Sidecar, config};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

pub struct ScriptedPage {
    server: MisbehavingUpstream,
    status: Arc<Mutex<Value>>,
    _sidecar: Sidecar,
    _home: Home,
}

impl ScriptedPage {
    /// What a sidecar without a registry shows, with these changes.
    pub fn start(change: impl FnOnce(&mut Value)) -> Self {
        let home = Home::new();
        let sidecar = Sidecar::from(&config("http://127.0.0.1:1", &home.root()));
        let mut shown = status(&sidecar);
        change(&mut shown);
        let (admin, shown) = (sidecar.admin, Arc::new(Mutex::new(shown)));
        let status = shown.clone();
        let server = MisbehavingUpstream::start(move |heard| {
            Reply::Answer(if heard.target == "/status.json" {
                answer("200 OK", &status.lock().unwrap().to_string())
            } else {
                file(admin, &heard.target)
            })
        });
        Self {
            server,
            status: shown,
            _sidecar: sidecar,
            _home: home,
        }
    }

    /// Changes what the page reads next.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.status.lock().unwrap());
    }

    pub fn url(&self) -> String {
        format!("{}/", self.server.url())
    }
}

/// A sidecar's `/status.json`.
#[track_caller]
pub fn status(sidecar: &Sidecar) -> Value {
    let answer = raw_http::get(sidecar.admin, "/status.json").expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

/// Buckets of the chart: their beginnings, and bytes saved and uploaded.
pub fn buckets(of: &[(&str, u64, u64)]) -> Value {
    let bucket = |&(start, saved, uploaded): &(&str, u64, u64)| json!({"start": start, "saved_bytes": saved, "uploaded_bytes": uploaded});
    of.iter().map(bucket).collect()
}

/// The texts of a table's cells, row by row.
pub fn cells(browser: &mut Browser, id: &str) -> Value {
    browser.value(&format!(
        "[...document.getElementById('{id}').rows].map(row => [...row.cells].map(cell => cell.innerText))"
    ))
}

/// A file of the page, with the headers that a browser obeys.
fn file(admin: u16, target: &str) -> Vec<u8> {
    let got = raw_http::get(admin, target);
    let names = ["Content-Type", "Content-Security-Policy", "Content-Length"];
    let headers = names.map(|name| format!("{name}: {}\r\n", got.header(name).unwrap()));
    let head = format!("HTTP/1.1 {} .\r\n{}\r\n", got.status, headers.concat());
    [head.into_bytes(), got.body].concat()
}

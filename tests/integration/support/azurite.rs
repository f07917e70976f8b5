//! A real server with the interface of Azure's blobs.

use super::raw_http::{self, Request};
use super::{free_port, tools, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The account that the server comes with, and its published key.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

pub struct Azurite {
    pub port: u16,
    home: TempDir,
    process: Child,
}

impl Azurite {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = Command::new(tools::find("azurite").unwrap())
            .args(["--inMemoryPersistence", "--skipApiVersionCheck"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut azurite = Self {
            port,
            home,
            process,
        };
        wait_until("the server of blobs answers", || {
            if let Some(status) = azurite.process.try_wait().unwrap() {
                let log = fs::read_to_string(azurite.log()).unwrap_or_default();
                panic!("the server of blobs ended with {status}:\n{log}");
            }
            raw_http::Connection::to(port).is_ok()
        });
        azurite
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("log")
    }

    /// The URL of the account at this port: the server's own or that of a proxy.
    pub fn service_url(port: u16) -> String {
        format!("http://127.0.0.1:{port}/{ACCOUNT}")
    }

    pub fn create_container(&self, container: &str) {
        self.send(container, "restype=container", b"");
    }

    pub fn put(&self, container: &str, key: &str, bytes: &[u8]) {
        self.send(&format!("{container}/{key}"), "", bytes);
    }

    /// A PUT, signed by Azure's "Shared Key".
    fn send(&self, place: &str, query: &str, bytes: &[u8]) {
        let length = match bytes.len() {
            0 => String::new(),
            length => length.to_string(),
        };
        let date = "Thu, 01 Jan 2026 00:00:00 GMT";
        let headers =
            format!("x-ms-blob-type:BlockBlob\nx-ms-date:{date}\nx-ms-version:2021-08-06\n");
        let parameters = match query.replace('=', ":") {
            none if none.is_empty() => none,
            some => format!("\n{some}"),
        };
        // The account comes twice, because it is in the path of this server's URLs.
        let resource = format!("/{ACCOUNT}/{ACCOUNT}/{place}{parameters}");
        let signed = format!("PUT\n\n\n{length}\n\n\n\n\n\n\n\n\n{headers}{resource}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = Request::new("PUT", &format!("/{ACCOUNT}/{place}{mark}{query}"))
            .header("Authorization", &format!("SharedKey {ACCOUNT}:{signature}"))
            .body(bytes);
        for (name, value) in headers.lines().filter_map(|line| line.split_once(':')) {
            request = request.header(name, value);
        }
        request.send(self.port).expect(201);
    }

    /// The settings of the registry's driver.
    pub fn settings(&self, container: &str) -> Value {
        json!({
            "accountname": ACCOUNT,
            "accountkey": KEY,
            "container": container,
            "serviceurl": Self::service_url(self.port),
            "credentials": {"type": "shared_key"},
        })
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

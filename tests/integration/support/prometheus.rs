//! A real Prometheus that scrapes a sidecar.

use super::sidecar::Sidecar;
use super::{free_port, raw_http};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

/// A Prometheus that scrapes one sidecar each second.
pub struct Prometheus {
    port: u16,
    home: TempDir,
    process: Child,
}

impl Prometheus {
    /// With these files of rules, evaluated as often.
    pub fn of(sidecar: &Sidecar, rules: &[PathBuf]) -> Self {
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        let target = format!("127.0.0.1:{}", sidecar.admin);
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "scrape_configs": [
                {"job_name": "crossmount", "static_configs": [{"targets": [target]}]},
            ],
        });
        let file = home.path().join("prometheus.yml");
        // JSON is YAML too.
        fs::write(&file, config.to_string()).unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                home.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            port,
            home,
            process,
        }
    }

    /// The value of a query that has one, once Prometheus knows it.
    pub fn ask(&self, query: &str) -> Option<String> {
        let query = percent_encoded(query);
        let answer = self.get(&format!("/api/v1/query?query={query}"))?;
        let value = &answer["data"]["result"][0]["value"][1];
        value.as_str().map(str::to_owned)
    }

    /// An answer of its API, once it runs.
    pub fn get(&self, path: &str) -> Option<Value> {
        raw_http::Connection::to(self.port).ok()?;
        let answer = raw_http::get(self.port, path);
        serde_json::from_slice(&answer.body).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home.path().join("log"));
            eprintln!("--- Prometheus' log:\n{}", log.unwrap_or_default());
        }
    }
}

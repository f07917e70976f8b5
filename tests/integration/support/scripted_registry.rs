//! A registry with scripted responses over a store of its own, for what a real one never does.

use super::digest_of;
use super::misbehaving_upstream::{MisbehavingUpstream, ReceivedRequest, Reply, answer};
use super::registry_client::Client;
use super::sidecar::{self, Sidecar};
use super::store::{Store, set_times};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub struct ScriptedRegistry {
    pub upstream: MisbehavingUpstream,
    pub store: Store,
    _home: TempDir,
}

/// The answer of a registry that would allow the mount.
pub fn allowed() -> Vec<u8> {
    answer(
        "404 Not Found",
        r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}"#,
    )
}

pub fn refused() -> Vec<u8> {
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    format!(
        "HTTP/1.1 401 Unauthorized\r\nWww-Authenticate: Basic realm=\"played\"\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl ScriptedRegistry {
    /// `judge` says what is special; the rest is answered as by an open registry that mounts nothing.
    pub fn start(
        judge: impl Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path());
        Self::over(store, home, judge)
    }

    /// The same over a store that goes with `home`.
    pub fn over(
        store: Store,
        home: TempDir,
        judge: impl Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let upstream = MisbehavingUpstream::start(move |heard| {
            if let Some(digest) = heard.header("X-Proof") {
                return Reply::Answer(created(digest));
            }
            judge(heard).unwrap_or_else(|| Reply::Answer(usual(heard)))
        });
        Self {
            upstream,
            store,
            _home: home,
        }
    }

    /// A sidecar in front of it, with its store verified.
    pub fn sidecar(&self, change: impl FnOnce(&mut Value)) -> Sidecar {
        self.sidecar_by(sidecar::command(sidecar::BINARY), change)
    }

    /// The same, by a command that runs the binary in its own process.
    pub fn sidecar_by(&self, command: Command, change: impl FnOnce(&mut Value)) -> Sidecar {
        let mut config = sidecar::config(&self.upstream.url(), &self.store.root);
        change(&mut config);
        let sidecar = Sidecar::launch(command, &config);
        sidecar.until_verification_ends(|| self.verify_store(&sidecar.client()));
        sidecar
    }

    /// A blob that lies in this repository.
    pub fn plant(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let data = self.store.data(&digest);
        fs::create_dir_all(data.parent().unwrap()).unwrap();
        fs::write(data, bytes).unwrap();
        self.store.plant_link(repository, &digest, &digest);
        digest
    }

    /// Plays the registry's part in an upload: the link, then the 201.
    pub fn verify_store(&self, client: &Client) {
        let digest = self.plant("proof", b"proof");
        // A file's time is as coarse as the kernel's clock tick, and must not be older than the request.
        let time = SystemTime::now() + Duration::from_secs(60);
        set_times(&self.store.link("proof", &digest), time);
        let session = "00000000-0000-4000-8000-000000000000";
        client
            .request(
                "PUT",
                &format!("/v2/proof/blobs/uploads/{session}?digest={digest}"),
            )
            .header("X-Proof", &digest)
            .body(b"proof")
            .send(client.port)
            .expect(201);
    }

    /// The requests of one method, but for those of the proof.
    pub fn heard(&self, method: &str) -> Vec<ReceivedRequest> {
        let mut heard = self.upstream.all();
        heard.retain(|heard| heard.method == method && heard.header("X-Proof").is_none());
        heard
    }
}

fn usual(heard: &ReceivedRequest) -> Vec<u8> {
    match &*heard.method {
        "PATCH" => allowed(),
        "POST" => answer("202 Accepted", ""),
        _ => answer("200 OK", "{}"),
    }
}

fn created(digest: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nDocker-Content-Digest: {digest}\r\n\
         Location: /v2/proof/blobs/{digest}\r\n\r\n"
    )
    .into_bytes()
}

//! Certificates that clients show to a registry, and registries that demand one.

use super::registry::Registry;
use super::token_issuer::signed;
use super::tools;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// An authority for clients, with the files of one client.
pub struct Clients {
    home: TempDir,
}

impl Clients {
    pub fn new() -> Self {
        let clients = Self {
            home: tempfile::tempdir().unwrap(),
        };
        let mut made = clients.openssl("req -x509 -newkey rsa:2048 -nodes -days 2");
        made.args([
            "-subj",
            "/CN=clients",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        tools::run(&mut made);
        clients.issue("client", "RSA -pkeyopt rsa_keygen_bits:2048");
        clients
    }

    /// Writes `NAME.key`, a key of this kind, and `NAME.pem`, its certificate.
    pub fn issue(&self, name: &str, kind: &str) {
        let key = format!("{name}.key");
        tools::run(&mut self.openssl(&format!("genpkey -out {key} -algorithm {kind}")));
        self.certify(name, &key);
    }

    /// Signs a certificate `NAME.pem` for the key in this file.
    pub fn certify(&self, name: &str, key: &str) {
        let subject = format!("/CN={name}");
        let mut request = self.openssl(&format!("req -new -key {key} -out request.pem"));
        tools::run(request.args(["-subj", &subject]));
        let extensions = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n";
        fs::write(self.path("extensions"), extensions).unwrap();
        tools::run(&mut self.openssl(&format!(
            "x509 -req -in request.pem -out {name}.pem -CA ca.pem -CAkey ca.key -CAcreateserial \
             -days 2 -extfile extensions"
        )));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts certificate and key of the client in place of these, each at once.
    pub fn replace(&self, others: &Self) {
        for name in ["client.pem", "client.key"] {
            let fresh = self.path("fresh");
            fs::copy(others.path(name), &fresh).unwrap();
            fs::rename(&fresh, self.path(name)).unwrap();
        }
    }

    /// For a sidecar's configuration.
    pub fn show(&self, config: &mut Value) {
        config["upstream"]["client_certificate"] = json!(self.path("client.pem"));
        config["upstream"]["client_key"] = json!(self.path("client.key"));
    }

    pub fn openssl(&self, line: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(line.split_whitespace());
        command.current_dir(self.home.path());
        command
    }
}

/// The files of a registry with TLS: `ca.pem` signed its certificate.
pub fn servers_files() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    signed(home.path());
    home
}

/// A registry with these files, which demands a certificate of these clients.
pub fn demanding(files: &Path, clients: &Clients) -> Registry {
    Registry::with(|config| {
        config["http"]["tls"] = json!({
            "certificate": files.join("cert.pem"),
            "key": files.join("key.pem"),
            "clientcas": [clients.path("ca.pem")],
        });
    })
}

/// For the configuration of a sidecar in front of such a registry.
pub fn over_tls(config: &mut Value, registry: &Registry, authority: &Path) {
    config["upstream"]["url"] = json!(format!("https://localhost:{}", registry.port));
    config["upstream"]["ca_certificate"] = json!(authority);
}

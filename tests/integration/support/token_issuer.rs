//! A token service: its key, its certificate, and the tokens it signs.

use super::registry::Registry;
use super::registry_log::log_requests;
use super::{base64, tools};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

pub const REALM: &str = "https://auth.test/token";
pub const SERVICE: &str = "registry.test";
const ISSUER: &str = "auth.test";

/// What a token says of one repository.
pub type Access<'a> = (&'a str, &'a [&'a str]);

pub struct TokenIssuer {
    home: TempDir,
}

impl TokenIssuer {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        signed(home.path());
        Self { home }
    }

    /// A registry that believes these tokens.
    pub fn registry(&self) -> Registry {
        Registry::with(|config| self.configure(config))
    }

    /// The same, which logs its requests.
    pub fn registry_with_log(&self) -> Registry {
        Registry::with(|config| {
            self.configure(config);
            log_requests(config);
        })
    }

    pub fn configure(&self, config: &mut Value) {
        config["auth"] = json!({"token": {
            "realm": REALM,
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": self.certificate(),
        }});
    }

    /// Tokens verified by the sidecar itself, by the registry's own rules.
    pub fn verify_here(&self, config: &mut Value) {
        config["access"] = json!({"mode": "token", "token": {
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": self.certificate(),
        }});
    }

    /// Tokens verified by the sidecar itself in the mode `token`, by the registry in another one.
    pub fn verify_in(&self, mode: &str, config: &mut Value) {
        match mode {
            "token" => self.verify_here(config),
            _ => config["access"] = json!({"mode": mode}),
        }
    }

    /// The file with the certificates that are believed.
    pub fn certificate(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// A token that is good for five minutes.
    pub fn token(&self, subject: &str, access: &[Access]) -> String {
        self.token_until(now() + 300, subject, access)
    }

    /// A token that ran out an hour ago.
    pub fn expired(&self, subject: &str, access: &[Access]) -> String {
        self.token_until(now() - 3600, subject, access)
    }

    /// A token that runs out at this time, in seconds since 1970.
    pub fn token_until(&self, expires: u64, subject: &str, access: &[Access]) -> String {
        let access: Vec<_> = access
            .iter()
            .map(|(name, actions)| json!({"type": "repository", "name": name, "actions": actions}))
            .collect();
        self.sign(&json!({
            "iss": ISSUER,
            "sub": subject,
            "aud": SERVICE,
            "iat": now() - 7200,
            "nbf": now() - 7200,
            "exp": expires,
            "jti": format!("{:?}", SystemTime::now()),
            "access": access,
        }))
    }

    pub fn sign(&self, claims: &Value) -> String {
        let certificate = fs::read_to_string(self.home.path().join("cert.pem")).unwrap();
        let certificate: String = certificate
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
        let signed = [header.to_string(), claims.to_string()]
            .map(|part| url_safe(part.as_bytes()))
            .join(".");
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", url_safe(&signature))
    }

    fn signature(&self, bytes: &[u8]) -> Vec<u8> {
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.home.path().join("key.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = openssl.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }
}

/// Makes a key and a certificate for localhost and 127.0.0.1.
pub fn self_signed(key: &Path, certificate: &Path) {
    tools::run(
        Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(key)
            .arg("-out")
            .arg(certificate),
    );
}

/// Makes an authority `ca.pem`, and a `key.pem` and `cert.pem` that it signed for localhost.
pub fn signed(folder: &Path) {
    let file = |name: &str| folder.join(name);
    self_signed(&file("ca-key.pem"), &file("ca.pem"));
    let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    fs::write(file("extensions"), extensions).unwrap();
    tools::run(
        Command::new("openssl")
            .args([
                "req",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=the registry",
            ])
            .args(["-keyout", "key.pem", "-out", "request.pem"])
            .current_dir(folder),
    );
    tools::run(
        Command::new("openssl")
            .args(["x509", "-req", "-in", "request.pem", "-out", "cert.pem"])
            .args(["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"])
            .args(["-days", "2", "-extfile", "extensions"])
            .current_dir(folder),
    );
}

fn url_safe(bytes: &[u8]) -> String {
    base64(bytes)
        .replace('+', "-")
        .replace('/', "_")
        .trim_end_matches('=')
        .to_owned()
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

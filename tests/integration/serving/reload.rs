//! What changes while the process runs: certificates, and the log's level.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::misbehaving_upstream::MisbehavingUpstream;
use support::registry::Registry;
use support::sidecar::{BINARY, Sidecar, command};
use support::sidecar_metrics::whole;
use support::token_issuer::signed;
use support::wait_until;

/// A certificate and its key, each put in its place at once.
fn renew(home: &Path) -> String {
    let fresh = tempfile::tempdir_in(home).unwrap();
    signed(fresh.path());
    let serial = serial_of(&fs::read(fresh.path().join("cert.pem")).unwrap());
    for name in ["cert.pem", "key.pem"] {
        fs::rename(fresh.path().join(name), home.join(name)).unwrap();
    }
    serial
}

fn serial_of(pem: &[u8]) -> String {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-serial"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(pem).unwrap();
    let said = openssl.wait_with_output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

/// The serial number of the certificate that a new connection gets.
fn served(port: u16) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    client.stdin(Stdio::null()).stderr(Stdio::null());
    serial_of(&client.output().unwrap().stdout)
}

/// A connection that stays.
struct Kept(Child, BufReader<std::process::ChildStdout>);

impl Kept {
    fn to(port: u16) -> Self {
        let mut client = Command::new("openssl");
        client.args([
            "s_client",
            "-quiet",
            "-connect",
            &format!("127.0.0.1:{port}"),
        ]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = client.stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn ask(&mut self) -> String {
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin
            .write_all(b"HEAD /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.1.read_line(&mut head).unwrap(), 0, "{head}");
        }
        head
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A sidecar that ends TLS with the certificate and key of a directory.
fn with_certificate_of(home: &Path) -> (Registry, Sidecar) {
    let path = |name: &str| home.join(name);
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = json!({"certificate": path("cert.pem"), "key": path("key.pem")});
    });
    (registry, sidecar)
}

#[test]
fn a_renewed_certificate_is_served_to_new_connections_and_drops_none() {
    needs!("docker-registry", "openssl");
    let home = tempfile::tempdir().unwrap();
    let first = renew(home.path());
    let path = |name: &str| home.path().join(name);
    let (_registry, sidecar) = with_certificate_of(home.path());
    assert_eq!(served(sidecar.port), first);
    let mut kept = Kept::to(sidecar.port);
    assert!(kept.ask().starts_with("HTTP/1.1 200"));
    let ends = || {
        let place = [("place", "listener")];
        whole(sidecar.metric("crossmount_certificate_expiry_timestamp_seconds", &place))
    };
    let before = ends();

    // Half of a renewal is none: the certificate does not fit the key.
    let other = tempfile::tempdir().unwrap();
    signed(other.path());
    let old = fs::read(path("cert.pem")).unwrap();
    fs::copy(other.path().join("cert.pem"), path("cert.pem")).unwrap();
    wait_until("the half is noticed", || {
        assert_eq!(served(sidecar.port), first);
        sidecar.log().contains("file reload failed")
    });
    fs::write(path("cert.pem"), old).unwrap();

    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = renew(home.path());
    assert_ne!(first, second);
    // Nobody need connect for it to be noticed.
    wait_until("its end is known", || ends() > before);
    assert_eq!(served(sidecar.port), second);
    assert!(kept.ask().starts_with("HTTP/1.1 200"));
}

struct Written {
    home: tempfile::TempDir,
    upstream: MisbehavingUpstream,
}

impl Written {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            upstream: MisbehavingUpstream::always_answering("{}"),
        }
    }

    fn write(&self, rest: &str) {
        let text = format!(
            "listen: {{address: '127.0.0.1:0'}}\nadmin: {{address: '127.0.0.1:0'}}\n\
             upstream: {{url: '{}', kind: generic}}\n{rest}\n",
            self.upstream.url()
        );
        let fresh = self.home.path().join("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.home.path().join("crossmount.yaml")).unwrap();
    }

    fn start(&self) -> Sidecar {
        let mut command = command(BINARY);
        command.arg("serve").arg("--config");
        command.arg(self.home.path().join("crossmount.yaml"));
        Sidecar::run(command)
    }
}

#[test]
fn the_logs_level_changes_with_the_file() {
    let written = Written::new();
    written.write("log: {level: info}");
    let sidecar = written.start();
    let lines = || sidecar.log().matches(r#""message":"request""#).count();
    let ask = || sidecar.client().get("/v2/").expect(200);
    ask();
    wait_until("a line is there", || lines() == 1);
    written.write("log: {level: warn}");
    let changed = |to: &str| format!(r#""message":"log level changed","log_level":"{to}""#);
    wait_until("the level has changed", || {
        sidecar.log().contains(&changed("WARN"))
    });
    ask();
    // What cannot be used changes nothing.
    written.write("log: {level: loud}");
    wait_until("it is refused", || {
        sidecar.log().contains("file reload failed")
    });
    ask();
    written.write("log: {level: info}\nshutdown: {timeout: 9s}");
    sidecar.signal(rustix::process::Signal::HUP);
    wait_until("the level is back", || {
        sidecar.log().contains(&changed("INFO"))
    });
    sidecar.wait_for_log("configuration change not applied: restart required");
    ask();
    wait_until("lines are written again", || lines() == 2);
}

#[test]
fn a_hangup_ends_no_process_that_has_no_file() {
    let upstream = MisbehavingUpstream::always_answering("{}");
    let mut command = command(BINARY);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--upstream", &upstream.url()])
        .env("CROSSMOUNT_UPSTREAM_KIND", "generic");
    let sidecar = Sidecar::run(command);
    sidecar.signal(rustix::process::Signal::HUP);
    wait_until("it says so", || {
        sidecar
            .log()
            .contains("reload signal ignored: no configuration file")
    });
    sidecar.client().get("/v2/").expect(200);
}

#[test]
fn a_certificate_on_a_hung_filesystem_delays_no_client() {
    needs!("docker-registry", "openssl");
    let home = tempfile::tempdir().unwrap();
    let first = renew(home.path());
    let path = |name: &str| home.path().join(name);
    let (_registry, sidecar) = with_certificate_of(home.path());
    fs::remove_file(path("cert.pem")).unwrap();
    // Opening it waits for somebody who writes.
    support::tools::run(Command::new("mkfifo").arg(path("cert.pem")));
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let times = [(); 5].map(|()| {
        let begun = std::time::Instant::now();
        assert_eq!(served(sidecar.port), first);
        begun.elapsed()
    });
    // A second for each would be the price of looking at it on their way.
    let least = times.iter().min().unwrap();
    assert!(*least < std::time::Duration::from_millis(900), "{times:?}");
}

#[test]
fn a_configuration_may_come_through_a_pipe() {
    let written = Written::new();
    written.write("log: {level: info}");
    let file = written.home.path().join("crossmount.yaml");
    let mut shell = command("bash");
    let line = format!("exec {BINARY} serve --config <(cat {})", file.display());
    shell.args(["-c", &line]);
    let sidecar = Sidecar::run(shell);
    sidecar.client().get("/v2/").expect(200);
}

#[test]
fn a_secret_in_a_broken_file_is_not_logged() {
    let written = Written::new();
    written.write("log: {level: info}");
    let sidecar = written.start();
    let secret = "{name: a, url: 'http://b', headers: {Authorization: Bearer s3cret}}";
    written.write(&format!("notifications: {{endpoints: [{secret}]}}"));
    wait_until("it is refused", || {
        sidecar.log().contains("file reload failed")
    });
    assert!(!sidecar.log().contains("s3cret"));
}

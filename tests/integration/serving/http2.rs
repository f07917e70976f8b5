//! Clients that speak HTTP/2, over TLS or with prior knowledge: they get what others get.

use crate::{needs, support};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::compare::send_raw;
use support::discovery::discover_on_head;
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, in_front_of, ok};
use support::raw_http::{Answer, get};
use support::registry::Registry;
use support::registry_client::{encoded, mount_target};
use support::sidecar::Sidecar;
use support::token_issuer::signed;
use support::{bytes_from, digest_of, tools, wait_until};
use tempfile::TempDir;

/// A certificate for this machine, and a place for what curl writes.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        signed(home.path());
        Self(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn tls(&self) -> Value {
        json!({"certificate": self.path("cert.pem"), "key": self.path("key.pem")})
    }

    /// A request by curl with these arguments; also says which version of HTTP was spoken.
    fn curl(&self, arguments: &[&str]) -> (String, Answer) {
        let (head, body) = (self.path("head"), self.path("body"));
        let _ = fs::remove_file(&body);
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--noproxy",
            "*",
        ])
        .args(["--write-out", "%{http_version}", "--cacert"])
        .arg(self.path("cert.pem"))
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&body)
        .args(arguments);
        let version = String::from_utf8(tools::run(&mut curl).stdout).unwrap();
        let head = fs::read_to_string(head).unwrap();
        // An interim answer may come first.
        let head = head.trim_end().rsplit("\r\n\r\n").next().unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let answer = Answer {
            status: status.parse().unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .filter(|(name, _)| !["date", "connection"].contains(&&**name))
                .collect(),
            body: fs::read(body).unwrap_or_default(),
        };
        (version, answer)
    }

    /// The same over HTTP/2, which must be spoken.
    #[track_caller]
    fn over_http2(&self, arguments: &[&str]) -> Answer {
        let (version, answer) = self.curl(&[&["--http2"], arguments].concat());
        assert_eq!(version, "2", "{arguments:?}");
        answer
    }

    /// So many requests, two a second, by a client that keeps its connection as long as it can; gives
    /// how many it opened.
    #[track_caller]
    fn connections(&self, url: &str, requests: usize) -> usize {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--http2"])
            .args(["--rate", "2/s", "--output", "/dev/null", "--cacert"])
            .arg(self.path("cert.pem"))
            .args([
                "--write-out",
                "%{http_version} %{http_code} %{num_connects}\n",
            ])
            .arg(format!("{url}?[1-{requests}]"));
        let said = String::from_utf8(tools::run(&mut curl).stdout).unwrap();
        let opened = said.lines().map(|line| {
            let opened = line.strip_prefix("2 200 ").expect(line);
            opened.parse::<usize>().unwrap()
        });
        assert_eq!(opened.clone().count(), requests);
        opened.sum()
    }

    /// Uploads a blob in a PATCH and a PUT.
    #[track_caller]
    fn upload(&self, base: &str, repository: &str, bytes: &[u8]) -> String {
        let start = format!("{base}/v2/{repository}/blobs/uploads/");
        let opened = self.over_http2(&["-X", "POST", &start]).expect(202);
        let location = opened.header("Location").unwrap();
        assert!(location.starts_with(&start), "{location}");
        let file = self.file("blob", bytes).display().to_string();
        let patch = ["-X", "PATCH", "-T", &file, location];
        let session = self.over_http2(&patch).expect(202);
        let digest = digest_of(bytes);
        let location = session.header("Location").unwrap();
        let url = format!("{location}&digest={}", encoded(&digest));
        self.over_http2(&["-X", "PUT", &url]).expect(201);
        digest
    }
}

fn discovering(registry: &Registry, home: &Home, http2: bool) -> Sidecar {
    Sidecar::with(registry, |config| {
        config["listen"]["tls"] = home.tls();
        config["listen"]["http2"] = http2.into();
        discover_on_head(config);
    })
}

#[test]
fn a_client_that_speaks_http_2_pushes_mounts_and_pulls_like_any_other() {
    needs!("docker-registry", "openssl", "curl");
    let (home, registry) = (Home::new(), Registry::start());
    let sidecar = discovering(&registry, &home, true);
    let base = format!("https://127.0.0.1:{}", sidecar.port);
    let bytes = bytes_from("over http/2", 3_000_000);
    let digest = home.upload(&base, "source", &bytes);
    let mut answers = Vec::new();
    for (version, name) in [("--http2", "two"), ("--http1.1", "one")] {
        let mount = format!("{base}{}", mount_target(name, &digest, "source"));
        let missing = digest_of(name.as_bytes());
        let fallback = format!("{base}{}", mount_target("missing", &missing, "source"));
        let head = format!("{base}/v2/{name}/asked/blobs/{digest}");
        let pull = format!("{base}/v2/{name}/blobs/{digest}");
        let unknown = format!("{base}/v2/{name}/manifests/latest");
        let asked: [&[&str]; 5] = [
            &["-X", "POST", &mount],
            &["-X", "POST", &fallback],
            &["-I", &head],
            &[&pull],
            &[&unknown],
        ];
        let answers_here: Vec<_> = asked
            .iter()
            .map(|arguments| {
                let (spoken, mut answer) = home.curl(&[&[version], *arguments].concat());
                assert_eq!(format!("--http{spoken}"), version);
                let is_session = |name: &str| ["docker-upload-uuid", "location"].contains(&name);
                answer.headers.retain(|(name, _)| !is_session(name));
                answer.headers.sort();
                if arguments[0] == "-I" {
                    // curl puts the head there.
                    answer.body.clear();
                }
                (answer.status, answer.headers, answer.body)
            })
            .collect();
        let statuses: Vec<_> = answers_here.iter().map(|answer| answer.0).collect();
        assert_eq!(statuses, [201, 202, 200, 200, 404], "{version}");
        assert!(answers_here[3].2 == bytes, "the whole layer comes back");
        answers.push(answers_here);
    }
    let unknown = |answer: &(u16, _, Vec<u8>)| answer.0 == 404;
    for all in &mut answers {
        all.retain(|answer| !unknown(answer));
    }
    for (two, one) in answers[0].iter().zip(&answers[1]) {
        assert_eq!((two.0, &two.1), (one.0, &one.1));
        assert!(two.2 == one.2, "{} bytes and {}", two.2.len(), one.2.len());
    }
    assert_eq!(sidecar.mounted(), 4);
}

#[test]
fn http_2_is_spoken_only_where_the_operator_wants_it() {
    needs!("docker-registry", "openssl", "curl");
    let (home, registry) = (Home::new(), Registry::start());
    let sidecar = discovering(&registry, &home, false);
    let url = format!("https://127.0.0.1:{}/v2/", sidecar.port);
    let (version, answer) = home.curl(&["--http2", &url]);
    assert_eq!((&*version, answer.status), ("1.1", 200));
}

#[test]
fn an_early_answer_reaches_a_client_that_speaks_http_2() {
    needs!("docker-registry", "htpasswd", "openssl", "curl");
    let home = Home::new();
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = home.tls();
        config["listen"]["http2"] = true.into();
        config["access"] = json!({"mode": "upstream"});
    });
    for size in [100_000, 1_000_000, 20_000_000] {
        let file = home.file("upload", &vec![b'x'; size]).display().to_string();
        for method in ["PUT", "PATCH"] {
            let url = format!("https://127.0.0.1:{}/v2/a/blobs/uploads/b", sidecar.port);
            for _ in 0..5 {
                let answer = home.over_http2(&["-X", method, "-T", &file, &url]);
                assert!(answer.expect(401).text().contains("UNAUTHORIZED"));
            }
        }
    }
    // The connection's other requests go on.
    assert!(sidecar.metric("crossmount_requests_in_flight", &[]).abs() < 0.5);
}

#[test]
fn a_connection_is_not_ended_while_the_registry_takes_its_time() {
    needs!("openssl", "curl");
    let home = Home::new();
    let upstream = MisbehavingUpstream::start(|_| {
        std::thread::sleep(Duration::from_secs(4));
        Reply::Answer(ok("in the end"))
    });
    let (sidecar, _root) = in_front_of(&upstream, |config| {
        config["listen"]["tls"] = home.tls();
        config["listen"]["http2"] = true.into();
        config["listen"]["header_timeout"] = "1s".into();
    });
    let url = format!("https://127.0.0.1:{}/v2/slow", sidecar.port);
    let file = home.file("upload", b"a body").display().to_string();
    for arguments in [vec![&*url], vec!["-X", "PUT", "-T", &file, &url]] {
        let answer = home.over_http2(&arguments).expect(200);
        assert_eq!(answer.text(), "in the end");
    }
}

#[test]
fn an_unreachable_registry_is_reported_over_http_2_as_well() {
    needs!("openssl", "curl");
    let (home, root) = (Home::new(), tempfile::tempdir().unwrap());
    let url = format!("http://127.0.0.1:{}", support::free_port());
    let mut config = support::sidecar::config(&url, root.path());
    config["listen"]["tls"] = home.tls();
    config["listen"]["http2"] = true.into();
    let sidecar = Sidecar::from(&config);
    let url = format!("https://127.0.0.1:{}/v2/", sidecar.port);
    let answer = home.over_http2(&[&url]).expect(503);
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert!(answer.text().contains("UNAVAILABLE"), "{}", answer.text());
}

#[test]
fn what_is_in_flight_over_http_2_is_finished_before_the_process_ends() {
    needs!("docker-registry", "openssl", "curl");
    let (home, registry) = (Home::new(), Registry::start());
    let mut sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = home.tls();
        config["listen"]["http2"] = true.into();
        config["shutdown"] = json!({"drain_delay": "0s", "timeout": "60s"});
    });
    let base = format!("https://127.0.0.1:{}", sidecar.port);
    let start = format!("{base}/v2/a/blobs/uploads/");
    let opened = home.over_http2(&["-X", "POST", &start]).expect(202);
    let location = opened.header("Location").unwrap().to_owned();
    let bytes = bytes_from("slow", 3_000_000);
    let file = home.file("slow", &bytes).display().to_string();
    let uploading = std::thread::spawn(move || {
        let arguments = ["-X", "PATCH", "--limit-rate", "1M", "-T", &file, &location];
        home.over_http2(&arguments)
    });
    wait_until("the upload is in flight", || {
        let metrics = get(sidecar.admin, "/metrics").text();
        metrics.contains("\ncrossmount_requests_in_flight 1\n")
    });
    sidecar.signal(Signal::TERM);
    let answer = uploading.join().unwrap().expect(202);
    assert_eq!(answer.header("Range"), Some("0-2999999"));
    assert_eq!(sidecar.wait_for_exit().code(), Some(0));
}

#[test]
fn clients_of_http_2_leave_a_pod_that_is_about_to_end() {
    needs!("docker-registry", "openssl", "curl");
    let (home, registry) = (Home::new(), Registry::start());
    let sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = home.tls();
        config["listen"]["http2"] = true.into();
    });
    let url = format!("https://127.0.0.1:{}/v2/", sidecar.port);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| home.connections(&url, 24));
        wait_until("the client has its connection", || {
            let metrics = get(sidecar.admin, "/metrics").text();
            metrics.contains("\ncrossmount_requests_total{code=\"200\",method=\"GET\"}")
        });
        get(sidecar.admin, "/drained?after=6s&within=6s").expect(200);
        // It comes back each time, because it knows no other replica.
        let opened = client.join().unwrap();
        assert!(opened >= 4, "{opened}");
    });
    // The pod goes on.
    assert_eq!(home.connections(&url, 6), 1);
}

#[test]
fn with_prior_knowledge_http_2_is_spoken_without_tls() {
    needs!("docker-registry", "openssl", "curl");
    let (home, registry) = (Home::new(), Registry::start());
    let sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["h2c"] = true.into();
        config["listen"]["header_timeout"] = "2s".into();
    });
    sidecar.verify_store();
    let digest = sidecar.client().upload("source", b"a layer");
    let mount = mount_target("target", &digest, "source");
    let url = format!("http://127.0.0.1:{}{mount}", sidecar.port);
    let (version, answer) = home.curl(&["--http2-prior-knowledge", "-X", "POST", &url]);
    assert_eq!((&*version, answer.status), ("2", 201));
    assert_eq!(sidecar.mounted(), 1);
    // A request that is shorter than what a client of HTTP/2 begins with.
    send_raw(sidecar.port, b"GET / HTTP/1.0\r\n\r\n");
    send_raw(
        sidecar.port,
        b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\n\r\n",
    )
    .expect(200);
    // One that begins alike and never goes on.
    let mut slow = TcpStream::connect(("127.0.0.1", sidecar.port)).unwrap();
    slow.write_all(b"PRI * HT").unwrap();
    slow.set_read_timeout(Some(support::PATIENCE)).unwrap();
    assert_eq!(slow.read(&mut [0; 16]).unwrap_or(0), 0);
}

#[test]
fn plain_http_on_the_tls_port_gets_the_registrys_400() {
    needs!("docker-registry", "openssl");
    let home = Home::new();
    let registry = Registry::with(|config| config["http"]["tls"] = home.tls());
    let sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = home.tls();
        config["upstream"]["url"] = format!("https://localhost:{}", registry.port).into();
        config["upstream"]["ca_certificate"] = json!(home.path("ca.pem"));
    });
    let said = |port: u16, request: &[u8]| {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        connection.write_all(request).unwrap();
        let mut all = String::new();
        connection.read_to_string(&mut all).map(|_| all).unwrap()
    };
    let get = b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\n\r\n";
    let alone = said(registry.port, get);
    assert!(alone.contains("Client sent an HTTP request to an HTTPS server."));
    assert_eq!(said(sidecar.port, get), alone);
    let upload = [
        &b"PATCH /v2/a/b HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        &vec![b'x'; 50_000],
    ]
    .concat();
    assert_eq!(said(sidecar.port, &upload), alone);
}

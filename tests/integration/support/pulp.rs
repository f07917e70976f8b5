//! A real Pulp, shared by the tests of one process (`tests/pulp.sh`), and what a client does there.

use super::registry_client::{Client, encoded};
use super::sidecar::{self, Sidecar};
use super::{PATIENCE, raw_http, tools, wait_until};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Whoever may do everything.
pub const ADMIN: &str = "admin";

pub struct Pulp {
    /// The registry, the token endpoint and Pulp's own API.
    pub port: u16,
    /// Where signed redirects lead to.
    pub content: u16,
    /// Where clients are sent for a token: [`Pulp::front`].
    public: u16,
    pub media: PathBuf,
    log: PathBuf,
    password: String,
    /// Pulp ends when the other end of its standard input is closed, so with this process.
    _process: Mutex<Child>,
}

/// The shared Pulp; `None`, said loudly, where it is not installed.
pub fn start() -> Option<&'static Pulp> {
    static SHARED: OnceLock<Option<Pulp>> = OnceLock::new();
    let pulp = SHARED.get_or_init(|| is_installed().then(Pulp::launch));
    if pulp.is_none() {
        tools::skip("Pulp is not installed: tests/pulp.sh install");
    }
    pulp.as_ref()
}

fn is_installed() -> bool {
    tools::folder().join("pulp/bin/pulpcore-api").is_file()
        && fs::read_dir("/usr/lib/postgresql").is_ok_and(|found| found.count() > 0)
}

/// A name that nobody used before, also in earlier runs: the database is kept.
pub fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    format!("{what}{since}x{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Pulp {
    fn launch() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pulp.sh");
        let mut process = Command::new(script)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = HashMap::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once('=') {
                Some((key, value)) => said.insert(key.to_owned(), value.to_owned()),
                None => break,
            };
        }
        let text = |key: &str| said.get(key).cloned().expect("Pulp has started");
        let port = |key: &str| text(key).parse().unwrap();
        Self {
            port: port("api"),
            content: port("content"),
            public: port("public"),
            media: text("media").into(),
            log: text("log").into(),
            password: text("password"),
            _process: Mutex::new(process),
        }
    }

    /// The configuration of a sidecar in front of it, on a free port.
    pub fn config(&self) -> Value {
        json!({
            "listen": {"address": "127.0.0.1:0"},
            "admin": {"address": "127.0.0.1:0"},
            "upstream": {"url": format!("http://127.0.0.1:{}", self.port), "kind": "pulp"},
        })
    }

    pub fn sidecar(&self, change: impl FnOnce(&mut Value)) -> Sidecar {
        let mut config = self.config();
        change(&mut config);
        sidecar::generous_for_discovery(&mut config);
        Sidecar::from(&config)
    }

    /// The sidecar that real clients use: they ask for tokens where Pulp says.
    pub fn front(&self) -> &'static Sidecar {
        static FRONT: OnceLock<Sidecar> = OnceLock::new();
        FRONT.get_or_init(|| {
            let mut config = self.config();
            config["listen"]["address"] = json!(format!("127.0.0.1:{}", self.public));
            config["token_endpoint"] = json!({"cache": {"enabled": true}});
            // What is shared is never dropped: it ends with this process, as Pulp does.
            let mut command = sidecar::command("sh");
            command.args(["-c", "\"$@\" & cat; kill $!", "sh", sidecar::BINARY]);
            Sidecar::launch_held(command, &config)
        })
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// A new user, whose password is the name, and who may push below a namespace of that name.
    pub fn user(&self) -> String {
        let name = fresh("user");
        let user = json!({"username": name, "password": name}).to_string();
        self.admin()
            .request("POST", "/pulp/api/v3/users/")
            .header("Content-Type", "application/json")
            .body(user.as_bytes())
            .send(self.port)
            .expect(201);
        name
    }

    /// Lets only its owner pull from a repository.
    pub fn hide(&self, repository: &str) {
        let page = "/pulp/api/v3/distributions/container/container/?base_path=";
        let found = self.admin().get(&format!("{page}{}", encoded(repository)));
        let found: Value = serde_json::from_slice(&found.expect(200).body).unwrap();
        let place = found["results"][0]["pulp_href"].as_str().unwrap();
        let task = self
            .admin()
            .request("PATCH", place)
            .header("Content-Type", "application/json")
            .body(br#"{"private": true}"#)
            .send(self.port);
        match task.status {
            200 => {}
            _ => self.finish(&task.expect(202).body),
        }
    }

    fn finish(&self, accepted: &[u8]) {
        let accepted: Value = serde_json::from_slice(accepted).unwrap();
        let task = accepted["task"].as_str().unwrap();
        wait_until("Pulp's task is done", || {
            let state = self.admin().get(task).expect(200).text();
            assert!(!state.contains("\"failed\""), "{state}");
            state.contains("\"completed\"")
        });
    }

    /// Pulp's own API, past every sidecar.
    fn admin(&self) -> Client {
        Client::new(self.port).basic(ADMIN, &self.password)
    }

    fn password_of<'a>(&'a self, user: &'a str) -> &'a str {
        if user == ADMIN { &self.password } else { user }
    }

    /// The request for a token that is good on this port, at the token endpoint.
    pub fn token_target(port: u16, scopes: &[&str]) -> String {
        let scopes: String = scopes.iter().fold(String::new(), |text, scope| {
            text + "&scope=" + &encoded(scope)
        });
        format!(
            "/token/?service={}{scopes}",
            encoded(&format!("127.0.0.1:{port}"))
        )
    }

    /// A client of this port with a token for these scopes, fetched from Pulp itself.
    pub fn client(&self, port: u16, user: &str, scopes: &[&str]) -> Client {
        let asked = Client::new(self.port).basic(user, self.password_of(user));
        let answer = asked.get(&Self::token_target(port, scopes)).expect(200);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        Client::new(port).bearer(answer["token"].as_str().unwrap())
    }

    /// A client that may push to one repository and pull from another.
    pub fn mounting(&self, port: u16, user: &str, target: &str, source: &str) -> Client {
        let scopes = [
            format!("repository:{target}:pull,push"),
            format!("repository:{source}:pull"),
        ];
        self.client(port, user, &[&scopes[0], &scopes[1]])
    }

    pub fn pushing(&self, port: u16, user: &str, target: &str) -> Client {
        self.client(port, user, &[&format!("repository:{target}:pull,push")])
    }

    /// Pulls a blob through this client's port and from where that leads to.
    pub fn pull(&self, client: &Client, repository: &str, digest: &str) -> Vec<u8> {
        let led = client.blob(repository, digest).expect(302);
        raw_http::get(self.content, &led.location_path())
            .expect(200)
            .body
    }

    /// The requests that Pulp has answered which hold this text.
    pub fn answered(&self, text: &str) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }
}

/// Waits until Pulp's log shows what it has answered: it writes the line after the answer.
pub fn settled(count: impl Fn() -> usize, wanted: usize) {
    let start = std::time::Instant::now();
    while count() < wanted && start.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(count(), wanted);
}

//! A real server of Redis or Valkey, and what crossmount has written there.

use super::{free_port, hex, tools, wait_until};
use redis::{Commands, FromRedisValue};
use ring::hmac;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The replicas' key of fingerprints.
pub const KEY: &str = "a key of fingerprints that all replicas have";

/// A user who may do only what the documentation permits.
pub const ACL_USER: &str = "user crossmount on >secret resetkeys ~crossmount:* -@all +zadd +zrem \
    +zremrangebyrank +zrevrange +zrevrangebyscore +expire +set +del +exists +hgetall +hset +hdel \
    +multi +exec";

pub struct RedisServer {
    pub port: u16,
    program: &'static str,
    settings: Vec<String>,
    is_sentinel: bool,
    home: TempDir,
    process: Option<Child>,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these lines in its configuration.
    pub fn with(settings: &[&str]) -> Self {
        Self::of("redis-server", settings)
    }

    /// A server that this program runs: `redis-server` or `valkey-server`.
    pub fn of(program: &'static str, settings: &[&str]) -> Self {
        let mut server = Self::prepared(program, settings);
        server.resume();
        server
    }

    /// A server that is not started yet.
    pub fn prepared(program: &'static str, settings: &[&str]) -> Self {
        Self {
            port: free_port(),
            program,
            settings: settings.iter().map(|&it| it.to_owned()).collect(),
            is_sentinel: false,
            home: tempfile::tempdir().unwrap(),
            process: None,
        }
    }

    /// From the next start on: TLS alone, with this certificate, for clients without one.
    pub fn listen_encrypted(&mut self, certificate: &str, key: &str) {
        let port = self.port;
        self.settings.extend([
            "port 0".to_owned(),
            format!("tls-port {port}"),
            format!("tls-cert-file {certificate}"),
            format!("tls-key-file {key}"),
            format!("tls-ca-cert-file {certificate}"),
            "tls-auth-clients no".to_owned(),
        ]);
    }

    /// A node of a cluster that has no other nodes.
    pub fn node(program: &'static str) -> Self {
        // The usual one may be taken by an outgoing connection.
        let bus = format!("cluster-port {}", free_port());
        let settings = ["cluster-enabled yes", "cluster-node-timeout 2000", &bus];
        Self::of(program, &settings)
    }

    /// Three nodes of a cluster, each with a third of the slots.
    pub fn cluster(program: &'static str) -> [Self; 3] {
        let nodes = [(); 3].map(|()| Self::node(program));
        let slots = [(0, 5460), (5461, 10922), (10923, 16383)];
        for (node, (first, last)) in nodes.iter().zip(slots) {
            let mut command = redis::cmd("CLUSTER");
            command.arg("ADDSLOTSRANGE").arg(first).arg(last);
            let _: () = node.ask(&mut command);
            let mut command = redis::cmd("CLUSTER");
            let bus = nodes[0].settings[2].replace("cluster-port ", "");
            command
                .arg("MEET")
                .arg("127.0.0.1")
                .arg(nodes[0].port)
                .arg(bus);
            let _: () = node.ask(&mut command);
        }
        for node in &nodes {
            wait_until("the cluster is whole", || {
                let text: String = node.ask(redis::cmd("CLUSTER").arg("INFO"));
                text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
            });
        }
        nodes
    }

    /// A Sentinel that watches this server as `main`, and nothing fails over.
    pub fn sentinel(&self) -> Self {
        let watched = format!("sentinel monitor main 127.0.0.1 {} 1", self.port);
        let mut sentinel = Self::prepared("redis-server", &[&watched]);
        sentinel.is_sentinel = true;
        sentinel.resume();
        sentinel
    }

    /// The number of keys.
    pub fn size(&self) -> u64 {
        self.ask(&mut redis::cmd("DBSIZE"))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts the process, on the same port and with what it had saved.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = fs::File::create(self.home.path().join("log")).unwrap();
        let file = self.home.path().join("redis.conf");
        let home = self.home.path().display();
        let mut common = format!("port {}\nbind 127.0.0.1\ndir {home}\n", self.port);
        if !self.is_sentinel {
            common += "save \"\"\nappendonly no\nrdbcompression no\n";
        }
        fs::write(&file, common + &self.settings.join("\n")).unwrap();
        let mut process = Command::new(tools::find(self.program).unwrap())
            .arg(&file)
            .args(self.is_sentinel.then_some("--sentinel"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let listens = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        wait_until("redis listens", || {
            if let Some(status) = process.try_wait().unwrap() {
                let log = fs::read_to_string(self.home.path().join("log"));
                panic!("redis ended with {status}:\n{log:?}");
            }
            listens()
        });
        self.process = Some(process);
    }

    /// Ends the process at once; what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn restart(&mut self) {
        self.kill();
        self.resume();
    }

    /// Stops the process where it stands: its connections stay, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = self.process.as_ref().expect("it runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(process), signal).unwrap();
    }

    pub fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }

    /// The response to a command.
    pub fn ask<T: FromRedisValue>(&self, command: &mut redis::Cmd) -> T {
        command.query(&mut self.connect()).unwrap()
    }

    /// The repositories that hold a layer.
    pub fn holders(&self, digest: &str) -> Vec<String> {
        self.connect().zrange(holders_key(digest), 0, -1).unwrap()
    }

    /// The repositories that a login used.
    pub fn uses(&self, authorization: &str) -> Vec<String> {
        let key = login_key("u", authorization);
        self.connect().zrange(key, 0, -1).unwrap()
    }

    #[track_caller]
    pub fn wait_for_use(&self, authorization: &str, repository: &str) {
        wait_until("redis knows the use", || {
            self.uses(authorization).contains(&repository.to_owned())
        });
    }

    #[track_caller]
    pub fn wait_for_holder(&self, digest: &str, repository: &str) {
        wait_until("redis knows the holder", || {
            self.holders(digest).contains(&repository.to_owned())
        });
    }

    /// What is told of the uploads of a layer.
    pub fn flights(&self, digest: &str) -> Vec<String> {
        self.connect().hvals(flights_key(digest)).unwrap()
    }

    /// The addresses of those that are connected, but for the one that asks.
    pub fn clients(&self) -> Vec<String> {
        let text: String = self.ask(redis::cmd("CLIENT").arg("LIST"));
        let others = text.lines().filter(|line| !line.contains("cmd=client"));
        let words = others.flat_map(str::split_whitespace);
        words
            .filter_map(|word| word.strip_prefix("addr="))
            .map(str::to_owned)
            .collect()
    }

    /// Sees all commands from now on.
    pub fn monitor(&self) -> Monitor {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "+OK");
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let to = seen.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                to.lock().unwrap().push(line);
            }
        });
        Monitor { seen, stream }
    }

    /// All keys and values, as they would be written to the disk.
    pub fn everything(&self) -> Vec<u8> {
        let _: () = self.ask(&mut redis::cmd("SAVE"));
        fs::read(self.home.path().join("dump.rdb")).unwrap()
    }
}

/// The commands that a server gets.
pub struct Monitor {
    seen: Arc<Mutex<Vec<String>>>,
    stream: TcpStream,
}

impl Monitor {
    /// Those since the last time; not the look-ups that watch a connection.
    pub fn take(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let watches = format!("\\x00{}\"", "\\x00".repeat(31));
        seen.into_iter()
            .filter(|line| !line.contains(&watches))
            .collect()
    }

    /// Those of one client, without time and address.
    pub fn take_of(&self, client: &str) -> Vec<String> {
        let from = format!(" {client}] ");
        let all = self.take();
        let of_it = all.iter().filter_map(|line| line.split_once(&from));
        of_it.map(|(_, command)| command.to_owned()).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Discovery of any source, on HEAD too, shared through the server at this URL.
pub fn sharing(url: &str) -> impl Fn(&mut Value) + use<> {
    let url = url.to_owned();
    move |config| {
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "sources": "any", "shared_sources": ["base/*"],
            "redis": {"url": url, "fingerprint_key": KEY, "timeout": "500ms"},
        });
    }
}

/// The sorted set of a digest's holders.
pub fn holders_key(digest: &str) -> Vec<u8> {
    [b"crossmount:l", &*digest_bytes(digest)].concat()
}

/// The hash of a layer's uploads in flight.
pub fn flights_key(digest: &str) -> Vec<u8> {
    [b"crossmount:f", &*digest_bytes(digest)].concat()
}

/// What says that a layer was deleted.
pub fn deletion_key(digest: &str, repository: &str) -> Vec<u8> {
    [
        b"crossmount:d",
        &*digest_bytes(digest),
        repository.as_bytes(),
    ]
    .concat()
}

/// `u`: the repositories that a login used; `w`: whether it pushed.
pub fn login_key(kind: &str, authorization: &str) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()));
    context.update(&(authorization.len() as u64).to_be_bytes());
    context.update(authorization.as_bytes());
    let prefix = format!("crossmount:{kind}").into_bytes();
    [&*prefix, context.sign().as_ref()].concat()
}

fn digest_bytes(digest: &str) -> Vec<u8> {
    let text = digest.strip_prefix("sha256:").unwrap();
    let pairs = (0..text.len()).step_by(2);
    let bytes: Vec<_> = pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(hex(&bytes), text);
    bytes
}

//! A real server with the interface of S3, shared by the tests of one process. Each test has a
//! bucket of its own.

use super::registry::Registry;
use super::{digest_of, free_port, raw_http, tools, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// A name with a secret key of its own.
#[derive(Debug, Clone, Copy)]
pub struct User {
    pub access_key: &'static str,
    pub secret_key: &'static str,
}

/// May do everything, as a registry.
pub const REGISTRY: User = User {
    access_key: "registry",
    secret_key: "the secret of the registry",
};

/// May list every bucket whose name begins with `listed`, and do nothing else.
pub const LISTER: User = User {
    access_key: "lister",
    secret_key: "the secret of the lister",
};

pub struct SeaweedFs {
    /// The port with the interface of S3.
    pub port: u16,
    /// The port with plain files: `/buckets/BUCKET/KEY`, without signatures.
    filer: u16,
    /// It ends when its standard input is closed, so with this process.
    _process: Mutex<Child>,
}

/// A bucket that no other test uses.
#[derive(Clone)]
pub struct Bucket {
    pub name: String,
    server: &'static SeaweedFs,
}

/// The shared server; `None`, said loudly, where it is not installed.
pub fn start() -> Option<&'static SeaweedFs> {
    static SHARED: OnceLock<SeaweedFs> = OnceLock::new();
    tools::have(&["weed"]).then(|| SHARED.get_or_init(SeaweedFs::launch))
}

impl SeaweedFs {
    fn launch() -> Self {
        let home = tempfile::tempdir().unwrap().keep();
        let data = home.join("data");
        fs::create_dir(&data).unwrap();
        let identities = json!({"identities": [
            identity(REGISTRY, &["Admin", "Read", "Write", "List", "Tagging"]),
            identity(LISTER, &["List:listed*"]),
        ]});
        let config = home.join("identities.json");
        fs::write(&config, identities.to_string()).unwrap();
        let [port, filer, master, volume] = [(); 4].map(|()| free_port());
        let grpc = [(); 4].map(|()| free_port());
        let path = |name: &str| home.join(name).display().to_string();
        // Its data are worth nothing after the tests, and it would take seconds to save them.
        let mut process = Command::new("sh")
            .args([
                "-c",
                "\"$@\" & cat; kill -KILL $!; wait; rm -rf \"$HOME\" $SOCKETS",
            ])
            .args(["sh".as_ref(), tools::find("weed").unwrap().as_os_str()])
            .args(["-logtostderr=true", "server", "-filer", "-s3"])
            .args([
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-master.volumeSizeLimitMB=64",
            ])
            .args([
                "-volume.max=1000",
                "-s3.iam=false",
                "-master.telemetry=false",
            ])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", config.display()))
            .arg(format!("-s3.localSocket={}", path("s3.sock")))
            .arg(format!("-filer.localSocket={}", path("filer.sock")))
            .arg(format!("-s3.port={port}"))
            .arg(format!("-s3.port.grpc={}", grpc[0]))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-filer.port.grpc={}", grpc[1]))
            .arg(format!("-master.port={master}"))
            .arg(format!("-master.port.grpc={}", grpc[2]))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-volume.port.grpc={}", grpc[3]))
            .env("HOME", &home)
            // Each bucket would take seven volumes.
            .env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1")
            // These have no setting.
            .env(
                "SOCKETS",
                grpc.map(|port| format!("/tmp/seaweedfs-*-grpc-{port}.sock"))
                    .join(" "),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        let log = home.join("log");
        let filer_works = || {
            let answer = exchange(filer, "PUT", "/ready", b"yes");
            answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 201"))
        };
        wait_until("the object store takes a file", || {
            if let Some(status) = process.try_wait().unwrap() {
                let log = fs::read_to_string(&log).unwrap_or_default();
                panic!("the object store ended with {status}:\n{log}");
            }
            raw_http::Connection::to(port).is_ok() && filer_works()
        });
        Self {
            port,
            filer,
            _process: Mutex::new(process),
        }
    }

    /// A new bucket, which [`LISTER`] may list.
    pub fn bucket(&'static self) -> Bucket {
        self.bucket_named(&fresh("listed"))
    }

    /// A new bucket, in which only [`REGISTRY`] may do something.
    pub fn closed_bucket(&'static self) -> Bucket {
        self.bucket_named(&fresh("closed"))
    }

    fn bucket_named(&'static self, name: &str) -> Bucket {
        let bucket = Bucket {
            name: name.to_owned(),
            server: self,
        };
        bucket.ask("POST", "", b"");
        bucket
    }
}

fn identity(user: User, actions: &[&str]) -> Value {
    let keys = json!({"accessKey": user.access_key, "secretKey": user.secret_key});
    json!({"name": user.access_key, "credentials": [keys], "actions": actions})
}

/// A name that no other test has.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One request to the port with plain files.
fn exchange(port: u16, method: &str, target: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: filer\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Bucket {
    fn ask(&self, method: &str, key: &str, body: &[u8]) -> String {
        let target = format!("/buckets/{}/{key}", self.name);
        let answer = exchange(self.server.filer, method, &target, body).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {target}: {answer}");
        answer
    }

    /// Writes an object past the registry.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        self.ask("PUT", key, bytes);
    }

    /// Removes an object, or a directory with all that is in it, past the registry.
    pub fn remove(&self, key: &str) {
        let ignored = "?recursive=true&ignoreRecursiveError=true";
        self.ask("DELETE", &format!("{key}{ignored}"), b"");
    }

    /// Writes a blob and the links of repositories to it, below the registry's root directory.
    pub fn plant(&self, root: &str, repositories: &[&str], bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        self.put(&data(root, &digest), bytes);
        for repository in repositories {
            self.plant_link(root, repository, &digest);
        }
        digest
    }

    pub fn plant_link(&self, root: &str, repository: &str, digest: &str) {
        self.put(&link(root, repository, digest), digest.as_bytes());
    }

    /// The settings of the registry's driver, at this port: the server's own or that of a proxy.
    pub fn settings(&self, port: u16, user: User) -> Value {
        json!({
            "bucket": self.name,
            "region": "us-east-1",
            "regionendpoint": format!("http://127.0.0.1:{port}"),
            "forcepathstyle": true,
            "accesskey": user.access_key,
            "secretkey": user.secret_key,
        })
    }

    /// A real registry with its storage in this bucket; `change` edits its configuration. It
    /// reaches the bucket at this port.
    pub fn registry(&self, port: u16, change: impl FnOnce(&mut Value)) -> Registry {
        Registry::with(|config| {
            config["storage"] = json!({
                "s3": self.settings(port, REGISTRY),
                "delete": {"enabled": true},
                "redirect": {"disable": true},
            });
            change(config);
        })
    }
}

/// The key of a blob's data. `root` is empty or ends with a slash.
pub fn data(root: &str, digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap();
    format!(
        "{root}docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    )
}

/// The key of a layer link.
pub fn link(root: &str, repository: &str, digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap();
    format!("{root}docker/registry/v2/repositories/{repository}/_layers/sha256/{hex}/link")
}

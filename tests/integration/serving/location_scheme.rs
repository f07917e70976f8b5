//! Which scheme a Location has, where crossmount and the registry do not both speak TLS.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use support::compare::Differences;
use support::raw_http::Request;
use support::registry::Registry;
use support::registry_client::mount_target;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::token_issuer::signed;
use support::{program_run, tools};

type Headers = &'static [(&'static str, &'static str)];

const HOST: &str = "registry.test:5000";

/// Forms that say no scheme, or say it where distribution does not look.
const UNSAID: &[Headers] = &[
    &[],
    &[("X-Forwarded-Proto", "")],
    &[("X-Forwarded-Proto", ""), ("X-Forwarded-Proto", "ftp")],
    &[("X-Forwarded-Host", "public.test")],
    &[
        ("X-Forwarded-Host", "public.test"),
        ("X-Forwarded-Proto", ""),
    ],
    &[("Forwarded", "")],
    &[("Forwarded", "for=192.0.2.1")],
    &[("Forwarded", "for=192.0.2.1;host=public.test;by=_x")],
    &[("Forwarded", "for=192.0.2.1; host=public.test;")],
    &[("Forwarded", "host=public.test, proto=ftp")],
    &[("Forwarded", ",proto=ftp;host=second.test")],
    &[("Forwarded", "host=public.test;proto=\"\"")],
    &[("Forwarded", "proto=\"\";proto=\"\";host=public.test")],
    &[("Forwarded", "proto=\"ftp\";proto=\"\"")],
    &[("Forwarded", "nonsense")],
    &[("Forwarded", "for=[2001:db8::1];host=public.test")],
    &[("Forwarded", "host=public.test;,proto=ftp")],
    &[("Forwarded", "host=\"public.test")],
    &[("Forwarded", "host=\"public\\.test\";for=a\\b")],
    &[("Forwarded", "host=a.test;host=b.test;proto=ftp")],
    &[
        ("Forwarded", "nonsense"),
        ("X-Forwarded-Host", "unread.test"),
    ],
    &[
        ("Forwarded", "for=192.0.2.1"),
        ("Forwarded", "proto=ftp;host=second.test"),
    ],
    &[("Forwarded", ""), ("Forwarded", "proto=ftp")],
];

/// Forms that say one.
const SAID: &[Headers] = &[
    &[("X-Forwarded-Proto", "https")],
    &[("X-Forwarded-Proto", "http")],
    &[("X-Forwarded-Proto", "http, https")],
    &[("Forwarded", "proto=http;host=public.test")],
    &[("Forwarded", "for=192.0.2.1;proto=\"https\"")],
    &[("Forwarded", "proto=\"\";proto=\"http\"")],
    &[("Forwarded", "proto=https"), ("X-Forwarded-Proto", "http")],
    &[("Forwarded", ""), ("X-Forwarded-Proto", "http")],
];

/// Beside a `Forwarded` distribution does not read it, and takes its own connection's scheme.
const UNREAD: &[Headers] = &[
    &[("Forwarded", "for=a"), ("X-Forwarded-Proto", "http")],
    &[("Forwarded", "for=a"), ("X-Forwarded-Proto", "https")],
    &[("Forwarded", "nonsense"), ("X-Forwarded-Proto", "http")],
];

struct Pems(tempfile::TempDir);

impl Pems {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        signed(home.path());
        Self(home)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn pair(&self) -> Value {
        json!({"certificate": self.path("cert.pem"), "key": self.path("key.pem")})
    }

    /// A registry that speaks TLS.
    fn registry(&self, change: impl FnOnce(&mut Value)) -> Registry {
        Registry::with(|config| {
            config["http"]["tls"] = self.pair();
            change(config);
        })
    }

    fn before_tls(&self, registry: &Registry, config: &mut Value) {
        config["upstream"]["url"] = json!(format!("https://127.0.0.1:{}", registry.port));
        config["upstream"]["ca_certificate"] = json!(self.path("ca.pem"));
    }
}

/// Where an upload and a mount are, each as `scheme://host/` of its Location.
fn places(base: &str, digest: &str, headers: Headers) -> Vec<String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--http1.1", "--max-time", "60"])
        .args(["--noproxy", "*", "--insecure", "-X", "POST", "--head"])
        .args(["--header", &format!("Host: {HOST}")]);
    for (name, value) in headers {
        // An empty one is written so.
        let header = match *value {
            "" => format!("{name};"),
            value => format!("{name}: {value}"),
        };
        curl.args(["--header", &header]);
    }
    curl.arg(format!("{base}/v2/b/blobs/uploads/"))
        .arg(base.to_owned() + &mount_target("b", digest, "a"));
    let heads = String::from_utf8(tools::run(&mut curl).stdout).unwrap();
    let places: Vec<_> = heads
        .lines()
        .filter_map(|line| line.strip_prefix("Location: "))
        .map(|place| place.split("v2/b/").next().unwrap().to_owned())
        .collect();
    assert_eq!(places.len(), 2, "{heads}");
    places
}

#[test]
fn where_tls_ends_here_a_location_is_as_that_of_a_registry_that_ends_it() {
    needs!("docker-registry", "openssl", "curl");
    let pems = Pems::new();
    let (alone, behind) = (pems.registry(|_| ()), Registry::start());
    let sidecar = Sidecar::with(&behind, |config| config["listen"]["tls"] = pems.pair());
    let digest = support::digest_of(b"layer");
    upload_by_curl(&format!("https://127.0.0.1:{}", alone.port), &pems);
    upload_by_curl(&format!("https://127.0.0.1:{}", sidecar.port), &pems);
    let mut differences = Differences::default();
    let all = [UNSAID, SAID, UNREAD].concat();
    for headers in &all {
        let [alone, behind] = [alone.port, sidecar.port]
            .map(|port| places(&format!("https://127.0.0.1:{port}"), &digest, headers));
        differences.compare(&format!("{headers:?}"), &alone, &behind);
    }
    differences.assert_none();
    let mounts = sidecar.metric("crossmount_mounts_total", &[]);
    let forwarded = sidecar.metric("crossmount_mounts_total", &[("outcome", "forwarded")]);
    assert!(
        mounts >= 30.0 && forwarded <= 4.0,
        "{forwarded} of {mounts}"
    );
}

/// An upload into repository `a`, which proves the store where it goes through a sidecar.
fn upload_by_curl(base: &str, pems: &Pems) {
    let file = pems.0.path().join("layer");
    fs::write(&file, b"layer").unwrap();
    let script = format!(
        r#"set -e
place=$(curl -s --noproxy '*' -k -X POST -D - -o /dev/null {base}/v2/a/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
curl -s --fail --noproxy '*' -k -X PUT -H 'Content-Type: application/octet-stream' --data-binary @{} "$place&digest={}""#,
        file.display(),
        support::digest_of(b"layer"),
    );
    tools::run(Command::new("sh").args(["-c", &script]));
}

#[test]
fn a_plain_port_in_front_of_tls_gives_plain_locations() {
    needs!("docker-registry", "openssl", "curl");
    let pems = Pems::new();
    let (alone, behind) = (Registry::start(), pems.registry(|_| ()));
    let sidecar = Sidecar::with(&behind, |config| pems.before_tls(&behind, config));
    let digest = alone.client().upload("a", b"layer");
    // A push follows the Location that it was given.
    sidecar.client().upload("a", b"layer");
    let mut differences = Differences::default();
    for headers in [UNSAID, SAID].concat() {
        let [alone, behind] = [alone.port, sidecar.port]
            .map(|port| places(&format!("http://127.0.0.1:{port}"), &digest, headers));
        differences.compare(&format!("{headers:?}"), &alone, &behind);
    }
    differences.assert_none();
    // A proxy with TLS in front said so, if not where distribution looks.
    for (headers, scheme) in UNREAD.iter().zip(["http", "https", "http"]) {
        let places = places(
            &format!("http://127.0.0.1:{}", sidecar.port),
            &digest,
            headers,
        );
        assert_eq!(
            places,
            vec![format!("{scheme}://{HOST}/"); 2],
            "{headers:?}"
        );
    }
    let forwarded = sidecar.metric("crossmount_mounts_total", &[("outcome", "forwarded")]);
    assert!(forwarded <= 4.0, "{forwarded}");
}

#[test]
fn only_believed_proxies_say_that_there_is_tls_in_front() {
    needs!("docker-registry", "openssl");
    let pems = Pems::new();
    let behind = pems.registry(|_| ());
    for (trusted, scheme) in [("127.0.0.0/8", "https"), ("192.0.2.0/24", "http")] {
        let sidecar = Sidecar::with(&behind, |config| {
            pems.before_tls(&behind, config);
            config["upstream"]["trusted_proxies"] = json!([trusted]);
        });
        let answer = Request::new("POST", "/v2/b/blobs/uploads/")
            .header("Host", HOST)
            .header("X-Forwarded-Proto", "https")
            .send(sidecar.port)
            .expect(202);
        let location = answer.header("Location").unwrap();
        assert!(
            location.starts_with(&format!("{scheme}://{HOST}/")),
            "{location}"
        );
    }
}

/// What is changed in a configuration.
type Change<'a> = &'a dyn Fn(&mut Value);

#[test]
fn a_check_warns_of_a_plain_port_in_front_of_tls() {
    needs!("docker-registry", "openssl");
    let pems = Pems::new();
    let behind = pems.registry(|_| ());
    let plain = |_: &mut Value| ();
    let external = |config: &mut Value| {
        config["upstream"]["external_url"] = json!("https://public.test");
    };
    let relative = |config: &mut Value| config["upstream"]["relative_urls"] = json!(true);
    let secured = |config: &mut Value| config["listen"]["tls"] = pems.pair();
    let changes: [(Change<'_>, bool); 4] = [
        (&plain, true),
        (&external, false),
        (&relative, false),
        (&secured, false),
    ];
    for (change, is_warned_of) in changes {
        let mut config = config(&behind.url(), &behind.store.root);
        pems.before_tls(&behind, &mut config);
        change(&mut config);
        let file = pems.0.path().join("crossmount.yml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = command(BINARY);
        command.args(["check", "--offline", "--config"]).arg(&file);
        let ended = program_run::run(command);
        let warnings = ended
            .out
            .lines()
            .filter(|line| line.starts_with("warning: "));
        let said: Vec<_> = warnings
            .filter(|line| line.contains("X-Forwarded-Proto: http,"))
            .collect();
        assert_eq!(
            said.len(),
            usize::from(is_warned_of),
            "{config}\n{}",
            ended.out
        );
    }
}

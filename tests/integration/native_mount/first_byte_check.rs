//! Before a registry is asked to mount, one byte of the source is read.

use crate::support;
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};
use support::discovery::discover_on_head;
use support::misbehaving_upstream::{MisbehavingUpstream, ReceivedRequest, Reply, Step, answer};
use support::registry_client::Client;
use support::sidecar::{self, Sidecar};

/// Says what to do about a request.
type Judge = Box<dyn Fn(&ReceivedRequest) -> Reply + Send + Sync>;

/// A registry that mounts whatever it is asked to, and lets `byte` answer who reads `src`.
fn registry(
    byte: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static,
) -> MisbehavingUpstream {
    let mounted = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::SeqCst;
    MisbehavingUpstream::start(move |heard| match &*heard.method {
        "GET" if heard.target.starts_with("/v2/src/") => byte(heard),
        "HEAD" if heard.target.starts_with("/v2/dst/") && !mounted.load(order) => {
            Reply::Answer(answer("404 Not Found", ""))
        }
        "POST" => {
            mounted.store(true, order);
            Reply::Answer(answer("201 Created", ""))
        }
        "GET" => Reply::Answer(answer("206 Partial Content", "b")),
        _ => Reply::Answer(answer("200 OK", "")),
    })
}

fn in_front_of(upstream: &MisbehavingUpstream) -> Sidecar {
    let mut command = sidecar::command(sidecar::BINARY);
    // Nobody listens there.
    proxied(&mut command);
    let mut config = sidecar::generic_config(&upstream.url());
    config["mount"] = json!({"time_budget": "1s"});
    discover_on_head(&mut config);
    Sidecar::launch(command, &config)
}

fn proxied(command: &mut Command) {
    let nowhere = format!("http://127.0.0.1:{}", support::free_port());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, &nowhere);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
}

/// Somebody who has seen a layer in `src`.
fn alice(sidecar: &Sidecar) -> (Client, String) {
    let alice = sidecar.client().basic("alice", "right");
    let digest = support::digest_of(b"a layer");
    alice.head_blob("src", &digest).expect(200);
    (alice, digest)
}

/// What a HEAD in another repository is answered with.
fn asked(
    byte: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static,
) -> (u16, Vec<ReceivedRequest>) {
    let upstream = registry(byte);
    let sidecar = in_front_of(&upstream);
    let (alice, digest) = alice(&sidecar);
    let status = alice.head_blob("dst", &digest).status;
    (status, upstream.all())
}

fn led(status: &'static str, location: String) -> impl Fn(&ReceivedRequest) -> Reply {
    move |_| {
        let head = format!("HTTP/1.1 {status}\r\nLocation: {location}\r\n");
        Reply::Answer(format!("{head}Content-Length: 5\r\n\r\nmoved").into_bytes())
    }
}

fn unmounted(heard: &[ReceivedRequest]) -> bool {
    !heard.iter().any(|heard| heard.method == "POST")
}

#[test]
fn a_blob_whose_first_byte_comes_is_mounted_and_nothing_else_is_asked() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nb",
        1_u64 << 40
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n";
    for said in [
        vec![answer("206 Partial Content", "b")],
        vec![answer("200 OK", "bytes")],
        // What follows never comes, and nobody waits for it.
        vec![long.into_bytes()],
        vec![chunked.as_bytes().to_vec()],
    ] {
        let (status, heard) = asked(move |_| {
            let sent = said.iter().cloned().map(Step::Send);
            Reply::Steps(
                sent.chain([Step::Wait(Duration::from_millis(1500))])
                    .collect(),
            )
        });
        assert_eq!(status, 200);
        let asked = heard.iter().map(|heard| {
            let repository = heard.target.split('/').nth(2).unwrap();
            format!("{} {repository}", heard.method)
        });
        let asked: Vec<_> = asked.collect();
        assert_eq!(
            asked,
            ["HEAD src", "HEAD dst", "GET src", "POST dst", "HEAD dst"]
        );
        assert_eq!(heard[2].header("Range"), Some("bytes=0-0"));
        assert_eq!(
            heard[2].header("Authorization"),
            heard[0].header("Authorization")
        );
    }
}

#[test]
fn a_blob_whose_first_byte_does_not_come_is_not_mounted() {
    let says =
        |said: &'static [u8]| move |_: &ReceivedRequest| Reply::AnswerAndClose(said.to_vec());
    let cases: [(&str, Judge); 10] = [
        (
            "nothing in it",
            Box::new(|_| Reply::Answer(answer("200 OK", ""))),
        ),
        (
            "no part",
            Box::new(|_| Reply::Answer(answer("206 Partial Content", ""))),
        ),
        (
            "breaks off",
            Box::new(says(
                b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\n",
            )),
        ),
        (
            "empty chunks",
            Box::new(says(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            )),
        ),
        ("nothing said", Box::new(|_| Reply::Close)),
        (
            "a ghost of distribution's",
            Box::new(|_| Reply::Answer(answer("500 Oh", "b"))),
        ),
        (
            "absent",
            Box::new(|_| Reply::Answer(answer("404 Not Found", "b"))),
        ),
        (
            "refused",
            Box::new(|_| Reply::Answer(answer("403 Forbidden", "b"))),
        ),
        (
            "throttled",
            Box::new(|_| Reply::Answer(answer("429 Slow Down", "b"))),
        ),
        (
            "another status",
            Box::new(|_| Reply::Answer(answer("204 No Content", ""))),
        ),
    ];
    for (why, byte) in cases {
        let (status, heard) = asked(byte);
        assert_eq!(status, 404, "{why}");
        assert!(unmounted(&heard), "{why}");
    }
}

#[test]
fn who_waits_for_a_byte_waits_no_longer_than_the_time_budget() {
    let upstream = registry(|_| {
        let begun = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\n".to_vec();
        Reply::Steps(vec![Step::Send(begun), Step::Hold])
    });
    let sidecar = in_front_of(&upstream);
    let (alice, digest) = alice(&sidecar);
    let begun = Instant::now();
    alice.head_blob("dst", &digest).expect(404);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(unmounted(&upstream.all()));
}

#[test]
fn the_next_holder_is_tried_if_one_has_lost_the_bytes() {
    for said in [
        "500 Oh",
        "404 Not Found",
        "403 Forbidden",
        "206 Partial Content",
    ] {
        let upstream = registry(move |_| Reply::Answer(answer(said, "")));
        let sidecar = in_front_of(&upstream);
        let (alice, digest) = alice(&sidecar);
        alice.head_blob("src2", &digest).expect(200);
        alice.head_blob("src", &digest).expect(200);
        alice.head_blob("dst", &digest).expect(200);
        let heard = upstream.all();
        let mounts: Vec<_> = heard
            .iter()
            .filter(|heard| heard.method == "POST")
            .collect();
        assert_eq!(mounts.len(), 1, "{said}");
        assert!(mounts[0].target.contains("from=src2&"), "{said}");
    }
}

#[test]
fn a_redirect_is_followed_once_and_with_nothing_of_the_callers() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 Other",
        "307 Moved",
        "308 Moved",
    ] {
        let storage =
            MisbehavingUpstream::start(|_| Reply::Answer(answer("206 Partial Content", "b")));
        let location = format!("{}/bucket/data?signed=yes", storage.url());
        let upstream = registry(led(status, location));
        let sidecar = in_front_of(&upstream);
        let (alice, digest) = alice(&sidecar);
        let request = alice.request("HEAD", &format!("/v2/dst/blobs/{digest}"));
        let request = request
            .header("Cookie", "a=b")
            .header("X-Forwarded-Proto", "https");
        request.send(alice.port).expect(200);
        let heard = storage.all();
        assert_eq!(heard.len(), 1, "{status}");
        assert_eq!(heard[0].target, "/bucket/data?signed=yes");
        let mut names: Vec<_> = heard[0].headers.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "host", "range", "user-agent"], "{status}");
        assert_eq!(heard[0].header("Range"), Some("bytes=0-0"));
        assert!(heard[0].is_the_sidecars());
    }
}

#[test]
fn a_redirect_to_no_byte_is_no_blob() {
    let elsewhere =
        MisbehavingUpstream::start(|_| Reply::Answer(answer("206 Partial Content", "b")));
    let again = format!("HTTP/1.1 307 Moved\r\nLocation: {}\r\n", elsewhere.url());
    let again = format!("{again}Content-Length: 0\r\n\r\n").into_bytes();
    for said in [
        answer("200 OK", ""),
        answer("404 Not Found", "no such key"),
        answer("403 Forbidden", "no such key"),
        answer("500 Oh", "b"),
        again,
    ] {
        let storage = MisbehavingUpstream::start(move |_| Reply::AnswerAndClose(said.clone()));
        let (status, heard) = asked(led("307 Moved", storage.url()));
        assert_eq!(status, 404);
        assert!(unmounted(&heard));
        assert_eq!(storage.all().len(), 1);
    }
    let nobody = format!("http://127.0.0.1:{}/", support::free_port());
    let with_login = elsewhere.url().replace("http://", "http://user:secret@");
    for location in [&nobody, &with_login, "ftp://127.0.0.1/", "http://", ""] {
        let (status, heard) = asked(led("307 Moved", location.to_owned()));
        assert_eq!(status, 404, "{location}");
        assert!(unmounted(&heard), "{location}");
    }
    assert_eq!(elsewhere.all().len(), 0);
}

#[test]
fn a_redirect_within_the_registry_is_asked_of_it_without_a_login() {
    for status in ["200 OK", "404 Not Found"] {
        let upstream = MisbehavingUpstream::start(move |heard| {
            Reply::Answer(match &*heard.method {
                "GET" if heard.target == "/stored/data?x=1" => answer(status, "b"),
                "GET" => return led("307 Moved", "/stored/data?x=1".to_owned())(heard),
                "HEAD" if heard.target.starts_with("/v2/src/") => answer("200 OK", ""),
                "POST" => answer("201 Created", ""),
                _ => answer("404 Not Found", ""),
            })
        });
        let sidecar = in_front_of(&upstream);
        let (alice, digest) = alice(&sidecar);
        alice.head_blob("dst", &digest);
        let heard = upstream.all();
        let is_stored = |heard: &&ReceivedRequest| heard.target.starts_with("/stored/");
        let stored: Vec<_> = heard.iter().filter(is_stored).collect();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].header("Authorization"), None);
        assert_eq!(unmounted(&heard), status != "200 OK");
    }
}

#[test]
fn a_client_cannot_choose_whom_crossmount_asks() {
    let victim = MisbehavingUpstream::start(|_| Reply::Answer(answer("206 Partial Content", "b")));
    // A registry that believes the host that it is called by.
    let upstream = registry(|heard| {
        let host = heard.header("X-Forwarded-Host").or(heard.header("Host"));
        led("307 Moved", format!("http://{}/data", host.unwrap()))(heard)
    });
    let sidecar = in_front_of(&upstream);
    let (alice, digest) = alice(&sidecar);
    let victims = format!("127.0.0.1:{}", victim.port);
    for (name, value) in [("Host", &victims), ("X-Forwarded-Host", &victims)] {
        let request = alice.request("HEAD", &format!("/v2/dst/blobs/{digest}"));
        request.header(name, value).send(alice.port);
    }
    assert_eq!(victim.all().len(), 0);
}

//! Requests that are odd: the answer is the registry's own, whatever it is.
//!
//! Each goes to a registry alone and to one behind the sidecar, whose store is proved, so that what
//! is not odd after all is answered by the sidecar and must look the same too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod support;

use support::digest_of;
use support::pair::{Differences, Pair};

const BLOB: &[u8] = b"the blob that is asked for";
const OTHER: &[u8] = b"another blob, not in the source";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Sidecar,
    Registry,
}
use By::{Registry as Theirs, Sidecar as Ours};

fn pair() -> Pair {
    let pair = Pair::start();
    pair.prepare(|registry| {
        let client = registry.client();
        client.upload("source", BLOB);
        client.upload("sou/rce", BLOB);
        client.upload("elsewhere", OTHER);
        client.upload("target", b"already there");
    });
    pair
}

fn digest() -> String {
    digest_of(BLOB)
}

/// A POST without a body.
fn post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: registry.test:5000\r\nContent-Length: 0\r\n\r\n")
}

/// A POST with this query on a repository of its own.
fn query(number: usize, query: &str) -> String {
    post(&format!("/v2/new{number}/blobs/uploads/?{query}"))
}

/// Compares the answers, who gave them, and what they left in the store.
fn compare(pair: &Pair, cases: &[(By, String)]) {
    let mut differences = Differences::default();
    for (by, request) in cases {
        let before = (pair.sidecar.mounted(), odd(pair));
        let (wanted, got) = pair.both(request);
        differences.compare(request, &wanted, &got);
        let who = if pair.sidecar.mounted() > before.0 {
            Ours
        } else {
            Theirs
        };
        differences.compare(&format!("{request}answered by"), by, &who);
        // A mount that the registry made itself was forwarded because it was odd, for no other
        // reason; one that only its body asks for is an upload by its request line.
        if *by == Theirs && wanted.status == 201 && request.contains("/blobs/uploads/?mount=") {
            let counted = odd(pair) - before.1;
            differences.compare(&format!("{request}counted as odd"), &1, &counted);
        }
    }
    differences.compare("the links", &links(&pair.alone), &links(&pair.behind));
    differences.none();
}

fn odd(pair: &Pair) -> u64 {
    pair.sidecar.because("odd_request")
}

/// All links but those of the proof, which only one of the two registries has.
fn links(registry: &support::registry::Registry) -> Vec<String> {
    let mut files = registry.store.files();
    files.retain(|file| file.contains("/_layers/") && !file.contains("/proof/"));
    files.sort();
    files
}

#[test]
fn queries_that_are_not_odd_are_mounts() {
    needs!("docker-registry");
    let d = digest();
    let e = d.replace(':', "%3A");
    let cases = [
        format!("mount={d}&from=source"),
        format!("from=source&mount={d}"),
        format!("from=source&mount={e}"),
        format!("from=sou%2Frce&mount={e}"),
        format!("from=sou%2frce&mount={}", d.replace(':', "%3a")),
        format!("from=sou/rce&mount={e}&origin=registry.test%3A5000"),
        format!("mount={d}&from=source&ns=docker.io"),
        format!("ns=&mount={d}&x&origin=&from=source&y=%20+"),
        format!("%6dount={d}&from=source"),
        format!("mount={d}&%66rom=source"),
        format!("%6D%6F%75%6E%74={d}&%66%72%6F%6D=%73%6F%75%72%63%65"),
        format!("mount={d}&from=source&Mount=x&FROM=y&mount2=z"),
    ];
    let cases: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(at, text)| (Ours, query(at, text)))
        .collect();
    compare(&pair(), &cases);
}

#[test]
fn repeated_and_missing_parameters_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let (d, other) = (digest(), digest_of(OTHER));
    let cases = [
        format!("mount={d}&from=source&from=elsewhere"),
        format!("mount={d}&from=elsewhere&from=source"),
        format!("mount={d}&from=source&from=source"),
        format!("mount={d}&mount={other}&from=source"),
        format!("mount={other}&mount={d}&from=source"),
        format!("mount={d}&mount={d}&from=source"),
        format!("mount={d}&%6dount={other}&from=source"),
        format!("mount={d}&from=source&%66rom=elsewhere"),
        format!("mount={d}&from=&from=source"),
        format!("mount=&mount={d}&from=source"),
        format!("digest={d}&mount={d}&from=source"),
        format!("mount={d}&from=source&digest={d}"),
        format!("mount={d}&from=source&digest="),
        format!("mount={d}&from=source&%64igest={other}"),
        format!("mount={d}"),
        format!("mount={d}&from="),
        format!("mount={d}&from"),
        "mount&from=source".to_owned(),
        "mount=&from=source".to_owned(),
        "from=source".to_owned(),
        format!("Mount={d}&From=source"),
        format!("digest={d}"),
        String::new(),
    ];
    let cases: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(at, text)| (Theirs, query(at, text)))
        .collect();
    compare(&pair(), &cases);
}

#[test]
fn digests_outside_the_grammar_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let d = digest();
    let hex = d.strip_prefix("sha256:").unwrap();
    let cases = [
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha512:{hex}{hex}"),
        format!("sha384:{hex}{}", &hex[..32]),
        format!("md5:{}", &hex[..32]),
        hex.to_owned(),
        format!("sha256:{}", &hex[..63]),
        format!("{d}0"),
        format!("{d}+"),
        format!("+{d}"),
        format!("{d}%20"),
        format!("{d}%0A"),
        format!("{d}%00"),
        format!("%00{d}"),
        format!("{d}%2F..%2F{hex}"),
        format!("sha256:..%2F..%2F..%2F{}", &hex[..55]),
        "..%2F..%2Fetc%2Fpasswd".to_owned(),
        "sha256:".to_owned(),
        "sha256".to_owned(),
        format!("sha256%253A{hex}"),
        format!("sha256+b64:{hex}"),
    ];
    let cases: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(at, mount)| (Theirs, query(at, &format!("mount={mount}&from=source"))))
        .collect();
    compare(&pair(), &cases);
}

#[test]
fn a_mount_by_another_algorithm_is_the_registrys_own() {
    needs!("docker-registry", "sha512sum");
    let pair = pair();
    let sha512 = sha512_of(b"known by sha512");
    pair.prepare(|registry| {
        let client = registry.client();
        let opened = client.begin("source").expect(202);
        let glue = format!("{}&digest={sha512}", opened.location_path());
        client
            .request("PUT", &glue)
            .body(b"known by sha512")
            .send(client.port)
            .expect(201);
    });
    let (wanted, got) = pair.both(&query(0, &format!("mount={sha512}&from=source")));
    assert_eq!(wanted.status, 201);
    assert_eq!(wanted, got);
    assert_eq!(pair.sidecar.mounted(), 0);
    assert_eq!(odd(&pair), 1);
}

fn sha512_of(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bytes");
    std::fs::write(&file, bytes).unwrap();
    let output = support::tools::run(std::process::Command::new("sha512sum").arg(&file));
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha512:{}", text.split(' ').next().unwrap())
}

#[test]
fn sources_outside_the_grammar_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let d = digest();
    let cases = [
        "Source".to_owned(),
        "SOURCE".to_owned(),
        "../source".to_owned(),
        "..%2Fsource".to_owned(),
        "%2e%2e%2fsource".to_owned(),
        "source/../source".to_owned(),
        "x/../source".to_owned(),
        "./source".to_owned(),
        "/source".to_owned(),
        "source/".to_owned(),
        "sou//rce".to_owned(),
        "_layers".to_owned(),
        "source/_layers".to_owned(),
        "-source".to_owned(),
        "source-".to_owned(),
        "sou+rce".to_owned(),
        "+source".to_owned(),
        "source+".to_owned(),
        "source%20".to_owned(),
        "source%0a".to_owned(),
        "source%00".to_owned(),
        "sou%252Frce".to_owned(),
        "so%C3%BCrce".to_owned(),
        "source:tag".to_owned(),
        "source@sha256".to_owned(),
        "registry.test:5000/source".to_owned(),
        "a".repeat(64),
        "a".repeat(256),
        format!("{}/source", "a".repeat(249)),
        "a/".repeat(130),
    ];
    let cases: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(at, from)| (Theirs, query(at, &format!("mount={d}&from={from}"))))
        .collect();
    compare(&pair(), &cases);
}

#[test]
fn odd_escapes_and_separators_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let d = digest();
    let cases = [
        (Theirs, format!("mount={d};from=source")),
        (Theirs, format!("mount={d}&from=source;x=1")),
        (Theirs, format!("mount={d};x=1&from=source")),
        (Theirs, "mount=%zz&from=source".to_owned()),
        (Theirs, format!("mount={d}&from=%zz")),
        (Theirs, format!("mount={d}&from=source%")),
        (Theirs, format!("mount={d}&from=source%2")),
        (Theirs, format!("mount={d}%&from=source")),
        (Theirs, format!("%mount={d}&from=source")),
        (Theirs, format!("mount={d}?&from=source")),
        (Theirs, format!("?mount={d}&from=source")),
        (Theirs, format!("mount%3D{d}&from=source")),
        (Theirs, format!("mount={d}%26from=source")),
        (Theirs, format!("mount=={d}&from=source")),
        (Theirs, format!("+mount={d}&from=source")),
        (Theirs, format!("mount+={d}&from=source")),
        (Theirs, format!("mount[]={d}&from=source")),
    ];
    let cases: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(at, (by, text))| (*by, query(at, text)))
        .collect();
    compare(&pair(), &cases);
}

#[test]
fn odd_neighbours_of_a_mount_do_not_change_its_answer() {
    needs!("docker-registry");
    // Who answers these is a matter of taste; that the answers agree is not.
    let d = digest();
    let long = "x".repeat(4000);
    let pair = pair();
    let mut differences = Differences::default();
    for (at, text) in [
        format!("x=1;y=2&mount={d}&from=source"),
        format!("x=%zz&mount={d}&from=source"),
        format!("mount={d}&from=source&%"),
        format!("&&mount={d}&&from=source&"),
        format!("=&=x&mount={d}&from=source"),
        format!("mount={d}&from=source&x={long}"),
        format!("mount={d}&from=source&%00=%00"),
        format!("mount={d}&from=source&x=\u{fc}"),
        format!("mount={d}&from=source;"),
    ]
    .iter()
    .enumerate()
    {
        let request = query(at, text);
        let (wanted, got) = pair.both(&request);
        differences.compare(&request, &wanted, &got);
    }
    differences.compare("the links", &links(&pair.alone), &links(&pair.behind));
    differences.none();
}

#[test]
fn odd_paths_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let q = format!("mount={}&from=source", digest());
    let long = "a".repeat(256);
    let cases = [
        format!("/v2/t%2Fx/blobs/uploads/?{q}"),
        format!("/v2/t%2fy/blobs/uploads/?{q}"),
        format!("/v2/t%31/blobs/uploads/?{q}"),
        format!("/v2/t/blobs%2Fuploads/?{q}"),
        format!("/v2/t/blobs/uploads%2F?{q}"),
        format!("/v2/t/%62lobs/uploads/?{q}"),
        format!("/%76%32/t/blobs/uploads/?{q}"),
        format!("/v2/t/blobs/uploads?{q}"),
        format!("/v2/t/blobs/uploads//?{q}"),
        format!("/v2//t/blobs/uploads/?{q}"),
        format!("/v2/t//blobs/uploads/?{q}"),
        format!("//v2/t/blobs/uploads/?{q}"),
        format!("/v2/t/../t/blobs/uploads/?{q}"),
        format!("/v2/../v2/t/blobs/uploads/?{q}"),
        format!("/v2/t/./blobs/uploads/?{q}"),
        format!("/v2/t/blobs/uploads/..?{q}"),
        format!("/v2/t/blobs/uploads/.?{q}"),
        format!("/v2/%2e%2e/t/blobs/uploads/?{q}"),
        format!("/v2/t/%2e%2e/u/blobs/uploads/?{q}"),
        format!("/v2/..%2Ft/blobs/uploads/?{q}"),
        format!("/v2/t%00/blobs/uploads/?{q}"),
        format!("/v2/t%zz/blobs/uploads/?{q}"),
        format!("/v2/t%/blobs/uploads/?{q}"),
        format!("/v2/t+/blobs/uploads/?{q}"),
        format!("/v2/t;x/blobs/uploads/?{q}"),
        format!("/v2/T/blobs/uploads/?{q}"),
        format!("/v2/-t/blobs/uploads/?{q}"),
        format!("/v2/_layers/blobs/uploads/?{q}"),
        format!("/v2/t:v1/blobs/uploads/?{q}"),
        format!("/v2/blobs/uploads/?{q}"),
        format!("/v2/{}/blobs/uploads/?{q}", "a".repeat(64)),
        format!("/v2/{long}/blobs/uploads/?{q}"),
        format!("/v2/{}/blobs/uploads/?{q}", "a/".repeat(128) + "a"),
        format!("/v2/t/blobs/upload/?{q}"),
        format!("/v2/t/Blobs/uploads/?{q}"),
        format!("/V2/t/blobs/uploads/?{q}"),
        format!("/v1/t/blobs/uploads/?{q}"),
        format!("/pfx/v2/t/blobs/uploads/?{q}"),
        format!("/v2/?{q}"),
        format!("/?{q}"),
        "/v2/t/blobs/uploads/%3Fmount=x".to_owned(),
    ];
    let cases: Vec<_> = cases.iter().map(|target| (Theirs, post(target))).collect();
    compare(&pair(), &cases);
}

#[test]
fn a_body_is_answered_as_by_the_registry() {
    needs!("docker-registry");
    let (d, other) = (digest(), digest_of(OTHER));
    let form = "application/x-www-form-urlencoded";
    let mixed = "multipart/form-data; boundary=x";
    let part = |name: &str, value: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let whole = format!(
        "{}{}--x--\r\n",
        part("mount", &other),
        part("from", "elsewhere")
    );
    let mount = format!("mount={d}&from=source");
    let over = format!("mount={other}&from=elsewhere");
    let bodies = [
        (&*mount, form, &*over),
        (&mount, form, "from=nowhere"),
        (&mount, form, "x=y"),
        (&mount, form, "%zz"),
        ("", form, &mount),
        ("x=1", form, &over),
        (
            &mount,
            "Application/X-WWW-Form-Urlencoded; charset=utf-8",
            &over,
        ),
        (&mount, "text/plain", &over),
        (&mount, "application/octet-stream", "bytes"),
        (&mount, mixed, &whole),
        (&mount, "", "x"),
    ];
    let pair = pair();
    let mut cases = Vec::new();
    for (at, (query, kind, body)) in bodies.iter().enumerate() {
        let start = |name: &str| {
            format!(
                "POST /v2/{name}{at}/blobs/uploads/?{query} HTTP/1.1\r\n\
                 Host: registry.test:5000\r\nContent-Type: {kind}\r\n"
            )
        };
        let length = body.len();
        cases.push((
            Theirs,
            start("known") + &format!("Content-Length: {length}\r\n\r\n{body}"),
        ));
        cases.push((
            Theirs,
            start("chunked")
                + &format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ));
    }
    compare(&pair, &cases);
}

#[test]
fn a_bodyless_mount_may_name_any_content_type() {
    needs!("docker-registry");
    let q = format!("mount={}&from=source", digest());
    let cases: Vec<_> = [
        "Content-Type: application/json\r\nContent-Length: 0",
        "Content-Type: application/octet-stream\r\nContent-Length: 0",
        "Content-Type: application/json",
        "Accept: */*\r\nAccept-Encoding: gzip\r\nUser-Agent: a client/1.0\r\nContent-Length: 0",
    ]
    .iter()
    .enumerate()
    .map(|(at, headers)| {
        let line = format!("POST /v2/typed{at}/blobs/uploads/?{q} HTTP/1.1");
        (
            Ours,
            format!("{line}\r\nHost: registry.test:5000\r\n{headers}\r\n\r\n"),
        )
    })
    .collect();
    compare(&pair(), &cases);
}

#[test]
fn other_methods_and_versions_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let q = format!("mount={}&from=source", digest());
    let pair = pair();
    let mut cases = Vec::new();
    for method in [
        "HEAD", "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "MOUNT",
    ] {
        cases.push((
            Theirs,
            format!(
                "{method} /v2/t/blobs/uploads/?{q} HTTP/1.1\r\n\
                 Host: registry.test:5000\r\nContent-Length: 0\r\n\r\n"
            ),
        ));
    }
    compare(&pair, &cases);
    let mut differences = Differences::default();
    for request in [
        format!("POST /v2/old/blobs/uploads/?{q} HTTP/1.0\r\nHost: registry.test:5000\r\n\r\n"),
        format!(
            "POST /v2/kept/blobs/uploads/?{q} HTTP/1.0\r\nHost: registry.test:5000\r\n\
             Connection: keep-alive\r\nContent-Length: 0\r\n\r\n"
        ),
        format!(
            "POST http://registry.test:5000/v2/absolute/blobs/uploads/?{q} HTTP/1.1\r\n\
             Host: registry.test:5000\r\nContent-Length: 0\r\n\r\n"
        ),
        format!(
            "POST /v2/closed/blobs/uploads/?{q} HTTP/1.1\r\nHost: registry.test:5000\r\n\
             Connection: close\r\nContent-Length: 0\r\n\r\n"
        ),
        format!(
            "POST /v2/empty/blobs/uploads/?{q} HTTP/1.1\r\nHost: registry.test:5000\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ] {
        let (wanted, got) = pair.both(&request);
        differences.compare(&request, &wanted, &got);
    }
    differences.compare("the links", &links(&pair.alone), &links(&pair.behind));
    differences.none();
}

#[test]
fn a_connection_serves_odd_and_plain_mounts_in_turn() {
    needs!("docker-registry");
    let pair = pair();
    let q = format!("mount={}&from=source", digest());
    let mut connection = support::wire::Connection::to(pair.sidecar.port).unwrap();
    for at in 0..10 {
        let odd = if at % 2 == 0 { "" } else { "&from=source" };
        let request = query(at, &format!("{q}{odd}"));
        connection.write(request.as_bytes()).unwrap();
        connection.answer("POST").unwrap().expect(201);
    }
    assert_eq!(pair.sidecar.mounted(), 5);
    assert_eq!(odd(&pair), 5);
}

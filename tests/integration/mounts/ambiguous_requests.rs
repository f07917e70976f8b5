//! Requests that are odd in path, body, method or version: the answer is the registry's own.

use crate::{needs, support};
use support::compare::ambiguous_mounts::AnsweredBy::{Registry as Theirs, Sidecar as Ours};
use support::compare::ambiguous_mounts::{
    OTHER, compare, compare_answers, counted_as_odd, digest, pair, post, query,
};
use support::digest_of;

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
    let requests = [
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
    ];
    compare_answers(&pair, requests);
}

#[test]
fn a_connection_serves_odd_and_plain_mounts_in_turn() {
    needs!("docker-registry");
    let pair = pair();
    let q = format!("mount={}&from=source", digest());
    let mut connection = support::raw_http::Connection::to(pair.sidecar.port).unwrap();
    for at in 0..10 {
        let odd = if at % 2 == 0 { "" } else { "&from=source" };
        let request = query(at, &format!("{q}{odd}"));
        connection.write(request.as_bytes()).unwrap();
        connection.answer("POST").unwrap().expect(201);
    }
    assert_eq!(pair.sidecar.mounted(), 5);
    assert_eq!(counted_as_odd(&pair), 5);
}

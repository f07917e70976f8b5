//! Queries that are odd: the answer is the registry's own, whatever it is.

use crate::{needs, support};
use support::compare::ambiguous_mounts::AnsweredBy::{Registry as Theirs, Sidecar as Ours};
use support::compare::ambiguous_mounts::{
    OTHER, compare_answers, compare_queries, counted_as_odd, digest, pair, query,
};
use support::digest_of;

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
    compare_queries(cases.map(|text| (Ours, text)));
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
    compare_queries(cases.map(|text| (Theirs, text)));
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
    compare_queries(cases.map(|mount| (Theirs, format!("mount={mount}&from=source"))));
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
    assert_eq!(counted_as_odd(&pair), 1);
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
    compare_queries(cases.map(|from| (Theirs, format!("mount={d}&from={from}"))));
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
    compare_queries(cases);
}

#[test]
fn odd_neighbours_of_a_mount_do_not_change_its_answer() {
    needs!("docker-registry");
    // Who answers these is a matter of taste; that the answers agree is not.
    let d = digest();
    let long = "x".repeat(4000);
    let pair = pair();
    let texts = [
        format!("x=1;y=2&mount={d}&from=source"),
        format!("x=%zz&mount={d}&from=source"),
        format!("mount={d}&from=source&%"),
        format!("&&mount={d}&&from=source&"),
        format!("=&=x&mount={d}&from=source"),
        format!("mount={d}&from=source&x={long}"),
        format!("mount={d}&from=source&%00=%00"),
        format!("mount={d}&from=source&x=\u{fc}"),
        format!("mount={d}&from=source;"),
    ];
    let requests = texts.iter().enumerate();
    compare_answers(&pair, requests.map(|(at, text)| query(at, text)));
}

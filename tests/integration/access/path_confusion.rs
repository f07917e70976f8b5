//! Paths, sources and digests that two readers could take differently: nothing is linked under
//! a name that the registry does not see itself.

use crate::{needs, support};
use support::compare::ambiguous_mounts::AnsweredBy::{Registry as Theirs, Sidecar as Ours};
use support::compare::ambiguous_mounts::{compare, compare_queries, digest, links, pair, post};
use support::compare::send_raw;

#[test]
fn a_path_that_names_another_repository_after_all_is_the_registrys() {
    needs!("docker-registry");
    let q = format!("mount={}&from=source", digest());
    let names = [
        "t/%2E",
        "t/%2e%2E%2ft",
        "t%2f%2e%2e%2fu",
        "source%2f..%2ft",
        "t/..%2f..%2fv2/t",
        "t%5c..%5cu",
        "t\\..\\u",
        "t%252Fu",
        "t/%252e%252e/u",
        "t%2500",
        "%74",
        "t/%75",
        "t/_uploads",
        "t/_manifests/tags",
        "t/_layers/sha256",
        "t%2F_layers",
        "%5flayers",
        "t%c0%ae%c0%ae/u",
        "t%c0%afu",
        "t%e0%80%afu",
        "t%ff",
        "%EF%BC%8E%EF%BC%8E/u",
        "t%E2%88%95u",
        "t%23u",
        "t%3Fu",
        "t%3fmount=x",
        "t%20",
        "t%09",
        "t%0d%0aX-Other:%20u",
        "t...u",
        ".t",
        "t.",
        "t/..",
        "t/~",
        "Host.Example/t",
        "%2e/t",
        ".%2Ft",
        "./t",
        "t/x/..",
        "t,u",
        "t&u",
        "t=u",
        "t@sha256:0",
        "t%7Cu",
        "t/%2F/u",
        "t//u",
        "t///u",
        "t%2f%2fu",
    ];
    let mut paths: Vec<_> = names
        .iter()
        .map(|name| format!("/v2/{name}/blobs/uploads/"))
        .collect();
    paths.extend(
        [
            "/v2%2ft/blobs/uploads/",
            "/v2/t%2fblobs%2fuploads%2f",
            "/%2fv2/t/blobs/uploads/",
            "/%2e/v2/t/blobs/uploads/",
            "/x/../v2/t/blobs/uploads/",
            "/v2/t/blobs/./uploads/",
            "/v2/t/blobs//uploads/",
            "/v2/t/blobs\\uploads/",
            "/v2/t/blobs/uploads/%2e%2e/uploads/",
            "/v2/t/blobs/uploads/%2F",
            "/v2/t/manifests/../blobs/uploads/",
            "/v2/t/blobs/uploads/;/",
        ]
        .map(str::to_owned),
    );
    let cases: Vec<_> = paths
        .iter()
        .map(|path| (Theirs, post(&format!("{path}?{q}"))))
        .collect();
    compare(&pair(), &cases);
}

#[test]
fn a_source_that_is_read_differently_is_the_registrys() {
    needs!("docker-registry");
    let d = digest();
    let cases = [
        "source%2f",
        "source%2F..%2Fsource",
        "elsewhere%2f%2e%2e%2fsource",
        "source/..",
        "source/.",
        "source/../elsewhere",
        "sou%2F%2Frce",
        "sou%2F.%2Frce",
        "sou/_layers/rce",
        "source%2F_layers%2Fsha256",
        "..%2F..%2Fblobs",
        "source%5c",
        "source\\elsewhere",
        "source%09",
        "source%0d%0aX-Other:%20u",
        "%0asource",
        "source%00%2Felsewhere",
        "source%c0%80",
        "source%c0%ae",
        "sou%c0%afrce",
        "sou%e0%80%afrce",
        "sou%ef%bc%8frce",
        "s\u{f6}urce",
        "%ff",
        "source%252e%252e",
        "source%3Fx",
        "source?x",
        "source%23x",
        "source%3bx",
        "source,elsewhere",
        "source%2Celsewhere",
        "source%7Celsewhere",
        "source%26from%3Delsewhere",
        "source...",
        ".source",
        "Host.Example:5000/source",
        "host/source",
        "source=",
        "=source",
        "'source'",
        "%22source%22",
    ];
    compare_queries(cases.map(|from| (Theirs, format!("mount={d}&from={from}"))));
}

#[test]
fn a_digest_that_is_read_differently_is_the_registrys() {
    needs!("docker-registry");
    let d = digest();
    let hex = d.strip_prefix("sha256:").unwrap();
    let cases = [
        format!("{d}/../{hex}"),
        format!("{d}%2f"),
        format!("{d}%5c"),
        format!("{d}%23"),
        format!("{d}?"),
        format!("{d},{d}"),
        format!("{d}%c0%80"),
        format!("{d}%0d%0aLocation:%20x"),
        format!("sha256:%2F{hex}"),
        format!("sha256::{hex}"),
        format!("sha256%00:{hex}"),
        format!("sha256%3A%3A{hex}"),
        format!("sha256:%2e%2e%2f{}", &hex[3..]),
        format!("sha256:%EF%BC%94{}", &hex[1..]),
        format!("sha-256:{hex}"),
        format!("sha256.x:{hex}"),
        format!("sha256+sha256:{hex}"),
        format!("blake3:{hex}"),
        format!("sha256:{hex}:{hex}"),
        format!("sha256/{hex}"),
        format!("%EF%BD%93ha256:{hex}"),
    ];
    compare_queries(cases.map(|mount| (Theirs, format!("mount={mount}&from=source"))));
}

#[test]
fn a_query_with_two_readings_is_the_registrys() {
    needs!("docker-registry");
    let d = digest();
    let cases = [
        (Theirs, format!("mount={d}&from%00=source")),
        (Theirs, format!("mount={d}&from%20=source")),
        (Theirs, format!("mount={d}&from[]=source")),
        (Theirs, format!("mount={d}&%66%72%6f%6d%3Dsource")),
        (Theirs, format!("mount={d}&from=%&from=source")),
        (Theirs, format!("mount={d}&from=source&from;=elsewhere")),
        (Theirs, format!("mount={d}&from=elsewhere;&from=source")),
        (Theirs, format!("mount={d}&from=source&fr%6fm=%ff")),
        (Theirs, format!("mount={d}%26from%3Dsource&from=elsewhere")),
        (Ours, format!("mount={d}&from=source&%2566rom=elsewhere")),
        (Ours, format!("mount={d}&from=source&from%00=elsewhere")),
        (Ours, format!("mount={d}&from=source&FROM=elsewhere")),
        (Ours, format!("mount={d}&from=source&from[]=elsewhere")),
        (Ours, format!("mount={d}&from=source&x=/../../secret")),
    ];
    compare_queries(cases);
}

#[test]
fn a_target_with_a_fragment_is_refused_and_goes_nowhere() {
    needs!("docker-registry");
    let d = digest();
    let pair = pair();
    let before = links(&pair.behind);
    for target in [
        format!("/v2/new/blobs/uploads/?mount={d}&from=source#"),
        format!("/v2/new/blobs/uploads/?mount={d}&from=source#&from=elsewhere"),
        format!("/v2/new/blobs/uploads/?from=source&mount={d}#x"),
        format!("/v2/new#/blobs/uploads/?mount={d}&from=source"),
        format!("/v2/source/blobs/{d}#x"),
    ] {
        let answer = send_raw(pair.sidecar.port, post(&target).as_bytes());
        assert_eq!(answer.status, 400, "{target}");
    }
    assert_eq!(links(&pair.behind), before);
    assert_eq!(pair.sidecar.all_mounts(), [""; 0]);
    pair.sidecar.client().mount("new", &d, "source").expect(201);
}

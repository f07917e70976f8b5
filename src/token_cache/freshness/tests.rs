use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const TTL: Duration = Duration::from_secs(30);
const PULL: &str = r#"[{"type":"repository","name":"a","actions":["pull","push"]}]"#;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

fn token(access: &str, issued: u64, life: u64) -> String {
    let claims = format!(
        r#"{{"sub":"alice","access":{access},"iat":{issued},"exp":{}}}"#,
        issued + life
    );
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn body(token: &str) -> String {
    format!(r#"{{"expires_in":300,"token":"{token}","access_token":"{token}"}}"#)
}

fn judged(status: u16, headers: &[(&'static str, &str)], body: &str) -> Freshness {
    let mut head = ResponseHeader::build(status, None).unwrap();
    for (name, value) in headers {
        head.append_header(*name, *value).unwrap();
    }
    let scopes = [Scope::parse("repository:a:pull,push").unwrap()];
    freshness_of(&head, body.as_bytes(), &scopes, TTL)
}

/// For how many seconds it may be cached, rounded up.
fn cached_for(headers: &[(&'static str, &str)], body: &str) -> Option<u128> {
    match judged(200, headers, body) {
        Freshness::Keep(lifetime) => Some(lifetime.as_millis().div_ceil(1000)),
        Freshness::Share | Freshness::Leave => None,
    }
}

#[test]
fn a_token_that_grants_everything_is_cached_for_the_time_allowed() {
    assert_eq!(cached_for(&[], &body(&token(PULL, now(), 300))), Some(30));
}

#[test]
fn a_token_is_never_cached_past_half_of_its_life() {
    let life = |issued, life| cached_for(&[], &body(&token(PULL, issued, life)));
    assert_eq!(life(now() - 130, 300), Some(20));
    assert_eq!(life(now() - 150, 300), None);
    assert!(life(now(), 40).is_some_and(|seconds| seconds <= 20));
    assert_eq!(life(now() + 1000, 40), Some(20));
    let shorter = body(&token(PULL, now(), 300)).replace("300", "20");
    assert!(cached_for(&[], &shorter).is_some_and(|seconds| seconds <= 10));
    let unsaid = body(&token(PULL, now(), 300)).replace(r#""expires_in":300,"#, "");
    assert!(cached_for(&[], &unsaid).is_some_and(|seconds| seconds <= 30));
}

#[test]
fn less_access_than_was_requested_is_not_cached() {
    for access in [
        "[]",
        "null",
        r#"[{"type":"repository","name":"a","actions":["pull"]}]"#,
        r#"[{"type":"repository","name":"a","actions":[]}]"#,
        r#"[{"type":"repository","name":"b","actions":["pull","push"]}]"#,
        r#"[{"type":"registry","name":"a","actions":["pull","push"]}]"#,
    ] {
        let answer = body(&token(access, now(), 300));
        assert_eq!(judged(200, &[], &answer), Freshness::Share, "{access}");
    }
}

#[test]
fn an_incomplete_response_is_not_shared() {
    let good = body(&token(PULL, now(), 300));
    for status in [201, 204, 302, 401, 403, 500] {
        assert_eq!(judged(status, &[], &good), Freshness::Leave, "{status}");
    }
    let other = token("[]", now(), 300);
    for answer in [
        "",
        "{}",
        "no json",
        r#"{"token":5}"#,
        &good.replacen(&token(PULL, now(), 300), &other, 1),
        &good.replace('{', r#"{"refresh_token":"x","#),
    ] {
        assert_eq!(judged(200, &[], answer), Freshness::Leave, "{answer}");
    }
}

#[test]
fn the_responses_own_headers_decide_first() {
    let good = body(&token(PULL, now(), 300));
    for (headers, expected) in [
        (&[("Cache-Control", "no-store")][..], None),
        (&[("Cache-Control", "public, No-Cache")], None),
        (&[("Cache-Control", "private=\"x\"")], None),
        (&[("Cache-Control", "max-age=5")], Some(5)),
        (&[("Cache-Control", "max-age=5"), ("Age", "2")], Some(3)),
        (&[("Cache-Control", "max-age=5"), ("Age", "x")], None),
        (&[("Cache-Control", "max-age=50, s-maxage=\"4\"")], Some(4)),
        (&[("Cache-Control", "s-maxage=4, max-age=50")], Some(4)),
        (&[("Cache-Control", "max-age=soon")], None),
        (&[("Cache-Control", "max-age=500")], Some(30)),
        (&[("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], None),
        (&[("Set-Cookie", "a=b")], None),
        (&[("Vary", "Accept")], Some(30)),
    ] {
        assert_eq!(cached_for(headers, &good), expected, "{headers:?}");
    }
}

#[test]
fn a_response_varies_by_the_headers_that_it_names() {
    let mut request = HeaderMap::new();
    request.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let varies = |vary: &'static str| {
        let mut answer = HeaderMap::new();
        answer.insert(header::VARY, HeaderValue::from_static(vary));
        varies_by(&answer, &request)
    };
    let names = varies("Accept, Cookie").unwrap();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0].1, ["*/*"]);
    assert!(names[1].1.is_empty());
    assert_eq!(varies("Accept, *"), None);
    assert_eq!(varies("a b"), None);
    assert_eq!(varies(""), Some(Vec::new()));
}

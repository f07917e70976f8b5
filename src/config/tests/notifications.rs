//! Who is told of mounts.

use super::*;

#[test]
fn endpoints_are_written_as_in_the_registrys_own_configuration() {
    let endpoint = |rest: &str| {
        format!(
            "{MINIMAL}notifications: {{endpoints: [{{name: a, url: 'https://u/e?x=y'{rest}}}]}}\n"
        )
    };
    let loaded = |text: &str| match load(text).unwrap().kind {
        RegistryKind::Distribution(mut settings) => settings.endpoints.remove(0),
        _ => panic!("not distribution"),
    };
    let plain = loaded(&endpoint(""));
    let second = Duration::from_secs(1);
    assert_eq!(
        (plain.timeout, plain.threshold, plain.backoff),
        (second, 10, second)
    );
    let full = loaded(&endpoint(
        ", headers: {Authorization: [Bearer s3cret]}, timeout: 2s, threshold: 3, backoff: 5m",
    ));
    assert_eq!(
        (full.threshold, full.backoff),
        (3, Duration::from_secs(300))
    );
    assert_eq!(full.headers["authorization"], "Bearer s3cret");
    assert!(!format!("{full:?}").contains("s3cret"));
    // Zero stands for the default there too.
    let zero = loaded(&endpoint(
        ", timeout: 0s, threshold: 0, backoff: 0s, ignore: , disabled: false",
    ));
    assert_eq!(
        (zero.timeout, zero.threshold, zero.backoff),
        (second, 10, second)
    );
    let choosy = loaded(&endpoint(
        ", ignoredmediatypes: [b], ignore: {mediatypes: [a], actions: [pull]}",
    ));
    assert_eq!(choosy.ignore.mediatypes, ["a", "b"]);
    assert_eq!(choosy.ignore.actions, ["pull"]);
    // Of one that is disabled nothing else is read.
    let disabled = endpoint("}, {name: a, disabled: true, url: nowhere");
    assert_eq!(loaded(&disabled).name, "a");
    for (text, word) in [
        (
            endpoint(", headers: {'a b': [c]}"),
            "a: \"a b\" is not a header name",
        ),
        (
            endpoint(", headers: {a: [\"s3cret\\n\"]}"),
            "a: the value of a is not a valid header value",
        ),
        (
            endpoint(", timeout: soon"),
            "a: timeout \"soon\" is not a duration",
        ),
        (
            endpoint("}, {name: a, url: 'http://b'"),
            "two endpoints have the name \"a\"",
        ),
        (
            endpoint("}, {url: 'http://b'"),
            "endpoint 2 has no name: set one",
        ),
        (
            endpoint("}, {name: b, url: 'http://s3cret@b'"),
            "b: url is not",
        ),
        (endpoint("}, {name: b, url: 'ftp://b'"), "b: url is not"),
        (
            endpoint("}, {name: b, url: 'http://1.2.3.400/'"),
            "b: url is not",
        ),
        (
            endpoint("}, {name: b, url: 'http://b:99999/s3cret'"),
            "b: url is not",
        ),
        (
            endpoint(", headers: {Authorization: Bearer s3cret}"),
            "invalid type: a text, expected a sequence",
        ),
        (
            endpoint(", ignore: {repositories: [a]}"),
            "unknown field `repositories`",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(word) && !error.contains("s3cret"), "{error}");
    }
    let others = "upstream: {url: 'http://a', kind: pulp}\nnotifications: {endpoints: [{name: a, url: 'http://b'}]}\n";
    assert!(error(others).contains("notifications.endpoints: has an effect only"));
}

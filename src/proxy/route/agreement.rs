//! A mount to crossmount is the same mount to the registry, whatever the request looks like.

use std::cell::Cell;

use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::proxy::route::model::{D, Seen, registry};

const NASTY: &[&str] = &[
    "..",
    ".",
    "%2e",
    "%2E%2e",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    "%00",
    "//",
    "/",
    ";",
    "+",
    "%",
    "%25",
    "%252e",
    "%252f",
    "A",
    "%41",
    "_layers",
    "_uploads",
    "a",
    "b/c",
    "?",
    "#",
    "\u{fc}",
    "%c3%bc",
    "%c0%ae",
    "%c0%af",
    "%e0%80%af",
    "%ff",
    "&",
    "=",
    "&from=x",
    "&mount=x",
    "&from",
    "%26",
    "%3d",
    "%3F",
    "%23",
    "%0a",
    "%0d",
    "%20",
    "%09",
    "__",
    "-",
    ":5000/",
    "blobs/uploads/",
    "v2/",
    "~",
    "|",
    "\u{212a}",
    "%6d",
    "@",
];
const NAMES: &[&str] = &[
    "dst",
    "team/src",
    "a",
    "a__b/c-d",
    "x.y",
    "blobs/uploads",
    "v2",
    "0/1",
    "a---b",
    "manifests",
];

/// A text in which some bytes are escaped.
fn escaped(text: String, share: f64) -> impl Strategy<Value = String> {
    let length = text.len();
    vec(proptest::bool::weighted(share), length).prop_map(move |marks| {
        let letters = text.bytes().zip(marks);
        letters.fold(String::new(), |all, (byte, mark)| match mark {
            true if byte % 2 == 0 => format!("{all}%{byte:02x}"),
            true => format!("{all}%{byte:02X}"),
            false => format!("{all}{}", char::from(byte)),
        })
    })
}

/// A name, or some fragments that may make one.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(NAMES).prop_map(str::to_owned),
        1 => vec(select(NASTY), 1..5).prop_map(|parts| parts.concat()),
        1 => vec(prop_oneof![select(NAMES), select(NASTY)], 1..5).prop_map(|parts| parts.join("/")),
    ]
}

fn pair(key: &'static str, value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop_oneof![3 => Just(0.0), 1 => Just(0.4)]
        .prop_flat_map(move |share| escaped(key.to_owned(), share));
    let value = (value, prop_oneof![Just(0.0), Just(0.3)]).prop_flat_map(|(value, share)| {
        prop_oneof![
            1 => Just(value.clone()),
            1 => escaped_if_ascii(value, share),
        ]
    });
    (key, value).prop_map(|(key, value)| format!("{key}={value}"))
}

fn escaped_if_ascii(text: String, share: f64) -> BoxedStrategy<String> {
    if text.is_ascii() {
        escaped(text, share).boxed()
    } else {
        Just(text).boxed()
    }
}

fn digest() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => Just(D.to_owned()),
        1 => (0..D.len(), select(NASTY)).prop_map(|(at, nasty)| {
            let (head, tail) = D.split_at(at);
            format!("{head}{nasty}{tail}")
        }),
    ]
}

/// Query parameters in any order, most of them harmless.
fn query() -> impl Strategy<Value = String> {
    let other = prop_oneof![
        6 => select(&["origin=h:5000", "ns=docker.io", "x", "", "=", "From=y", "mounts=z", "x=%41+"][..])
            .prop_map(str::to_owned),
        1 => (select(NASTY), select(NASTY)).prop_map(|(key, value)| format!("{key}={value}")),
        1 => pair("from", name()),
        1 => pair("mount", digest()),
    ];
    (
        pair("from", name()),
        pair("mount", digest()),
        vec(other, 0..3),
    )
        .prop_map(|(from, mount, mut pairs)| {
            pairs.extend([from, mount]);
            pairs
        })
        .prop_shuffle()
        .prop_map(|pairs| pairs.join("&"))
}

/// The target of a request line, sometimes cut by a fragment.
fn target() -> impl Strategy<Value = (&'static str, String)> {
    let prefix = prop_oneof![3 => Just("/"), 1 => Just("/pfx/")];
    let whole = (prefix, name(), query()).prop_map(|(prefix, name, query)| {
        (prefix, format!("{prefix}v2/{name}/blobs/uploads/?{query}"))
    });
    let cut = proptest::option::weighted(0.4, (any::<prop::sample::Index>(), select(NASTY)));
    (whole, cut).prop_map(|((prefix, whole), cut)| {
        let Some((at, nasty)) = cut else {
            return (prefix, whole);
        };
        let letters: Vec<_> = whole.chars().collect();
        let (head, tail) = letters.split_at(at.index(letters.len() + 1));
        let (head, tail): (String, String) = (head.iter().collect(), tail.iter().collect());
        (prefix, format!("{head}{nasty}{tail}"))
    })
}

fn route(prefix: &str, target: &str) -> Route {
    let head = Request::post("/").header("Host", "registry").body(());
    let (head, ()) = head.unwrap().into_parts();
    classify(prefix, target.as_bytes(), &head)
}

#[test]
fn whatever_is_a_mount_here_is_the_same_mount_to_the_registry() {
    const CASES: u32 = 20_000;
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let (mounts, escapes, odd) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<u32>| cell.set(cell.get() + 1);
    let held = runner.run(&target(), |(prefix, target)| {
        match route(prefix, &target) {
            Route::Mount(found) => {
                count(&mounts);
                if target.contains('%') {
                    count(&escapes);
                }
                let found = Seen {
                    name: found.target.repository.as_str().into(),
                    from: found.source.as_str().into(),
                    mount: found.target.digest.as_str().into(),
                };
                prop_assert_eq!(registry(prefix, target.as_bytes()), Some(found));
            }
            Route::AmbiguousMount(_) => count(&odd),
            _ => {}
        }
        Ok(())
    });
    assert!(held.is_ok(), "{}", held.unwrap_err());
    for (what, count) in [("mounts", mounts), ("with escapes", escapes), ("odd", odd)] {
        let count = count.get();
        assert!(count > CASES / 10, "only {count} of {CASES} were {what}");
    }
}

//! A request's query, decoded as Go's `net/url` does, because the registry is written in Go.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// One `key=value` of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueryPair<'a> {
    /// The pair as it came.
    pub raw: &'a str,
    /// The decoded key.
    pub key: Cow<'a, str>,
    /// The decoded value.
    pub value: Cow<'a, str>,
}

/// The pairs of a query; `Err` is a pair that Go drops, or that is ambiguous.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Result<QueryPair<'_>, &str>> {
    query
        .split('&')
        .filter(|raw| !raw.is_empty())
        .map(|raw| parse(raw).ok_or(raw))
}

/// The query without `mount` and `from`, every other pair as it came.
pub(crate) fn without_mount(query: &str) -> String {
    let is_kept = |raw: &&str| !raw.is_empty() && !has_key(raw, "mount") && !has_key(raw, "from");
    let kept: Vec<_> = query.split('&').filter(is_kept).collect();
    kept.join("&")
}

/// Whether a pair's decoded key is `key`. Its value may be malformed: the registry may read it all
/// the same.
pub(crate) fn has_key(raw: &str, key: &str) -> bool {
    let (found, _) = raw.split_once('=').unwrap_or((raw, ""));
    decode(found).is_some_and(|found| found == key)
}

fn parse(raw: &str) -> Option<QueryPair<'_>> {
    if raw.contains(';') {
        return None;
    }
    let (key, value) = raw.split_once('=').unwrap_or((raw, ""));
    Some(QueryPair {
        raw,
        key: decode(key)?,
        value: decode(value)?,
    })
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    let bytes = text.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut percents = bytes.iter().enumerate().filter(|(_, b)| **b == b'%');
    if percents.any(|(at, _)| !is_hex(at + 1) || !is_hex(at + 2)) {
        return None;
    }
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
        return Some(Cow::Owned(decoded.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(query: &str) -> Vec<Option<(String, String)>> {
        pairs(query)
            .map(|pair| {
                pair.ok()
                    .map(|p| (p.key.into_owned(), p.value.into_owned()))
            })
            .collect()
    }

    #[test]
    fn keys_and_values_are_decoded() {
        let some = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        assert_eq!(
            read("%6dount=sha256%3Aab&from=a%2Fb&&flag&x=1+2"),
            [
                some("mount", "sha256:ab"),
                some("from", "a/b"),
                some("flag", ""),
                some("x", "1 2"),
            ]
        );
    }

    #[test]
    fn pairs_that_go_drops_are_errors() {
        assert_eq!(
            read("a;b=1&c=%zz&d=%2&%=1&e=%ff"),
            [None, None, None, None, None]
        );
    }

    #[test]
    fn mount_and_from_are_stripped_by_their_decoded_keys_and_the_rest_stays_raw() {
        assert_eq!(
            without_mount("%6dount=a&origin=h%3a1&fr%6fm=b&ns=%7E&bad=%zz"),
            "origin=h%3a1&ns=%7E&bad=%zz"
        );
        assert_eq!(without_mount("mount=a&from=b"), "");
    }

    #[test]
    fn mount_and_from_are_stripped_whatever_their_values_are() {
        assert_eq!(
            without_mount("m%6Funt=%ff&from=%zz&mount=a;b&x=%ff&%ff=mount&mount%zz=a"),
            "x=%ff&%ff=mount&mount%zz=a"
        );
    }

    proptest! {
        #[test]
        fn what_is_stripped_names_no_mount(query in "[a-f%0-9mountr=&;+]{0,60}") {
            for pair in pairs(&without_mount(&query)).flatten() {
                prop_assert!(!matches!(&*pair.key, "mount" | "from"));
            }
        }
    }
}

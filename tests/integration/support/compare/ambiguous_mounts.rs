//! Ambiguous mounts, each sent to a registry alone and to one behind the sidecar.
//!
//! The sidecar's store is verified, so that the sidecar itself answers a mount that is not ambiguous
//! after all; its response must look the same too.

use super::{Differences, RegistryPair};
use crate::support::digest_of;

pub const BLOB: &[u8] = b"the blob that is asked for";
pub const OTHER: &[u8] = b"another blob, not in the source";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    Sidecar,
    Registry,
}

pub fn pair() -> RegistryPair {
    let pair = RegistryPair::start();
    pair.prepare(|registry| {
        let client = registry.client();
        client.upload("source", BLOB);
        client.upload("sou/rce", BLOB);
        client.upload("elsewhere", OTHER);
        client.upload("target", b"already there");
    });
    pair
}

pub fn digest() -> String {
    digest_of(BLOB)
}

/// A POST without a body.
pub fn post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: registry.test:5000\r\nContent-Length: 0\r\n\r\n")
}

/// A POST with this query on a repository of its own.
pub fn query(number: usize, query: &str) -> String {
    post(&format!("/v2/new{number}/blobs/uploads/?{query}"))
}

/// Compares mounts with these queries, each into a repository of its own.
pub fn compare_queries(cases: impl IntoIterator<Item = (AnsweredBy, String)>) {
    let cases = cases.into_iter().enumerate();
    let cases: Vec<_> = cases
        .map(|(at, (by, text))| (by, query(at, &text)))
        .collect();
    compare(&pair(), &cases);
}

/// Compares the answers and what they left in the store, whoever gave them.
pub fn compare_answers(pair: &RegistryPair, requests: impl IntoIterator<Item = String>) {
    let mut differences = Differences::default();
    for request in requests {
        let (wanted, got) = pair.both(&request);
        differences.compare(&request, &wanted, &got);
    }
    differences.compare("the links", &links(&pair.alone), &links(&pair.behind));
    differences.assert_none();
}

/// Compares the answers, who gave them, and what they left in the store.
pub fn compare(pair: &RegistryPair, cases: &[(AnsweredBy, String)]) {
    let mut differences = Differences::default();
    for (by, request) in cases {
        let before = (pair.sidecar.mounted(), counted_as_odd(pair));
        let (wanted, got) = pair.both(request);
        differences.compare(request, &wanted, &got);
        let who = if pair.sidecar.mounted() > before.0 {
            AnsweredBy::Sidecar
        } else {
            AnsweredBy::Registry
        };
        differences.compare(&format!("{request}answered by"), by, &who);
        // A mount that the registry made itself was forwarded because it was odd, for no other
        // reason; one that only its body asks for is an upload by its request line.
        if *by == AnsweredBy::Registry
            && wanted.status == 201
            && request.contains("/blobs/uploads/?mount=")
        {
            let counted = counted_as_odd(pair) - before.1;
            differences.compare(&format!("{request}counted as odd"), &1, &counted);
        }
    }
    differences.compare("the links", &links(&pair.alone), &links(&pair.behind));
    differences.assert_none();
}

pub fn counted_as_odd(pair: &RegistryPair) -> u64 {
    pair.sidecar.mounts_with_reason("odd_request")
}

/// All links but those of the proof, which only one of the two registries has.
pub fn links(registry: &crate::support::registry::Registry) -> Vec<String> {
    let mut files = registry.store.files();
    files.retain(|file| file.contains("/_layers/") && !file.contains("/proof/"));
    files.sort();
    files
}

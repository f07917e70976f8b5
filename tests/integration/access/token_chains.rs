//! Chains of certificates in a token: judged as by the registry, which is asked in doubt.

use crate::{needs, support, table};
use serde_json::{Value, json};
use support::certificates::Forge;
use support::compare::credentials::compare;
use support::credential_variants::{header, signed};
use support::forged_tokens::Signing::{Es256, Rs256};
use support::forged_tokens::{standard, url_safe};

/// A header with this algorithm and a chain.
fn x5c(alg: &'static str, chain: &'static [&'static str]) -> impl Fn(&Forge) -> Value {
    move |forge| json!({"typ": "JWT", "alg": alg, "x5c": forge.chain(chain)})
}

fn push(list: &mut Value, value: &Value) {
    list.as_array_mut().unwrap().push(value.clone());
}

#[test]
fn a_chain_leads_to_the_bundle() {
    needs!("docker-registry", "openssl");
    let row = |chain: &'static [&'static str]| signed("leaf", Rs256, x5c("RS256", chain));
    compare(&table! {
        Allowed "a leaf of the authority": row(&["leaf"]);
        Allowed "a leaf and its intermediate": row(&["leaf below", "intermediate"]);
        Allowed "a leaf, its intermediate and the authority":
            row(&["leaf below", "intermediate", "authority"]);
        Allowed "a leaf and the authority": row(&["leaf", "authority"]);
        Allowed "a leaf and another's authority": row(&["leaf", "stranger"]);
        Allowed "a leaf twice": row(&["leaf", "leaf"]);
        Allowed "the chain in another order": row(&["leaf below", "authority", "intermediate"]);
        Allowed "as many certificates as are looked at":
            row(&["leaf", "stranger", "p256", "authority"]);
        Unknown "more certificates than are looked at":
            row(&["leaf", "stranger", "p256", "authority", "p384"]);
        Unknown "a leaf below an intermediate with critical constraints on names":
            row(&["leaf below named", "named intermediate"]);
        Unknown "no intermediate": row(&["leaf below"]);
        Unknown "the intermediate first": row(&["intermediate", "leaf below"]);
        Unknown "a leaf of another authority": row(&["strange leaf"]);
        Unknown "a leaf of another authority, which follows": row(&["strange leaf", "stranger"]);
        Unknown "a leaf of another authority and ours": row(&["strange leaf", "authority"]);
        Unknown "a leaf that ended": row(&["ended leaf"]);
        Unknown "a leaf that has not begun": row(&["unborn leaf"]);
        Unknown "a leaf below an intermediate that ended":
            row(&["leaf below ended", "ended intermediate"]);
        Unknown "a leaf of our authority's namesake": row(&["leaf of namesake"]);
        Unknown "a leaf of our authority's namesake, which follows":
            row(&["leaf of namesake", "authority'"]);
        Unknown "a leaf of a bundled authority that ended": row(&["leaf of ended"]);
        Unknown "a leaf of a bundled authority that may not sign": row(&["leaf of signless"]);
        Unknown "a leaf of a bundled certificate that is no authority":
            row(&["leaf of bundled leaf"]);
        Unknown "a leaf below an intermediate that may not sign":
            row(&["leaf below signless", "signless intermediate"]);
        Any "a leaf of an authority that signs leaves alone": row(&["leaf of bounded"]);
        Unknown "a leaf deeper than its authority allows":
            row(&["leaf beyond bound", "bounded intermediate"]);
        Any "a leaf for signing code": row(&["leaf for code"]);
        Unknown "a leaf with a critical extension": row(&["critical leaf"]);
        Unknown "a leaf of the first version": row(&["plain leaf"]);
        Unknown "a leaf signed by SHA-1": row(&["old hash"]);
        Unknown "a leaf of a leaf": signed("p256", Es256, x5c("ES256", &["leaf of leaf", "leaf"]));
        Unknown "the authority as its own leaf":
            signed("authority", Rs256, x5c("RS256", &["authority"]));
        Unknown "another authority as its own leaf":
            signed("stranger", Rs256, x5c("RS256", &["stranger"]));
        Unknown "an intermediate as a leaf":
            signed("intermediate", Es256, x5c("ES256", &["intermediate"]));
        Any "a bundled leaf": signed("bundled leaf", Es256, x5c("ES256", &["bundled leaf"]));
    });
}

#[test]
fn a_chain_is_written_as_the_registry_reads_it() {
    needs!("docker-registry", "openssl");
    let set = |value: Value| header(move |h| h["x5c"] = value.clone());
    // What follows the good leaf.
    let next = |value: Value| header(move |h| push(&mut h["x5c"], &value));
    // The leaf's base64, written otherwise.
    let leaf = |change: fn(&str) -> String| {
        header(move |h| h["x5c"][0] = json!(change(h["x5c"][0].as_str().unwrap())))
    };
    compare(&table! {
        Unknown "garbage as a chain": set(json!(["garbage"]));
        Unknown "an empty string as a chain": set(json!([""]));
        Unknown "a chain in a chain": set(json!([["garbage"]]));
        Denied "an empty chain": set(json!([]));
        Any "a null chain": set(json!(null));
        Unknown "a chain that is a string": header(|h| h["x5c"] = h["x5c"][0].clone());
        Unknown "garbage after the leaf": next(json!("garbage"));
        Unknown "base64 of garbage after the leaf": next(json!("Z2FyYmFnZQ=="));
        Unknown "an empty string after the leaf": next(json!(""));
        Unknown "a number after the leaf": next(json!(1));
        Unknown "null after the leaf": next(json!(null));
        Unknown "a leaf in base64url": leaf(|leaf| url_safe(standard(leaf)));
        Unknown "a leaf with too much padding": leaf(|leaf| format!("{leaf}="));
        Any "lines in the leaf's base64":
            leaf(|leaf| format!("{}\n{}\n", &leaf[..64], &leaf[64..]));
        Unknown "a space in the leaf's base64": leaf(|leaf| format!(" {leaf}"));
        Unknown "a leaf as PEM": leaf(|leaf| {
            format!("-----BEGIN CERTIFICATE-----\n{leaf}\n-----END CERTIFICATE-----\n")
        });
        Unknown "a leaf with a tail": leaf(|leaf| {
            let mut leaf = standard(leaf);
            leaf.push(0);
            support::base64(&leaf)
        });
    });
}

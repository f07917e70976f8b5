//! A token is accepted only if a trusted key signed it and its claims are right.

mod keys;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::auth::UnverifiedClaims;
use crate::auth::claims::ScopeMention;
use crate::auth::decision::LocalDecision;
use crate::auth::jwt::claims_check;
use crate::auth::jwt::claims_check::{UnverifiedToken, VerifiedToken};
use crate::auth::jwt::trust_store::TrustedKeys;
use crate::config::{DistributionVersion, TokenRules};
use crate::fuzz_targets::input::Input;
use crate::fuzz_targets::tokens::keys::Keys;
use crate::oci::RepositoryName;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "issuer";
const SERVICE: &str = "service";

/// A choice of rules, of the signer and of damaged certificates; then a line each with header and
/// claims, or the operator's own files. [`keys`] has the placeholders of keys in a header.
pub(crate) fn tokens(input: &[u8]) -> bool {
    crate::auth::jwt::signature::install();
    let mut input = Input::new(input);
    let choice = input.byte();
    let version = if choice & 1 == 0 {
        DistributionVersion::Two
    } else {
        DistributionVersion::Three
    };
    if choice & 2 != 0 {
        return files(version, input.rest());
    }
    let keys = Keys::known();
    let spoiling = [input.byte(), input.byte(), input.byte()];
    let (header, claims) = (input.line(), input.line());
    let header = keys.written(header, spoiling);
    let signed = format!("{}.{}", text(&header), text(claims));
    let (signature, is_honest) = keys.sign(choice >> 3, signed.as_bytes(), input.rest());
    let token = format!("{signed}.{}", text(&signature));
    let rules = TokenRules {
        issuer: ISSUER.to_owned(),
        service: SERVICE.to_owned(),
        root_certificates: None,
        jwks: None,
        algorithms: if choice & 4 == 0 {
            Vec::new()
        } else {
            vec!["ES256".to_owned()]
        },
        version,
    };
    let unverified = UnverifiedClaims::read(&token);
    let verified = UnverifiedToken::read(&token, &rules, NOW)
        .and_then(|claimed| claimed.verify(&token, version, keys.trusted(version), NOW));
    match verified {
        Ok(verified) => {
            assert!(is_honest, "{token}");
            assert!(keys.is_signed(signed.as_bytes(), &signature), "{token}");
            says_so(&verified, &rules, claims);
            agrees(&verified, &unverified);
            true
        }
        Err(decision) => {
            assert!(matches!(
                decision,
                LocalDecision::Denied | LocalDecision::Unknown
            ));
            false
        }
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the verifier accepted is in the claims for any parser of JSON.
fn says_so(verified: &VerifiedToken, rules: &TokenRules, claims: &[u8]) {
    let read: Value = serde_json::from_slice(claims).unwrap_or_default();
    assert_eq!(read["iss"], ISSUER);
    let listed = read["aud"].as_array().cloned().unwrap_or_default();
    let is_listed =
        rules.version == DistributionVersion::Three && listed.iter().any(|one| one == SERVICE);
    assert!(read["aud"] == SERVICE || is_listed, "{read}");
    assert!(read["exp"].as_i64().is_some_and(|end| end > NOW), "{read}");
    assert!(
        read["nbf"].is_null() || read["nbf"].as_i64().is_some_and(|start| start <= NOW),
        "{read}"
    );
    assert!(verified.is_valid_at(NOW).is_ok());
    let may = |name: &str, action: &str| {
        let entries = read["access"].as_array().cloned().unwrap_or_default();
        entries.iter().any(|entry| {
            let actions = entry["actions"].as_array().cloned().unwrap_or_default();
            entry["type"] == "repository"
                && entry["name"] == name
                && actions
                    .iter()
                    .any(|listed| listed == action || listed == "*")
        })
    };
    let [Ok(target), Ok(source)] = ["t", "s/a"].map(RepositoryName::parse) else {
        return;
    };
    let wanted = may("t", "pull") && may("t", "push") && may("s/a", "pull");
    assert_eq!(
        claims_check::covers_request(&verified.claims, &target, &source),
        wanted,
        "{read}"
    );
}

/// Unverified reading agrees with the verifier.
fn agrees(verified: &VerifiedToken, unverified: &UnverifiedClaims) {
    assert_eq!(verified.claims.subject, unverified.subject);
    let names = verified.claims.access.iter().flatten();
    for name in names.filter_map(|entry| entry.name.as_deref()) {
        let Ok(name) = RepositoryName::parse(name) else {
            continue;
        };
        if claims_check::covers_request(&verified.claims, &name, &name) {
            assert_eq!(unverified.scope_mention(&name), ScopeMention::WithPull);
            assert!(unverified.pull_repositories().contains(name.as_str()));
        }
    }
}

/// The operator's files: a bundle of certificates, or a key set.
fn files(version: DistributionVersion, file: &[u8]) -> bool {
    let mut keys = TrustedKeys::default();
    let bundle = keys.add_certificates(file, version);
    let mut others = TrustedKeys::default();
    let set = others.add_key_set(file);
    for error in [&bundle, &set]
        .into_iter()
        .filter_map(|read| read.as_ref().err())
    {
        assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
    }
    assert!(bundle.is_ok() || keys.roots.len() <= file.len());
    bundle.is_ok() || set.is_ok()
}

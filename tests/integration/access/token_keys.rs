//! The key and the signature of a token: judged as by the registry, which is asked in doubt.

use crate::{needs, support, table};
use serde_json::{Value, json};
use support::certificates::{Forge, forge};
use support::compare::credentials::{compare, compare_trusting};
use support::credential_variants::{Says, good_claims, good_token, header, signed, token, without};
use support::forged_tokens::Secret::{Der, Modulus, Pem};
use support::forged_tokens::Signing::{
    Ed25519, Es256, Es256Der, Es384, Es512, Hmac, Nothing, Ps256, Rs256, Rs384, Rs512, WeakRs256,
};
use support::forged_tokens::{Token, url_safe};
use support::version::version;

/// A header with this algorithm and a chain.
fn x5c(alg: &'static str, chain: &'static [&'static str]) -> impl Fn(&Forge) -> Value {
    move |forge| json!({"typ": "JWT", "alg": alg, "x5c": forge.chain(chain)})
}

/// A header with this algorithm and the registry's name of a key.
fn kid(alg: &'static str, key: &'static str) -> impl Fn(&Forge) -> Value {
    move |forge| json!({"typ": "JWT", "alg": alg, "kid": forge.key(key).kid()})
}

/// Without its colons, or with one where it has none.
fn regrouped(kid: &str) -> String {
    if kid.contains(':') {
        kid.replace(':', "")
    } else {
        format!("{}:{}", &kid[..4], &kid[4..])
    }
}

fn leaf(alg: &'static str) -> impl Fn(&Forge) -> Value {
    x5c(alg, &["leaf"])
}

/// A good token for another target.
fn other() -> Token {
    good_token(good_claims("elsewhere").to_string())
}

#[test]
fn only_algorithms_of_the_list_count_and_only_with_keys_of_their_family() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "RS256": signed("leaf", Rs256, leaf("RS256"));
        Allowed "RS384": signed("leaf", Rs384, leaf("RS384"));
        Allowed "RS512": signed("leaf", Rs512, leaf("RS512"));
        Denied "PS256": signed("leaf", Ps256, leaf("PS256"))
            .says_if(version().takes_pss(), Says::Allowed);
        Denied "PS256 that calls itself RS256": signed("leaf", Ps256, leaf("RS256"));
        Denied "RS256 that calls itself PS256": signed("leaf", Rs256, leaf("PS256"))
            .says_if(version().takes_pss(), Says::Unknown);
        Denied "RS384 that calls itself RS256": signed("leaf", Rs384, leaf("RS256"));
        Allowed "ES256": signed("p256", Es256, x5c("ES256", &["p256 leaf"]));
        Allowed "ES384": signed("p384", Es384, x5c("ES384", &["p384 leaf"]));
        Unknown "ES512": signed("p521", Es512, x5c("ES512", &["p521 leaf"]));
        Denied "ES256 in DER": signed("p256", Es256Der, x5c("ES256", &["p256 leaf"]));
        Denied "ES256 that calls itself ES384": signed("p256", Es256, x5c("ES384", &["p256 leaf"]));
        Denied "ES384 that calls itself ES256": signed("p384", Es384, x5c("ES256", &["p384 leaf"]));
        Denied "ES256 with an RSA key": signed("leaf", Rs256, leaf("ES256"));
        Denied "RS256 with a P-256 key": signed("p256", Es256, x5c("RS256", &["p256 leaf"]));
        Any "EdDSA": signed("ed25519", Ed25519, x5c("EdDSA", &["ed25519 leaf"]));
        Any "RS256 with an Ed25519 key":
            signed("ed25519", Ed25519, x5c("RS256", &["ed25519 leaf"]));
        Unknown "an RSA key of 1024 bits": signed("weak", WeakRs256, x5c("RS256", &["weak leaf"]));
        Denied "HS256 under the public key's PEM": signed("leaf", Hmac(Pem), leaf("HS256"));
        Denied "HS256 under the public key's DER": signed("leaf", Hmac(Der), leaf("HS256"));
        Denied "HS256 under the modulus": signed("leaf", Hmac(Modulus), leaf("HS256"));
        Denied "HS256 under a bundled key's PEM":
            signed("authority", Hmac(Pem), kid("HS256", "authority"));
        Denied "HS256 that calls itself RS256": signed("leaf", Hmac(Pem), leaf("RS256"));
        Denied "none and no signature": signed("leaf", Nothing, leaf("none"));
        Denied "none and a good signature": signed("leaf", Rs256, leaf("none"));
        Denied "None": signed("leaf", Nothing, leaf("None"));
        Denied "none and no key": signed("leaf", Nothing, |_| json!({"alg": "none"}));
        Denied "rs256": signed("leaf", Rs256, leaf("rs256"));
        Denied "RS256 and a space": signed("leaf", Rs256, leaf("RS256 "));
        Denied "an empty algorithm": signed("leaf", Rs256, leaf(""));
        Denied "RS1": signed("leaf", Rs256, leaf("RS1"));
        Denied "no algorithm": header(|h| without(h, "alg"));
        Any "a null algorithm": header(|h| h["alg"] = json!(null));
        Unknown "a number as algorithm": header(|h| h["alg"] = json!(256));
        Unknown "a list as algorithm": header(|h| h["alg"] = json!(["RS256"]));
    });
}

#[test]
fn a_signature_is_whole_and_of_these_very_parts() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Denied "by another key than the leaf's": signed("stranger", Rs256, leaf("RS256"));
        Denied "by the authority in the leaf's name": signed("authority", Rs256, leaf("RS256"));
        Denied "by another P-256 key": signed("strange p256", Es256, x5c("ES256", &["p256 leaf"]));
        Denied "no signature": token(|t| t.signature.clear());
        Denied "a signature without its end": token(|t| t.signature.truncate(340));
        Denied "half a signature": token(|t| t.signature.truncate(172));
        Denied "a signature that is too long": token(|t| { t.signature = url_safe([1; 300]) });
        Denied "zeros as a signature": token(|t| { t.signature = url_safe([0; 256]) });
        Denied "one letter of the signature is another": token(|t| {
            let other = if t.signature.starts_with('A') { "B" } else { "A" };
            t.signature.replace_range(..1, other);
        });
        Denied "the signature of other claims": token(|t| t.signature = other().signature);
        Denied "claims of another token": token(|t| t.claims = other().claims);
        Denied "claims that were altered": token(|t| {
            let claims = good_claims("elsewhere").to_string().replace("\"pull\"", "\"*\"");
            t.claims = url_safe(claims);
        });
        Denied "another header": token(|t| {
            let chain = forge().chain(&["leaf"]);
            t.header = url_safe(json!({"alg": "RS256", "x5c": chain}).to_string());
        });
        Denied "no header member at all": token(|t| t.header = url_safe("{}"));
        Denied "zeros under ES256": signed("p256", Nothing, x5c("ES256", &["p256 leaf"]));
    });
}

#[test]
fn a_kid_is_that_of_a_bundled_certificate() {
    needs!("docker-registry", "openssl");
    let row = |kid: fn(&str) -> String| {
        signed(
            "authority",
            Rs256,
            move |forge| json!({"alg": "RS256", "kid": kid(&forge.key("authority").kid())}),
        )
    };
    compare_trusting(
        &forge().judged_bundle,
        &table! {
            Allowed "a bundled RSA key": signed("authority", Rs256, kid("RS256", "authority"));
            Allowed "a bundled P-256 key": signed("p256", Es256, kid("ES256", "p256"));
            Allowed "a bundled P-384 key": signed("p384", Es384, kid("ES384", "p384"));
            Any "the key of a bundled authority that ended":
                signed("ended authority", Es256, kid("ES256", "ended authority"));
            Denied "a key below the authority": signed("leaf", Rs256, kid("RS256", "leaf"));
            Denied "an untrusted key": signed("stranger", Rs256, kid("RS256", "stranger"));
            Denied "a trusted key that did not sign":
                signed("stranger", Rs256, kid("RS256", "authority"));
            Denied "a trusted key of another family": signed("authority", Rs256, kid("RS256", "p256"));
            Denied "an unknown kid": row(|_| "key-1".to_owned());
            Denied "a path": row(|_| "../../etc/passwd".to_owned());
            Denied "a path to nothing": row(|_| "/dev/null".to_owned());
            Denied "a query": row(|_| "' OR 1=1 --".to_owned());
            Denied "an empty kid": row(|_| String::new());
            Denied "the kid in small letters": row(str::to_lowercase);
            Denied "the kid and a space": row(|kid| format!("{kid} "));
            Denied "the kid with its letters grouped otherwise": row(regrouped);
            Denied "the kid without its end": row(|kid| kid[..kid.len() - 5].to_owned());
            Unknown "a number as kid":
                signed("authority", Rs256, |_| json!({"alg": "RS256", "kid": 1}));
            Any "a null kid": signed("authority", Rs256, |_| json!({"alg": "RS256", "kid": null}));
            Denied "no reference to a key": signed("authority", Rs256, |_| json!({"alg": "RS256"}));
            Denied "only the certificate's hash": signed("leaf", Rs256, |_| {
                json!({"alg": "RS256", "x5t": "AAAA", "x5u": "https://auth.test/leaf.pem"})
            });
        },
    );
}

#[test]
fn a_kid_is_left_to_the_registry_where_a_trusted_key_cannot_be_judged() {
    needs!("docker-registry", "openssl");
    let is_unsure = version().names_keys_by_thumbprint();
    compare(&table! {
        Unknown "a bundled P-521 key": signed("p521", Es512, kid("ES512", "p521"));
        Unknown "a bundled RSA key of 1024 bits": signed("weak", WeakRs256, kid("RS256", "weak"));
        Allowed "a bundled RSA key": signed("authority", Rs256, kid("RS256", "authority"));
        Denied "an untrusted key": signed("stranger", Rs256, kid("RS256", "stranger"))
            .says_if(is_unsure, Says::Unknown);
        Denied "an unknown kid":
            signed("authority", Rs256, |_| json!({"alg": "RS256", "kid": "key-1"}))
                .says_if(is_unsure, Says::Unknown);
    });
}

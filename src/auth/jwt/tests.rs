use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value, json};

use crate::auth::decision::LocalDecision;
use crate::auth::jwt::claims_check::{UnverifiedToken, VerifiedToken};
use crate::auth::jwt::public_key::{PublicKey, libtrust_id};
use crate::auth::jwt::trust_store::TrustedKeys;
use crate::config::{DistributionVersion, TokenRules};

const NOW: i64 = 1_800_000_000;

enum Signing {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

fn ed25519() -> Signing {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Signing::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
}

fn p256() -> Signing {
    let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    Signing::P256(EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap())
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signing {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ed25519(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid})
            }
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": kid})
            }
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| text(part.to_string().as_bytes()));
        let message = parts.join(".");
        let signature = match self {
            Self::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
        };
        format!("{message}.{}", text(&signature))
    }

    /// A valid token of this key, with `change` applied to its header and claims.
    fn good(&self, kid: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"alg": self.algorithm(), "kid": kid});
        let mut claims = json!({"iss": "issuer", "aud": ["other", "service"], "exp": NOW + 60});
        change(&mut header, &mut claims);
        self.token(&header, &claims)
    }
}

fn rules(algorithms: &[&str]) -> TokenRules {
    TokenRules {
        issuer: "issuer".to_owned(),
        service: "service".to_owned(),
        root_certificates: None,
        jwks: None,
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        version: DistributionVersion::Three,
    }
}

fn trusted(keys: &[Value]) -> TrustedKeys {
    let mut trusted = TrustedKeys::default();
    let set = json!({ "keys": keys }).to_string();
    trusted.add_key_set(set.as_bytes()).unwrap();
    trusted
}

fn verified(
    token: &str,
    keys: &TrustedKeys,
    rules: &TokenRules,
) -> Result<VerifiedToken, LocalDecision> {
    crate::auth::jwt::signature::install();
    UnverifiedToken::read(token, rules, NOW)?.verify(token, rules.version, keys, NOW)
}

fn verifier(token: &str, keys: &TrustedKeys, rules: &TokenRules) -> Option<LocalDecision> {
    verified(token, keys, rules).err()
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

#[test]
fn version_3_takes_a_key_set_a_list_of_audiences_and_eddsa() {
    for key in [ed25519(), p256()] {
        let keys = trusted(&[key.jwk("one")]);
        let good = key.good("one", |_, _| ());
        assert_eq!(verifier(&good, &keys, &rules(&[])), None);
        let foreign = key.good("one", |_, claims| claims["aud"] = json!(["other"]));
        assert_eq!(
            verifier(&foreign, &keys, &rules(&[])),
            Some(LocalDecision::Denied)
        );
        let unknown = key.good("two", |_, _| ());
        assert_eq!(
            verifier(&unknown, &keys, &rules(&[])),
            Some(LocalDecision::Denied)
        );
    }
}

#[test]
fn version_2_takes_neither_lists_of_audiences_nor_eddsa() {
    let mut old = rules(&[]);
    old.version = DistributionVersion::Two;
    let key = p256();
    let keys = trusted(&[key.jwk("one")]);
    let one = key.good("one", |_, claims| claims["aud"] = json!("service"));
    assert_eq!(verifier(&one, &keys, &old), None);
    let list = key.good("one", |_, _| ());
    assert_eq!(verifier(&list, &keys, &old), Some(LocalDecision::Denied));
    let key = ed25519();
    let keys = trusted(&[key.jwk("one")]);
    let one = key.good("one", |_, claims| claims["aud"] = json!("service"));
    assert_eq!(verifier(&one, &keys, &old), Some(LocalDecision::Denied));
}

#[test]
fn algorithms_are_narrowed_by_the_configuration() {
    let key = p256();
    let keys = trusted(&[key.jwk("one")]);
    let good = key.good("one", |_, _| ());
    assert_eq!(verifier(&good, &keys, &rules(&["ES256", "RS256"])), None);
    assert_eq!(
        verifier(&good, &keys, &rules(&["RS256"])),
        Some(LocalDecision::Denied)
    );
    // A shared secret is never trusted, whatever the configuration lists.
    let shared = key.good("one", |header, _| header["alg"] = "HS256".into());
    assert_eq!(
        verifier(&shared, &keys, &rules(&["HS256"])),
        Some(LocalDecision::Denied)
    );
    let beyond = key.good("one", |header, _| header["alg"] = "ES512".into());
    assert_eq!(
        verifier(&beyond, &keys, &rules(&[])),
        Some(LocalDecision::Unknown)
    );
    assert_eq!(
        verifier(&beyond, &keys, &rules(&["ES256"])),
        Some(LocalDecision::Denied)
    );
}

#[test]
fn an_embedded_key_counts_in_version_3_by_its_name_alone() {
    let (key, attacker) = (p256(), p256());
    let keys = trusted(&[key.jwk("one")]);
    let embed = |signing: &Signing, jwk: Value| {
        signing.good("", |header, _| {
            *header = json!({"alg": "ES256", "jwk": jwk});
        })
    };
    let own = embed(&key, key.jwk("one"));
    assert_eq!(verifier(&own, &keys, &rules(&[])), None);
    let named = embed(&attacker, attacker.jwk("one"));
    assert_eq!(
        verifier(&named, &keys, &rules(&[])),
        Some(LocalDecision::Denied)
    );
    let unknown = embed(&attacker, attacker.jwk("two"));
    assert_eq!(
        verifier(&unknown, &keys, &rules(&[])),
        Some(LocalDecision::Denied)
    );
}

#[test]
fn a_key_that_cannot_be_judged_leaves_its_tokens_to_the_registry() {
    let key = p256();
    let large = json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "large"});
    let shared = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"});
    let keys = trusted(&[key.jwk("one"), large, shared]);
    for kid in ["large", "shared"] {
        let token = key.good(kid, |_, _| ());
        assert_eq!(
            verifier(&token, &keys, &rules(&[])),
            Some(LocalDecision::Unknown)
        );
    }
}

#[test]
fn a_remembered_signature_is_no_longer_good_when_its_token_is() {
    let key = p256();
    let keys = trusted(&[key.jwk("one")]);
    let verified = verified(&key.good("one", |_, _| ()), &keys, &rules(&[])).unwrap();
    assert_eq!(verified.lifetime(NOW).as_secs(), 60);
    assert_eq!(verified.lifetime(NOW + 70).as_secs(), 0);
    for (later, wanted) in [
        (0, Ok(())),
        (59, Ok(())),
        (60, Err(LocalDecision::Unknown)),
        (60 + 60, Err(LocalDecision::Unknown)),
        (60 + 61, Err(LocalDecision::Denied)),
    ] {
        assert_eq!(verified.is_valid_at(NOW + later), wanted, "{later}");
    }
}

#[test]
fn keys_are_called_as_distribution_calls_them() {
    // The example of RFC 7638, 3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let jwk = map(json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256"}));
    let key = PublicKey::from_jwk(&jwk).unwrap();
    assert_eq!(
        key.thumbprint(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    let id = libtrust_id(b"any bytes");
    let groups: Vec<_> = id.split(':').collect();
    assert_eq!(groups.len(), 12, "{id}");
    assert!(groups.iter().all(|group| group.len() == 4), "{id}");
}

#[test]
fn key_sets_and_bundles_that_hold_no_key_are_refused() {
    for json in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[1]}"#,
    ] {
        let mut keys = TrustedKeys::default();
        assert!(keys.add_key_set(json.as_bytes()).is_err(), "{json}");
    }
    for pem in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let mut keys = TrustedKeys::default();
        let added = keys.add_certificates(pem.as_bytes(), DistributionVersion::Two);
        assert!(added.is_err(), "{pem}");
    }
}

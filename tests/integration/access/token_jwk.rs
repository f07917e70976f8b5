//! Keys that a token brings along: judged as by the registry, which is asked in doubt.

use crate::{needs, support, table};
use serde_json::{Value, json};
use support::certificates::{Forge, forge};
use support::compare::credentials::{compare, compare_trusting};
use support::credential_variants::{Says, Variant, signed};
use support::forged_tokens::Signing::{Es256, Es384, Es512, Rs256};
use support::forged_tokens::url_safe;
use support::version::version;

/// A key that only its own name would make count is the registry's to judge.
fn by_name(variant: Variant) -> Variant {
    variant.says_if(version().trusts_embedded_keys_by_name(), Says::Unknown)
}

/// A header with a key of `RS256`.
fn jwk(key: impl Fn(&Forge) -> Value) -> impl Fn(&Forge) -> Value {
    move |forge| json!({"typ": "JWT", "alg": "RS256", "jwk": key(forge)})
}

/// A header with the RSA key of this name, one member of which is another.
fn changed(
    signer: &'static str,
    key: &'static str,
    member: &'static str,
    value: impl Fn(&Forge) -> Value + 'static,
) -> Variant {
    let header = jwk(move |f| {
        let mut jwk = f.key(key).rsa_jwk();
        jwk[member] = value(f);
        jwk
    });
    signed(signer, Rs256, header)
}

/// A header with a key on a curve.
fn curve(
    alg: &'static str,
    name: &'static str,
    key: &'static str,
    size: usize,
) -> impl Fn(&Forge) -> Value {
    move |forge| json!({"alg": alg, "jwk": forge.key(key).ec_jwk(name, size)})
}

#[test]
fn a_jwk_is_a_bundled_key_or_has_a_chain() {
    needs!("docker-registry", "openssl");
    let rsa = |signer: &'static str, key: &'static str| {
        signed(signer, Rs256, jwk(move |f| f.key(key).rsa_jwk()))
    };
    let with = |member: &'static str, value: fn(&Forge) -> Value| {
        changed("authority", "authority", member, value)
    };
    let chained = |key: &'static str, leaf: &'static str| {
        changed(key, key, "x5c", move |f| json!(f.chain(&[leaf])))
    };
    // Its own good chain, and one more member.
    let chained_with = |member: &'static str, value: fn(&Forge) -> Value| {
        let header = jwk(move |f| {
            let mut jwk = f.key("leaf").rsa_jwk();
            jwk["x5c"] = json!(f.chain(&["leaf"]));
            jwk[member] = value(f);
            jwk
        });
        signed("leaf", Rs256, header)
    };
    compare_trusting(
        &forge().judged_bundle,
        &table! {
            Allowed "the trusted key": by_name(rsa("authority", "authority"));
            Allowed "the trusted key with its kid": with("kid", |f| json!(f.key("authority").kid()));
            Any "with another kid": with("kid", |f| json!(f.key("p256").kid()));
            Any "with a number as kid": with("kid", |_| json!(1));
            Any "with a private member": with("d", |_| json!("AQAB"));
            Any "with a use": with("use", |_| json!("enc"));
            Any "with an empty chain": with("x5c", |_| json!([]));
            Any "with a string as chain": with("x5c", |_| json!("garbage"));
            Any "with a null chain": with("x5c", |_| json!(null));
            Any "with a number in its chain": with("x5c", |_| json!([1]));
            Any "with zeros before the modulus": with("n", |f| {
                json!(url_safe([&[0; 4], f.key("authority").modulus()].concat()))
            });
            Any "with a zero before the exponent": with("e", |_| json!("AAEAAQ"));
            Any "with another exponent": with("e", |_| json!("Aw"));
            Any "with a number as exponent": with("e", |_| json!(65537));
            Any "with another type": with("kty", |_| json!("EC"));
            Any "with the type in small letters": with("kty", |_| json!("rsa"));
            Any "with the type oct": with("kty", |_| json!("oct"));
            Denied "an attacker's key": by_name(rsa("stranger", "stranger"));
            Denied "an attacker's key with its kid":
                changed("stranger", "stranger", "kid", |f| json!(f.key("stranger").kid()));
            Denied "the trusted key and a stranger's signature":
                by_name(rsa("stranger", "authority"));
            Denied "the trusted key with its kid and a stranger's signature":
                changed("stranger", "authority", "kid", |f| json!(f.key("authority").kid()));
            Any "an attacker's key with a trusted kid":
                changed("stranger", "stranger", "kid", |f| json!(f.key("authority").kid()));
            Any "an attacker's key with five bytes of exponent":
                changed("stranger", "stranger", "e", |_| json!("AAABAAE"))
                    .panics_if(version().panics_at_long_exponents());
            Any "a key with its own good chain": chained("leaf", "leaf");
            Unknown "a key with its own good chain and another kid":
                chained_with("kid", |f| json!(f.key("p256").kid()));
            Unknown "a key with its own good chain and a private member":
                chained_with("d", |_| json!("AQAB"));
            Unknown "a key with its own untrusted chain": chained("leaf", "strange leaf");
            Any "an attacker's key with our chain": chained("stranger", "leaf");
            Any "a trusted key with the chain of another": chained("authority", "leaf");
            Unknown "a key as text":
                signed("authority", Rs256, jwk(|f| json!(f.key("authority").rsa_jwk().to_string())));
            Any "an empty key": signed("authority", Rs256, jwk(|_| json!({})));
            Any "a list of keys":
                signed("authority", Rs256, jwk(|f| json!([f.key("authority").rsa_jwk()])));
        },
    );
}

#[test]
fn a_jwk_on_a_curve_is_a_bundled_key() {
    needs!("docker-registry", "openssl");
    let with = |member: &'static str, value: fn(&Value) -> Value| {
        signed("p256", Es256, move |f| {
            let mut jwk = f.key("p256").ec_jwk("P-256", 32);
            jwk[member] = value(&jwk);
            json!({"alg": "ES256", "jwk": jwk})
        })
    };
    compare(&table! {
        Allowed "a trusted P-256 key":
            by_name(signed("p256", Es256, curve("ES256", "P-256", "p256", 32)));
        Allowed "a trusted P-256 key with its kid":
            with("kid", |_| json!(forge().key("p256").kid()));
        Allowed "a trusted P-384 key":
            by_name(signed("p384", Es384, curve("ES384", "P-384", "p384", 48)));
        Unknown "a trusted P-521 key": signed("p521", Es512, curve("ES512", "P-521", "p521", 66));
        Denied "an attacker's P-256 key":
            by_name(signed("strange p256", Es256, curve("ES256", "P-256", "strange p256", 32)));
        Denied "a trusted P-256 key and a stranger's signature":
            by_name(signed("strange p256", Es256, curve("ES256", "P-256", "p256", 32)));
        Any "a P-256 key that calls itself P-384": with("crv", |_| json!("P-384"));
        Any "a curve in small letters": with("crv", |_| json!("p-256"));
        Any "a private member": with("d", |_| json!("AQAB"));
        Any "a point that is not on its curve": with("y", |jwk| jwk["x"].clone());
        Any "a short coordinate": with("x", |_| json!("AQAB"));
        Any "a number as coordinate": with("y", |_| json!(1));
    });
}

#[test]
fn of_several_references_to_a_key_the_first_counts() {
    needs!("docker-registry", "openssl");
    // A header with a chain, a jwk and a kid; an empty word leaves one out.
    let with = |signer: &'static str, leaf: &'static str, key: &'static str, kid: &'static str| {
        signed(signer, Rs256, move |f| {
            let mut header = json!({"alg": "RS256"});
            if !leaf.is_empty() {
                header["x5c"] = json!(f.chain(&[leaf]));
            }
            if !key.is_empty() {
                header["jwk"] = f.key(key).rsa_jwk();
            }
            if !kid.is_empty() {
                header["kid"] = json!(f.key(kid).kid());
            }
            header
        })
    };
    compare(&table! {
        Unknown "a bad chain and a good kid": with("authority", "strange leaf", "", "authority");
        Unknown "a bad chain and a good key": with("authority", "strange leaf", "authority", "");
        Allowed "a good chain and an unknown kid": with("leaf", "leaf", "", "stranger");
        Allowed "a good chain and a good kid": with("leaf", "leaf", "", "authority");
        Denied "a good chain and the signer's kid": with("authority", "leaf", "", "authority");
        Any "a good chain and an attacker's key": with("leaf", "leaf", "stranger", "");
        Any "a good chain and the attacker's key that signs":
            with("stranger", "leaf", "stranger", "");
        Any "a good chain and the trusted key that signs":
            with("authority", "leaf", "authority", "");
        Denied "an attacker's key and a good kid":
            by_name(with("stranger", "", "stranger", "authority"));
        Denied "a good kid, but an attacker's key":
            by_name(with("authority", "", "stranger", "authority"));
        Allowed "a good key and an unknown kid":
            by_name(with("authority", "", "authority", "stranger"));
        Any "an empty chain and a good kid": signed("authority", Rs256, |f| {
            json!({"alg": "RS256", "x5c": [], "kid": f.key("authority").kid()})
        });
        Any "a null key and a good kid": signed("authority", Rs256, |f| {
            json!({"alg": "RS256", "jwk": null, "kid": f.key("authority").kid()})
        });
    });
}

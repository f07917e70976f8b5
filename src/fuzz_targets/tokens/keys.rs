//! Keys that are made for the tests: no private key is in the corpus.

#![allow(clippy::unwrap_used, reason = "a target fails by panicking")]

mod certificate;

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use serde_json::json;

use crate::auth::jwt::trust_store::TrustedKeys;
use crate::config::DistributionVersion;
use crate::fuzz_targets::tokens::keys::certificate::Certificate;

/// The keys that may sign a token, trusted and not.
pub(crate) struct Keys {
    /// Trusted, under the names `ed` and `p256`.
    edwards: Ed25519KeyPair,
    curve: EcdsaKeyPair,
    /// The key of a certificate whose chain leads to the bundle's, by an intermediate one.
    leaf: Ed25519KeyPair,
    /// A key that is not trusted.
    stranger: Ed25519KeyPair,
    other: EcdsaKeyPair,
    /// The leaf, the intermediate one, the bundle's, and an untrusted one.
    certificates: [Vec<u8>; 4],
    two: TrustedKeys,
    three: TrustedKeys,
}

impl Keys {
    /// The same throughout a process; those of Edwards curves are the same in every process.
    pub fn known() -> &'static Self {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(Self::new)
    }

    fn new() -> Self {
        let [edwards, leaf, stranger, middle, root] = [1, 2, 3, 4, 5].map(edwards);
        let certificates = [
            Certificate {
                name: "leaf",
                issuer: "middle",
                is_authority: false,
            }
            .signed(&leaf, &middle),
            Certificate {
                name: "middle",
                issuer: "root",
                is_authority: true,
            }
            .signed(&middle, &root),
            Certificate {
                name: "root",
                issuer: "root",
                is_authority: true,
            }
            .signed(&root, &root),
            Certificate {
                name: "root",
                issuer: "root",
                is_authority: true,
            }
            .signed(&stranger, &stranger),
        ];
        let [curve, other] = [curve(), curve()];
        let trusted = |version| {
            let mut keys = TrustedKeys::default();
            let pem = format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                STANDARD.encode(&certificates[2])
            );
            keys.add_certificates(pem.as_bytes(), version).unwrap();
            let set = json!({"keys": [edwards_jwk(&edwards, "ed"), curve_jwk(&curve, "p256")]});
            keys.add_key_set(set.to_string().as_bytes()).unwrap();
            keys
        };
        Self {
            two: trusted(DistributionVersion::Two),
            three: trusted(DistributionVersion::Three),
            edwards,
            curve,
            leaf,
            stranger,
            other,
            certificates,
        }
    }

    pub fn trusted(&self, version: DistributionVersion) -> &TrustedKeys {
        match version {
            DistributionVersion::Two => &self.two,
            DistributionVersion::Three => &self.three,
        }
    }

    /// Replaces placeholders in a header: `@0` to `@3` by certificates, `@E` and `@P` by trusted
    /// keys, `@F` and `@Q` by untrusted ones, and `@L` by the leaf's. `spoiling` may change one
    /// byte of one certificate.
    pub fn written(&self, header: &[u8], spoiling: [u8; 3]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(header) else {
            return header.to_vec();
        };
        let [which, place, change] = spoiling;
        let mut text = text.to_owned();
        for (at, certificate) in self.certificates.iter().enumerate() {
            let mut certificate = certificate.clone();
            let place = usize::from(place) * 2 + usize::from(which >> 7);
            if usize::from(which & 3) == at
                && let Some(byte) = certificate.get_mut(place)
            {
                *byte ^= change;
            }
            text = text.replace(&format!("@{at}"), &STANDARD.encode(certificate));
        }
        for (mark, jwk) in [
            ("@E", edwards_jwk(&self.edwards, "ed")),
            ("@P", curve_jwk(&self.curve, "p256")),
            ("@F", edwards_jwk(&self.stranger, "ed")),
            ("@Q", curve_jwk(&self.other, "p256")),
            ("@L", edwards_jwk(&self.leaf, "leaf")),
        ] {
            text = text.replace(mark, &jwk.to_string());
        }
        text.into_bytes()
    }

    /// A signature, and whether a trusted key made it of these bytes.
    pub fn sign(&self, choice: u8, bytes: &[u8], otherwise: &[u8]) -> (Vec<u8>, bool) {
        let edwards = |pair: &Ed25519KeyPair| pair.sign(bytes).as_ref().to_vec();
        let curve = |pair: &EcdsaKeyPair| {
            let signature = pair.sign(&SystemRandom::new(), bytes).unwrap();
            signature.as_ref().to_vec()
        };
        match choice & 7 {
            0 => (edwards(&self.edwards), true),
            1 => (curve(&self.curve), true),
            2 => (edwards(&self.leaf), true),
            3 => (edwards(&self.stranger), false),
            4 => (curve(&self.other), false),
            5 => {
                let mut signature = edwards(&self.edwards);
                signature[usize::from(choice >> 3)] ^= 1;
                (signature, false)
            }
            6 => (
                self.edwards.sign(&[bytes, b"."].concat()).as_ref().to_vec(),
                false,
            ),
            _ => (otherwise.to_vec(), false),
        }
    }

    /// Whether some trusted key made a signature, as ring alone verifies it.
    pub fn is_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let edwards = [&self.edwards, &self.leaf].map(|pair| pair.public_key().as_ref());
        let by_edwards = edwards.iter().any(|key| {
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
            key.verify(bytes, signature).is_ok()
        });
        let curve = self.curve.public_key().as_ref();
        let curve = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, curve);
        by_edwards || curve.verify(bytes, signature).is_ok()
    }
}

fn edwards(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn curve() -> EcdsaKeyPair {
    let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap()
}

fn edwards_jwk(pair: &Ed25519KeyPair, kid: &str) -> serde_json::Value {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid})
}

fn curve_jwk(pair: &EcdsaKeyPair, kid: &str) -> serde_json::Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
    json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid})
}

//! Tokens of every kind: good ones, odd ones and forged ones.

use super::certificates::openssl;
use super::version::version;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, RsaEncoding, RsaKeyPair};
use ring::{digest, hmac};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;

pub struct Key {
    pub pem: String,
    pub pkcs8: Vec<u8>,
    /// The public half, DER.
    pub public: Vec<u8>,
    pub public_pem: Vec<u8>,
}

/// How bytes are signed, whatever the token's header says.
#[derive(Clone, Copy)]
pub enum Signing {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es256Der,
    Es384,
    Es512,
    /// RS256 by openssl, with a key that is too short for a careful library.
    WeakRs256,
    Ed25519,
    /// HS256 under the public half of the key.
    Hmac(Secret),
    Nothing,
}

/// What a careless verifier would take for the secret of HS256.
#[derive(Clone, Copy)]
pub enum Secret {
    Pem,
    Der,
    Modulus,
}

/// A token whose parts can be exchanged one by one.
#[derive(Clone)]
pub struct Token {
    pub header: String,
    pub claims: String,
    pub signature: String,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.header, self.claims, self.signature)
    }
}

pub fn url_safe(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn standard(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

impl Key {
    /// A token with exactly this header and these claims, which need not be JSON.
    pub fn token(
        &self,
        signing: Signing,
        header: impl AsRef<[u8]>,
        claims: impl AsRef<[u8]>,
    ) -> Token {
        self.token_of(signing, url_safe(header), url_safe(claims))
    }

    /// A token of parts that are encoded already.
    pub fn token_of(&self, signing: Signing, header: String, claims: String) -> Token {
        let signed = format!("{header}.{claims}");
        Token {
            signature: url_safe(self.sign(signing, signed.as_bytes())),
            header,
            claims,
        }
    }

    pub fn sign(&self, signing: Signing, bytes: &[u8]) -> Vec<u8> {
        match signing {
            Signing::Rs256 => self.rsa(&signature::RSA_PKCS1_SHA256, bytes),
            Signing::Rs384 => self.rsa(&signature::RSA_PKCS1_SHA384, bytes),
            Signing::Rs512 => self.rsa(&signature::RSA_PKCS1_SHA512, bytes),
            Signing::Ps256 => self.rsa(&signature::RSA_PSS_SHA256, bytes),
            Signing::Es256 => self.ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, bytes),
            Signing::Es256Der => self.ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, bytes),
            Signing::Es384 => self.ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, bytes),
            Signing::Es512 => fixed(&self.by_openssl("-sha512", bytes), 66),
            Signing::WeakRs256 => self.by_openssl("-sha256", bytes),
            Signing::Ed25519 => signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.pkcs8)
                .unwrap()
                .sign(bytes)
                .as_ref()
                .to_vec(),
            Signing::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret(secret));
                hmac::sign(&key, bytes).as_ref().to_vec()
            }
            Signing::Nothing => Vec::new(),
        }
    }

    fn rsa(&self, padding: &'static dyn RsaEncoding, bytes: &[u8]) -> Vec<u8> {
        let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &SystemRandom::new(), bytes, &mut signature)
            .unwrap();
        signature
    }

    fn ecdsa(&self, algorithm: &'static signature::EcdsaSigningAlgorithm, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8, &random).unwrap();
        pair.sign(&random, bytes).unwrap().as_ref().to_vec()
    }

    fn by_openssl(&self, hash: &str, bytes: &[u8]) -> Vec<u8> {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("key"), &self.pem).unwrap();
        fs::write(home.path().join("bytes"), bytes).unwrap();
        openssl(home.path(), "dgst", &[hash, "-sign", "key", "bytes"])
    }

    fn secret(&self, secret: Secret) -> Vec<u8> {
        match secret {
            Secret::Pem => self.public_pem.clone(),
            Secret::Der => self.public.clone(),
            Secret::Modulus => self.modulus().to_vec(),
        }
    }

    /// The registry's name of the key.
    pub fn kid(&self) -> String {
        if version().names_keys_by_thumbprint() {
            self.thumbprint()
        } else {
            self.libtrust_id()
        }
    }

    /// RFC 7638's name of the key: a hash of its members in the order of the alphabet.
    fn thumbprint(&self) -> String {
        let jwk = match self.public.len() {
            91 => self.ec_jwk("P-256", 32),
            120 => self.ec_jwk("P-384", 48),
            158 => self.ec_jwk("P-521", 66),
            _ => self.rsa_jwk(),
        };
        let members: BTreeMap<_, _> = jwk.as_object().unwrap().iter().collect();
        let json = serde_json::to_vec(&members).unwrap();
        url_safe(digest::digest(&digest::SHA256, &json))
    }

    /// libtrust's name of the key: 240 bits of a hash, base32 in groups of four.
    fn libtrust_id(&self) -> String {
        const SET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let hash = digest::digest(&digest::SHA256, &self.public);
        let letters: Vec<_> = hash.as_ref()[..30]
            .chunks(5)
            .flat_map(|group| {
                let word = group
                    .iter()
                    .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
                (0..8).map(move |at| SET[usize::try_from(word >> (35 - 5 * at) & 31).unwrap()])
            })
            .collect();
        let groups: Vec<_> = letters
            .chunks(4)
            .map(|group| String::from_utf8_lossy(group))
            .collect();
        groups.join(":")
    }

    /// Of a key with the exponent 65537, whose five bytes end the public half.
    pub fn modulus(&self) -> &[u8] {
        let end = self.public.len() - 5;
        let length = if end > 256 { 256 } else { 128 };
        &self.public[end - length..end]
    }

    pub fn rsa_jwk(&self) -> Value {
        json!({"kty": "RSA", "n": url_safe(self.modulus()), "e": "AQAB"})
    }

    /// `size` is that of one coordinate; both end the public half.
    pub fn ec_jwk(&self, curve: &str, size: usize) -> Value {
        let start = self.public.len() - 2 * size;
        let (x, y) = self.public[start..].split_at(size);
        json!({"kty": "EC", "crv": curve, "x": url_safe(x), "y": url_safe(y)})
    }
}

/// The r‖s form of an ECDSA signature in DER, each number `size` bytes long.
fn fixed(der: &[u8], size: usize) -> Vec<u8> {
    let mut rest = &der[if der[1] < 0x80 { 2 } else { 3 }..];
    let mut joined = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = &number[number.len().saturating_sub(size)..];
        joined.resize(joined.len() + size - number.len(), 0);
        joined.extend_from_slice(number);
        rest = after;
    }
    joined
}

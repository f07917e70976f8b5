//! A public key that verifies tokens, and the identifiers by which tokens name it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The sizes of RSA keys that the library supports, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The object identifiers of the curves.
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const ED25519: &str = "1.3.101.112";

/// A key of a kind that the library supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// Both coordinates, each of the curve's length.
    P256 { x: Vec<u8>, y: Vec<u8> },
    /// Both coordinates, each of the curve's length.
    P384 { x: Vec<u8>, y: Vec<u8> },
    /// The point.
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// From a certificate; `None` for a key that the library does not support.
    pub(crate) fn from_certificate(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        match info.parsed().ok()? {
            Parsed::RSA(key) => Self::rsa(key.modulus, key.exponent),
            Parsed::EC(point) => {
                let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
                let (&[4], coordinates) = point.data().split_first_chunk::<1>()? else {
                    return None;
                };
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                match curve.to_id_string().as_str() {
                    P256 => Self::curve(&EllipticCurve::P256, x, y),
                    P384 => Self::curve(&EllipticCurve::P384, x, y),
                    _ => None,
                }
            }
            Parsed::Unknown(point) if info.algorithm.algorithm.to_id_string() == ED25519 => {
                Self::ed25519(point)
            }
            _ => None,
        }
    }

    /// From a JSON Web Key; `None` for one that is malformed or not supported.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(Value::Object(jwk.clone())).ok()?;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        match &jwk.algorithm {
            AlgorithmParameters::RSA(key) => {
                let exponent = bytes(&key.e)?;
                // libtrust fails at longer ones (`parseRSAPublicExponentParam`).
                (exponent.len() <= 4).then_some(())?;
                Self::rsa(&bytes(&key.n)?, &exponent)
            }
            AlgorithmParameters::EllipticCurve(key) => {
                Self::curve(&key.curve, &bytes(&key.x)?, &bytes(&key.y)?)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                Self::ed25519(&bytes(&key.x)?)
            }
            _ => None,
        }
    }

    fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let top = n.first()?.leading_zeros() as usize;
        let is_judged = RSA_BITS.contains(&(n.len() * 8 - top)) && matches!(e, [3] | [1, 0, 1]);
        is_judged.then(|| Self::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    fn curve(curve: &EllipticCurve, x: &[u8], y: &[u8]) -> Option<Self> {
        let (x, y) = (x.to_vec(), y.to_vec());
        match (curve, x.len(), y.len()) {
            (EllipticCurve::P256, 32, 32) => Some(Self::P256 { x, y }),
            (EllipticCurve::P384, 48, 48) => Some(Self::P384 { x, y }),
            _ => None,
        }
    }

    fn ed25519(point: &[u8]) -> Option<Self> {
        (point.len() == 32).then(|| Self::Ed25519(point.to_vec()))
    }

    /// Whether a signature by this key can be of this algorithm.
    pub(crate) fn signs(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa { .. } => {
                matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
            }
            Self::P256 { .. } => algorithm == ES256,
            Self::P384 { .. } => algorithm == ES384,
            Self::Ed25519(_) => algorithm == EdDSA,
        }
    }

    /// The key in the library's form.
    pub(crate) fn decoding_key(&self) -> DecodingKey {
        match self {
            Self::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            Self::P256 { x, y } | Self::P384 { x, y } => {
                DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat())
            }
            Self::Ed25519(point) => DecodingKey::from_ed_der(point),
        }
    }

    /// The key's identifier in distribution 3 (`registry/auth/token/util.go`, after RFC 7638),
    /// which omits leading zeros of coordinates.
    pub(crate) fn thumbprint(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = |curve: &str, x: &[u8], y: &[u8]| {
            let (x, y) = (text(without_zeros(x)), text(without_zeros(y)));
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        };
        let json = match self {
            Self::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n))
            }
            Self::P256 { x, y } => point("P-256", x, y),
            Self::P384 { x, y } => point("P-384", x, y),
            Self::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
        };
        text(&Sha256::digest(json))
    }
}

/// A key's identifier in distribution 2.8 (libtrust's `keyIDFromCryptoKey`): the first 30 bytes of
/// SHA-256 of the key's DER form, in twelve groups of four base32 letters.
pub(crate) fn libtrust_id(info_der: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = Sha256::digest(info_der);
    let mut id = String::with_capacity(59);
    for (at, five) in hash[..30].chunks_exact(5).enumerate() {
        let bits = five
            .iter()
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letters: Vec<char> = (0..8)
            .map(|place| char::from(LETTERS[(bits >> (35 - 5 * place) & 31) as usize]))
            .collect();
        let (one, other) = letters.split_at(4);
        let glue = if at == 0 { "" } else { ":" };
        // Writing into a string cannot fail.
        let _ = write!(
            id,
            "{glue}{}:{}",
            one.iter().collect::<String>(),
            other.iter().collect::<String>()
        );
    }
    id
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0);
    &bytes[start.unwrap_or(bytes.len())..]
}

//! Verifies signatures with the crypto provider that TLS uses too.
//!
//! This only maps a token's algorithms to those of ring. It supports neither shared secrets nor
//! signing.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature as ring;

/// The provider that the library uses.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes the library use this provider; only the first call in a process has an effect.
pub(crate) fn install() {
    // The only error is that it is installed already.
    let _ = PROVIDER.install_default();
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the library's type of function"
)]
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the library's type of function"
)]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let algorithm = rsa(self.algorithm).ok_or_else(Error::new)?;
                let key = ring::RsaPublicKeyComponents { n, e };
                key.verify(algorithm, message, signature)
            }
            DecodingKeyKind::SecretOrDer(point) => {
                let algorithm = curve(self.algorithm).ok_or_else(Error::new)?;
                ring::UnparsedPublicKey::new(algorithm, point).verify(message, signature)
            }
        };
        verified.map_err(|_| Error::new())
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static ring::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&ring::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&ring::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&ring::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&ring::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&ring::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&ring::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

fn curve(algorithm: Algorithm) -> Option<&'static dyn ring::VerificationAlgorithm> {
    match algorithm {
        Algorithm::ES256 => Some(&ring::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Some(&ring::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Some(&ring::ED25519),
        _ => None,
    }
}

//! The bearer token decides, by distribution's own rules (`registry/auth/token/token.go`).
//!
//! `verifier` decides; `verify` looks at a token: `compact` reads it strictly, `signer` finds the key that it names among `keys`, by a
//! certificate `chain` if need be, and the library checks the signature with the algorithms of
//! `signature`. `public_key` has the kinds of keys, `strict` JSON with one reading, `rights`
//! what a token allows. What has two readings, or is beyond the libraries, is not "no" but
//! "unknown", and the registry is asked.

pub(crate) mod claims_check;
mod key_lookup;
#[cfg(feature = "micro")]
pub(crate) mod measured;
mod parse;
pub(crate) mod permissions;
mod public_key;
pub(crate) mod signature;
mod strict_json;
pub(crate) mod trust_store;
mod verifier;
mod x5c;

pub(in crate::auth) use verifier::TokenVerifier;

#[cfg(test)]
mod tests;

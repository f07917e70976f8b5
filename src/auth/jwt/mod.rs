//! Bearer tokens, verified by distribution's own rules (`registry/auth/token/token.go`).
//!
//! | file | what |
//! |---|---|
//! | `verifier` | decides a request, and caches verified tokens |
//! | `parse`, `strict_json` | read a token without ambiguity |
//! | `claims_check` | checks issuer, audience, times and signature, and what the token permits |
//! | `key_lookup`, `trust_store`, `x5c` | find the trusted key, by a certificate chain if need be |
//! | `public_key`, `signature` | the kinds of keys, and the library's algorithms |
//!
//! What is ambiguous, or not supported by the libraries, is not denied but unknown: the registry
//! decides.

pub(crate) mod claims_check;
mod key_lookup;
mod parse;
mod public_key;
pub(crate) mod signature;
mod strict_json;
pub(crate) mod trust_store;
mod verifier;
mod x5c;

pub(in crate::auth) use verifier::TokenVerifier;

#[cfg(test)]
mod tests;

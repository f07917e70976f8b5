//! The bearer token decides, by distribution's own rules (`registry/auth/token/token.go`).
//!
//! `judge` decides; `verify` looks at a token: `compact` reads it strictly, `signer` finds the key that it names among `keys`, by a
//! certificate `chain` if need be, and the library checks the signature with the algorithms of
//! `signature`. `public_key` has the kinds of keys, `strict` JSON with one reading, `rights`
//! what a token allows. What has two readings, or is beyond the libraries, is not "no" but
//! "unknown", and the registry is asked.

mod chain;
mod compact;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzed;
mod judge;
mod keys;
#[cfg(feature = "micro")]
pub(super) mod measured;
mod public_key;
mod rights;
mod signature;
mod signer;
mod strict;
#[cfg(test)]
mod tests;
mod verify;

pub(super) use judge::TokenJudge;

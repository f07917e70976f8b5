//! The words of the OCI distribution specification as types.
//!
//! A [`RepositoryName`] and a [`Digest`] can only be made by parsing, so whoever
//! holds one may build a path from it. `challenge` and `error` read what a registry says in a
//! refusal. Nothing here knows about requests, the store or the registry behind.

mod challenge;
mod digest;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod name;
mod pattern;

pub use challenge::{finds_scope_insufficient, refuses_token};
pub use digest::{Digest, DigestError};
pub use error::{error_body, has_error_code};
pub use name::{NameError, RepositoryName};
pub use pattern::{PatternError, Patterns};

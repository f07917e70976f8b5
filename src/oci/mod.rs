//! The words of the OCI distribution specification as types.
//!
//! A [`RepositoryName`] and a [`Digest`] can only be made by parsing, so whoever
//! holds one may build a path from it. Nothing here knows about HTTP requests,
//! the store or the registry behind.

mod digest;
mod error;
mod name;

pub use digest::{Digest, DigestError};
pub use error::{error_body, has_error_code};
pub use name::{NameError, RepositoryName};

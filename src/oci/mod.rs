//! The terms of the OCI distribution specification as types.
//!
//! A [`RepositoryName`] (`name`) and a [`Digest`] (`digest`) can only be made by parsing, so both
//! are safe parts of a path. A [`BlobRef`] (`blob_ref`) has one of each. `pattern` matches names;
//! `www_authenticate` and `error` read a registry's refusals.
//! Requests, the store and the registry are not here.

mod blob_ref;
pub(crate) mod digest;
mod error;
pub(crate) mod name;
mod pattern;
mod www_authenticate;

pub use blob_ref::BlobRef;
pub use digest::Digest;
pub(crate) use error::{error_body, has_error_code};
pub use name::RepositoryName;
pub use pattern::Patterns;
pub(crate) use www_authenticate::{finds_scope_insufficient, refuses_token};

//! Basic credentials, checked against the registry's htpasswd file: every user in it may do
//! everything, as in distribution (`registry/auth/htpasswd/access.go`).
//!
//! `verifier` decides, `file` reads the users. A correct password is cached for seconds under a
//! fingerprint of the whole header. A wrong one takes one of a few places in which passwords are
//! checked, off the threads that serve requests.

pub(crate) mod file;
mod verifier;

pub(in crate::auth) use verifier::HtpasswdVerifier;

//! The registry's password file decides: whoever is in it may do everything, as distribution has
//! it (`registry/auth/htpasswd/access.go`).
//!
//! `verifier` decides, `users` reads the file. A password that was right is remembered for seconds by a fingerprint
//! of the whole header; a wrong one costs one of a few places in which passwords are checked, off
//! the threads that serve requests.

pub(crate) mod file;
mod verifier;

pub(in crate::auth) use verifier::HtpasswdVerifier;

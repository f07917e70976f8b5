//! Bounded memories of answers, kept by fingerprints from which nothing can be read back.
//!
//! `fingerprint` makes the keys, `answers` keeps what was answered, for a time of its own each.
//! What may be remembered at all is decided by whoever asks.

mod answers;
mod fingerprint;

pub use answers::{Entry, TtlCache};
pub use fingerprint::{Fingerprint, Fingerprints, NoRandomness};

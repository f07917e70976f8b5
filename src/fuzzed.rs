//! What the fuzzer in `fuzz/` feeds: readers of what strangers and operators write.
//!
//! Each target lies beside what it tries, and holds what must be true of any input: a reader
//! agrees with a model of its own, or what it has read can be written and read again. It says
//! whether the input was taken. This is part of no build but the fuzzer's and the tests', which
//! give every kept input to its target again.

mod input;
#[cfg(test)]
mod replay;

pub(crate) use input::Input;

/// Looks at an input, panics if something is wrong, and says whether it was taken.
pub type Target = fn(&[u8]) -> bool;

/// Every target, by the name of its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("answers", crate::tokens::fuzzed::answers),
    ("configuration", crate::config::fuzzed::configurations),
    ("digests", crate::oci::fuzzed::digests),
    ("events", crate::notifications::fuzzed::events),
    ("locations", crate::http::fuzzed_locations),
    ("names", crate::oci::fuzzed::names),
    ("passwords", crate::access::fuzzed_passwords),
    ("registry_files", crate::check::fuzzed_registry_files),
    ("requests", crate::http::fuzzed_requests),
    ("tokens", crate::access::fuzzed_tokens),
];

/// Gives an input to the target of a name.
///
/// # Panics
/// Where something is wrong, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(found.is_some(), "no target is called {name}");
    if let Some((_, target)) = found {
        target(input);
    }
}

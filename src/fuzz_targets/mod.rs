//! The targets of the fuzzer in `fuzz/`: parsers of what clients, registries and operators write.
//!
//! Each target states what must hold for any input. A parser agrees with a model of its own, or
//! what it has read can be written and read again. It returns whether the input was accepted. Only
//! the fuzzer builds this, and the tests, which give each target its corpus again.

#[cfg(any(test, fuzzing))]
pub(crate) mod answers;
#[cfg(any(test, fuzzing))]
pub(crate) mod configuration;
#[cfg(any(test, fuzzing))]
pub(crate) mod events;
mod input;
#[cfg(any(test, fuzzing))]
pub(crate) mod locations;
#[cfg(any(test, fuzzing))]
pub(crate) mod names;
#[cfg(any(test, fuzzing))]
pub(crate) mod passwords;
#[cfg(any(test, fuzzing))]
pub(crate) mod registry_files;
#[cfg(test)]
mod replay;
#[cfg(any(test, fuzzing))]
pub(crate) mod requests;
#[cfg(any(test, fuzzing))]
pub(crate) mod tokens;

/// Tries an input, panics if something is wrong, and returns whether it was accepted.
pub type Target = fn(&[u8]) -> bool;

/// Every target, by the name of its directory in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("answers", crate::fuzz_targets::answers::answers),
    (
        "configuration",
        crate::fuzz_targets::configuration::configurations,
    ),
    ("digests", crate::fuzz_targets::names::digests),
    ("events", crate::fuzz_targets::events::events),
    ("locations", crate::fuzz_targets::locations::locations),
    ("names", crate::fuzz_targets::names::names),
    ("passwords", crate::fuzz_targets::passwords::passwords),
    (
        "registry_files",
        crate::fuzz_targets::registry_files::registry_files,
    ),
    ("requests", crate::fuzz_targets::requests::classify),
    ("tokens", crate::fuzz_targets::tokens::tokens),
];

/// Gives an input to the target of this name.
///
/// # Panics
/// If something is wrong, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(found.is_some(), "no target is called {name}");
    if let Some((_, target)) = found {
        target(input);
    }
}

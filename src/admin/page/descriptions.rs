//! How a mount ended, in a sentence for people who do not know the metrics.

use crate::telemetry::outcome::{Outcome, Reason};

/// The sentence for an outcome.
pub(crate) fn describe_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Mounted => "crossmount wrote the link, and the layer was not sent.",
        Outcome::AlreadyLinked => {
            "The layer was in the repository already, and crossmount said so."
        }
        Outcome::Native => "The registry mounted the layer itself.",
        Outcome::Relayed => "crossmount copied the layer beside the registry, for the client.",
        Outcome::WouldMount => {
            "A dry run: crossmount would have written the link, and left it to the registry."
        }
        Outcome::Forwarded => "crossmount left it to the registry; mostly the layer is sent then.",
    }
}

/// The sentence for a reason.
pub(crate) fn describe_reason(outcome: Outcome, reason: Reason) -> &'static str {
    match reason {
        // The registry responded, so there is nothing to explain.
        Reason::None if matches!(outcome, Outcome::Native | Outcome::Forwarded) => {
            "Nothing stood against it: this registry mounts by itself, or was not yet known to own the folder."
        }
        Reason::None => "Nothing stood against it.",
        Reason::OddRequest => "The request has a form that only the registry can judge.",
        Reason::NoCredentials => "The registry wants a login, and the request had none.",
        Reason::Denied => "This caller may not push there, or not pull from there.",
        Reason::SourceMissing => {
            "No repository was named, or found, that holds the layer for this caller."
        }
        Reason::BlobMissing => "The layer's bytes are not in the registry's folder.",
        Reason::BlobUnverified => {
            "The layer's bytes were not hashed yet, or have changed since: they are hashed now."
        }
        Reason::BlobDamaged => {
            "The layer's bytes in the registry's folder are damaged: the log names it."
        }
        Reason::ReadOnly => "The registry takes no writes, or none were seen to be taken lately.",
        Reason::UpstreamUnavailable => "The registry did not answer, or not as a registry.",
        Reason::AccessMismatch => {
            "The registry refused what the configuration here allows: compare the two."
        }
        Reason::StoreError => "The registry's folder could not be read or written: see the log.",
        Reason::Timeout => "It took longer than mount.time_budget allows.",
        Reason::Overload => "Too many mounts, or passwords to check, came at once.",
        Reason::Mended => {
            "The registry's answer would have broken the push, so an upload was begun in its place."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use strum::VariantArray;

    #[test]
    fn every_outcome_and_every_reason_has_a_sentence_of_its_own() {
        let outcomes = Outcome::VARIANTS.iter().copied();
        let mut sentences: Vec<_> = outcomes.map(describe_outcome).collect();
        let reasons = Reason::VARIANTS.iter().copied();
        sentences.extend(reasons.map(|reason| describe_reason(Outcome::Forwarded, reason)));
        sentences.push(describe_reason(Outcome::Mounted, Reason::None));
        for sentence in &sentences {
            assert!(sentence.ends_with('.'), "{sentence}");
            assert!(sentence.split(' ').count() > 3, "{sentence}");
        }
        let different: HashSet<_> = sentences.iter().collect();
        assert_eq!(different.len(), sentences.len());
    }
}

//! What each outcome and each reason of a mount means, in one sentence or two.

use crate::telemetry::outcome::{Outcome, Reason};

/// What an outcome means.
pub(crate) fn describe_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Mounted => "crossmount wrote the layer link. The client uploaded nothing.",
        Outcome::AlreadyLinked => {
            "The repository already had the layer. The client uploaded nothing."
        }
        Outcome::Native => "The registry mounted the layer itself. The client uploaded nothing.",
        Outcome::Relayed => "crossmount uploaded the layer in the client's place.",
        Outcome::WouldMount => "Dry run: crossmount would have mounted the layer.",
        Outcome::Forwarded => {
            "The registry answered the request. The client usually uploads the layer."
        }
    }
}

/// What a reason means, beside this outcome.
pub(crate) fn describe_reason(outcome: Outcome, reason: Reason) -> &'static str {
    match reason {
        Reason::None if matches!(outcome, Outcome::Native | Outcome::Forwarded) => {
            "crossmount left the mount to the registry: it mounts itself, or the store is not verified yet."
        }
        Reason::None => "All checks passed.",
        Reason::OddRequest => "The request is ambiguous. Only the registry can judge it.",
        Reason::NoCredentials => "The request has no credentials, and the registry requires them.",
        Reason::Denied => {
            "The client has no permission to pull from the source or to push to the target."
        }
        Reason::SourceMissing => "The client named no source that has the layer.",
        Reason::BlobMissing => "The store does not have the blob's data.",
        Reason::BlobUnverified => {
            "The blob is not verified yet. crossmount hashes it in the background."
        }
        Reason::BlobDamaged => "The blob's data does not match its digest. The log has the digest.",
        Reason::ReadOnly => {
            "The registry refuses writes, or the last write-availability probe is stale."
        }
        Reason::UpstreamUnavailable => "The registry did not respond, or responded with an error.",
        Reason::AccessMismatch => {
            "The registry denied what crossmount's access settings allow. Compare both configurations."
        }
        Reason::StoreError => "The store returned an error. The log has the error.",
        Reason::Timeout => "The mount took longer than mount.time_budget.",
        Reason::Overload => "Too many mounts or password checks were waiting.",
        Reason::Mended => {
            "The registry's refusal would have failed the push. crossmount started a plain upload instead."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use strum::VariantArray;

    #[test]
    fn every_outcome_and_every_reason_has_a_text_of_its_own() {
        let outcomes = Outcome::VARIANTS.iter().copied();
        let mut texts: Vec<_> = outcomes.map(describe_outcome).collect();
        let reasons = Reason::VARIANTS.iter().copied();
        texts.extend(reasons.map(|reason| describe_reason(Outcome::Forwarded, reason)));
        texts.push(describe_reason(Outcome::Mounted, Reason::None));
        for text in &texts {
            assert!(text.ends_with('.'), "{text}");
            assert!(text.split(' ').count() > 2, "{text}");
            for sentence in text.split(". ") {
                assert!(sentence.split(' ').count() <= 25, "{sentence}");
            }
        }
        let different: HashSet<_> = texts.iter().collect();
        assert_eq!(different.len(), texts.len());
    }
}

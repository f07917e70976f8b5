//! Numbers and outcomes in a form for people who do not know the metrics.

use std::time::Duration;

use crate::telemetry::outcome::{Outcome, Reason};

/// The bound of a histogram's last bucket: longer times are unknown.
const LONGEST: f64 = 600.0;

/// Bytes in a decimal unit, as registries and clients show them.
#[allow(
    clippy::cast_precision_loss,
    reason = "shown with three digits at most"
)]
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        // What would be rounded to a thousand gets the next unit.
        if value < 999.5 {
            return with_unit(value, if bytes == 1 { "byte" } else { unit });
        }
        value /= 1000.0;
    }
    with_unit(value, "TB")
}

fn with_unit(value: f64, unit: &str) -> String {
    let is_exact = unit.starts_with("byte");
    if is_exact || value >= 99.95 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// A whole number with its thousands separated.
pub(crate) fn whole_number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An estimated time in seconds.
pub(crate) fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(long) if long >= LONGEST => "more than 10 min".to_owned(),
        Some(short) if short < 0.001 => format!("{:.2} ms", short * 1000.0),
        Some(short) if short < 0.01 => format!("{:.1} ms", short * 1000.0),
        Some(short) if short < 1.0 => format!("{:.0} ms", short * 1000.0),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// A time in its two largest units.
pub(crate) fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days} d {} h", hours % 24)
    } else if hours > 0 {
        format!("{hours} h {} min", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

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
    fn bytes_have_a_unit_of_a_thousand() {
        for (number, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (99_940, "99.9 kB"),
            (123_456, "123 kB"),
            (999_600, "1.0 MB"),
            (1_234_000_000, "1.2 GB"),
            (5_000_000_000_000, "5.0 TB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(whole_number(number), text);
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(None), "–");
        assert_eq!(seconds(Some(0.000_25)), "0.25 ms");
        assert_eq!(seconds(Some(0.0032)), "3.2 ms");
        assert_eq!(seconds(Some(0.25)), "250 ms");
        assert_eq!(seconds(Some(2.0)), "2.0 s");
        assert_eq!(seconds(Some(600.0)), "more than 10 min");
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(61)), "1 min 1 s");
        assert_eq!(duration(Duration::from_secs(7260)), "2 h 1 min");
        assert_eq!(duration(Duration::from_secs(90_000)), "1 d 1 h");
    }

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

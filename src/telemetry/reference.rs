//! Holds the reference's pages about metrics, outcomes and reasons to the code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strum::VariantArray;

use crate::telemetry::labels::NotificationResult;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::util::reference_page;

const PAGE: &str = "metrics.md";

/// A metric as Prometheus' text form has it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// Every metric of a process that has seen a request, a webhook and a certificate.
fn shown() -> BTreeMap<String, Shown> {
    let metrics = Metrics::new(None).unwrap();
    metrics.notifications_begin("audit");
    metrics.notification("audit", NotificationResult::Sent);
    metrics.request(&http::Method::GET, None, Duration::ZERO);
    metrics.certificate_expiry("listener", 0);
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    let mut found = BTreeMap::<String, Shown>::new();
    for line in text.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                found.entry(name.to_owned()).or_default().kind = kind.to_owned();
            }
            ["#", "HELP", name, help] => {
                found.entry(name.to_owned()).or_default().help = help.to_owned();
            }
            _ => {
                let (name, rest) = line.split_once(['{', ' ']).unwrap();
                let mut family = ["_bucket", "_sum", "_count"].iter();
                let family = family
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                let labels = rest
                    .split("=\"")
                    .map(|part| part.rsplit(['"', ',']).next().unwrap());
                let count = rest.matches("=\"").count();
                let labels = labels.take(count).filter(|label| *label != "le");
                let shown = found.get_mut(family).unwrap();
                shown.labels.extend(labels.map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn every_metric_is_in_the_reference_with_its_type_and_its_labels() {
    let rows = reference_page::rows(PAGE, "metric");
    let documented: BTreeMap<_, _> = rows
        .iter()
        .map(|row| (reference_page::name(&row[0]), row))
        .collect();
    let shown = shown();
    let names = shown.keys().cloned().collect();
    reference_page::assert_same(PAGE, &names, &documented.keys().cloned().collect());
    for (name, metric) in &shown {
        let row = documented[name];
        assert_eq!(row[1], metric.kind, "{name}");
        assert_eq!(reference_page::code(&row[2]), metric.labels, "{name}");
        assert!(!row[3].is_empty(), "{name}");
    }
}

#[test]
fn every_metric_has_a_help_text_of_whole_sentences() {
    for (name, metric) in shown() {
        let help = &metric.help;
        assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
        for word in ["nobody", "everybody", "whoever", "what became", "no longer"] {
            assert!(!help.contains(word), "{name}: {help}");
        }
        if name.ends_with("_seconds") {
            assert!(help.contains("econds"), "{name}: {help}");
        }
    }
}

#[test]
fn every_outcome_and_every_reason_is_in_the_reference() {
    let names = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
    let documented = |page, first| {
        let rows = reference_page::rows(page, first);
        rows.iter()
            .map(|row| reference_page::name(&row[0]))
            .collect()
    };
    let page = "outcomes-and-reasons.md";
    let outcomes = names(Outcome::VARIANTS.iter().map(AsRef::as_ref).collect());
    reference_page::assert_same(page, &outcomes, &documented(page, "outcome"));
    let reasons = names(Reason::VARIANTS.iter().map(AsRef::as_ref).collect());
    reference_page::assert_same(page, &reasons, &documented(page, "reason"));
    let text = std::fs::read_to_string(reference_page::path(PAGE)).unwrap();
    for via in Via::VARIANTS {
        assert!(
            text.contains(&format!("`{}`", via.as_ref())),
            "{PAGE}: {}",
            via.as_ref()
        );
    }
}

//! Request smuggling in front of the real registry: nothing gets another meaning by the sidecar.

use crate::{needs, support};
use std::collections::BTreeSet;
use std::time::Duration;
use support::figures::{amount, note};
use support::pair::Pair;
use support::registry::Registry;
use support::smuggled::{BLOB, Smuggled, marker, variants};
use support::splitting::{About, Manner, judge_each};

#[test]
fn what_a_registry_makes_of_smuggled_requests_is_not_changed() {
    needs!("docker-registry");
    let pair = Pair::start();
    pair.prepare(|registry| {
        registry.client().upload("source", BLOB);
    });
    for manner in amount(
        &[Manner::InTurn][..],
        &[
            Manner::InTurn,
            Manner::Burst,
            Manner::Pieces(5),
            Manner::Pieces(64),
        ],
    ) {
        look(&pair, *manner);
    }
    let (alone, behind) = (hidden(&pair.alone), hidden(&pair.behind));
    let more: Vec<_> = behind.difference(&alone).collect();
    assert!(more.is_empty(), "mounted out of a body: {more:?}");
}

fn look(pair: &Pair, manner: Manner) {
    let all = variants();
    let wrong = judge_each(&all, |variant| {
        // A quiet moment may be the machine's: only what stays wrong with more patience is wrong.
        let mut judged = Ok(());
        for quiet in [100, 1000, 5000] {
            judged = judge(pair, variant, manner, Duration::from_millis(quiet));
            if judged.is_ok() {
                break;
            }
        }
        judged
    });
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    note(
        "Hostile clients",
        &format!("request smuggling before a real registry, {manner:?}"),
        all.len() as u64,
        "answered as by the registry alone, or refused with 400",
    );
}

fn judge(pair: &Pair, variant: &Smuggled, manner: Manner, quiet: Duration) -> Result<(), String> {
    let alone = variant.send(pair.alone.port, manner, quiet);
    let behind = variant.send(pair.sidecar.port, manner, quiet);
    for (at, got) in behind.iter().enumerate() {
        let wanted = alone.get(at);
        if wanted != Some(got) && !is_refusal(got) && !may_be(variant, got, wanted) {
            return Err(format!("answer {at}: alone {alone:?}, behind {behind:?}"));
        }
    }
    Ok(())
}

/// Nothing is done, and no marker comes back.
fn is_refusal(about: &About) -> bool {
    about.marker.is_none() && about.status >= 400
}

/// Whether the sidecar may lead to this answer where the registry alone gives another, or none.
fn may_be(variant: &Smuggled, got: &About, alone: Option<&About>) -> bool {
    let is_about = |kind| got.marker == Some(marker(kind, variant.number));
    // The registry alone often gives up a connection whose odd body has ended, and so never comes
    // to the request that follows.
    let is_next = alone.is_none_or(is_refusal) && is_about("last");
    // It is the same request, which only the registry alone refuses.
    let is_first = is_about("first") || got.marker.is_none();
    let is_wider = alone.is_some_and(is_refusal) && variant.is_taken_more_widely();
    is_next || (is_wider && is_first)
}

/// Targets of hidden mounts that were made.
fn hidden(registry: &Registry) -> BTreeSet<String> {
    let files = registry.store.files();
    let links = files.into_iter().filter(|file| file.ends_with("/link"));
    links.filter(|file| file.contains("/hidden-")).collect()
}

//! Request smuggling in front of the real registry: nothing gets another meaning by the sidecar.

use crate::{needs, support};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::compare::RegistryPair;
use support::figures::amount;
use support::raw_responses::{About, SendMode, conclude, judge_each};
use support::registry::Registry;
use support::smuggling::{BLOB, Hidden, SmugglingAttempt, marker, variants};

/// Of about three thousand. A quarter is taken by both; in a burst on a busy machine it may be less.
const LEAST_ALIKE: usize = 400;

#[test]
fn what_a_registry_makes_of_smuggled_requests_is_not_changed() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    pair.prepare(|registry| {
        registry.client().upload("source", BLOB);
    });
    for manner in amount(
        &[SendMode::InTurn][..],
        &[
            SendMode::InTurn,
            SendMode::Burst,
            SendMode::Pieces(5),
            SendMode::Pieces(64),
        ],
    ) {
        look(&pair, *manner);
    }
    let (alone, behind) = (hidden(&pair.alone), hidden(&pair.behind));
    let mut more: Vec<_> = behind.difference(&alone).collect();
    for next in variants().iter().filter(|it| it.hidden == Hidden::Next) {
        more.retain(|link| !link.contains(&marker("hidden", next.number)));
    }
    assert!(more.is_empty(), "mounted out of a body: {more:?}");
}

fn look(pair: &RegistryPair, manner: SendMode) {
    let all = variants();
    let alike = AtomicUsize::new(0);
    let wrong = judge_each(&all, |variant| {
        // A quiet moment may be the machine's: only what stays wrong with more patience is wrong.
        let mut judged = Ok(false);
        for quiet in [100, 1000, 5000] {
            judged = judge(pair, variant, manner, Duration::from_millis(quiet));
            if judged.is_ok() {
                break;
            }
        }
        judged.map(|is_alike| {
            alike.fetch_add(is_alike.into(), Ordering::Relaxed);
        })
    });
    let alike = alike.into_inner();
    conclude(
        &format!("request smuggling before a real registry, {manner:?}"),
        &all,
        &wrong,
        &format!(
            "answered as by the registry alone, or refused with 400; {alike} alike to the end"
        ),
    );
    // Who refuses everything smuggles nothing either.
    assert!(alike >= LEAST_ALIKE, "only {alike} answered alike");
}

/// Whether both answer alike, where it is right.
fn judge(
    pair: &RegistryPair,
    variant: &SmugglingAttempt,
    manner: SendMode,
    quiet: Duration,
) -> Result<bool, String> {
    let alone = variant.send(pair.alone.port, manner, quiet);
    let behind = variant.send(pair.sidecar.port, manner, quiet);
    // What comes before its time is read by nobody.
    let is_early = manner != SendMode::InTurn && alone.starts_with(&behind);
    let is_alike = !behind.is_empty() && (alone == behind || is_early);
    if variant.is_plain() && !is_alike {
        return Err(format!("plain: alone {alone:?}, behind {behind:?}"));
    }
    let is_mute = behind.is_empty() && !alone.is_empty() && manner == SendMode::InTurn;
    if is_mute && !variant.is_waited_for() {
        return Err(format!("no answer: alone {alone:?}"));
    }
    for (at, got) in behind.iter().enumerate() {
        let wanted = alone.get(at);
        if wanted != Some(got) && !is_refusal(got) && !may_be(variant, got, wanted) {
            return Err(format!("answer {at}: alone {alone:?}, behind {behind:?}"));
        }
    }
    Ok(is_alike)
}

/// The sidecar's own: nothing is done, and no marker comes back.
fn is_refusal(about: &About) -> bool {
    about.marker.is_none() && about.status == 400
}

/// The registry has more words for it, such as 501 and 505.
fn is_refused_alone(about: &About) -> bool {
    about.marker.is_none() && about.status >= 400
}

/// Whether the sidecar may lead to this answer where the registry alone gives another, or none.
fn may_be(variant: &SmugglingAttempt, got: &About, alone: Option<&About>) -> bool {
    let is_about = |kind| got.marker == Some(marker(kind, variant.number));
    // The registry alone often gives up a connection whose odd head or body has ended, and so never
    // comes to the requests that follow.
    let follows = is_about("last") || (variant.hidden == Hidden::Next && is_about("hidden"));
    let is_next = alone.is_none_or(is_refused_alone) && follows;
    // It is the same request, which only the registry alone refuses.
    let is_first = is_about("first") || got.marker.is_none();
    let is_wider = alone.is_some_and(is_refused_alone) && variant.is_taken_more_widely();
    is_next || (is_wider && is_first)
}

/// Targets of hidden mounts that were made.
fn hidden(registry: &Registry) -> BTreeSet<String> {
    let files = registry.store.files();
    let links = files.into_iter().filter(|file| file.ends_with("/link"));
    links.filter(|file| file.contains("/hidden-")).collect()
}

use super::*;
use crate::config::DiscoveryConfig;
use crate::oci::Patterns;
use crate::store::fixture::{Fixture, digest, name};
use std::time::Duration;

struct Case {
    fixture: Fixture,
    discovery: Discovery,
}

impl Case {
    /// A store whose repositories hold the layer, which has data.
    fn with(settings: DiscoveryConfig, holders: &[&str]) -> Self {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        for holder in holders {
            fixture.write_link(holder, digest().as_str());
        }
        let discovery = Discovery::new(settings);
        Self { fixture, discovery }
    }

    fn search(&self, pullable: PullScope, tried: &[&str]) -> SearchOutcome {
        let search = StoreSearch {
            target: BlobRef {
                repository: name("team/app"),
                digest: digest(),
            },
            pullable,
            tried: tried.iter().map(|tried| name(tried)).collect(),
        };
        let run = |store: &OpenStore<'_>| search.run(&self.discovery, store);
        self.fixture.store.on_open(run).unwrap().unwrap()
    }

    fn found(&self, pullable: PullScope) -> Vec<String> {
        let found = self.search(pullable, &[]).found;
        found.iter().map(|name| name.as_str().to_owned()).collect()
    }
}

fn settings(sources: Sources, shared: &[&str]) -> DiscoveryConfig {
    DiscoveryConfig {
        sources,
        shared: Patterns::parse(shared.iter().copied()).unwrap(),
        search_time: Duration::from_secs(60),
        ..DiscoveryConfig::default()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn where_every_caller_may_pull_everything_each_repository_is_found() {
    for holder in ["other", "other/x", "a/b/c/d", "team/lib", "team/app/below"] {
        let case = Case::with(settings(Sources::Any, &[]), &["team/app", holder]);
        assert_eq!(case.found(PullScope::Everything), [holder]);
    }
    let alone = Case::with(settings(Sources::Any, &[]), &["team/app"]);
    assert_eq!(alone.found(PullScope::Everything), NOTHING);
}

#[test]
fn the_likeliest_are_looked_at_first() {
    let holders = ["far/used", "far/x", "team/lib", "base/os"];
    let case = Case::with(settings(Sources::Any, &["base/*"]), &holders);
    case.discovery.record_use(&name("far/used"));
    let mut tried = Vec::new();
    for next in ["far/used", "team/lib", "base/os", "far/x"] {
        let found = case.search(PullScope::Everything, &tried).found;
        assert_eq!(found, [name(next)]);
        tried.push(next);
    }
}

#[test]
fn the_operators_setting_decides_where_is_looked() {
    let holders = ["base/os", "team/lib", "far/x"];
    for (sources, first, then) in [
        (Sources::Shared, "base/os", NOTHING.as_slice()),
        (Sources::Namespace, "team/lib", &["base/os"]),
        (Sources::Any, "team/lib", &["base/os", "far/x"]),
    ] {
        let case = Case::with(settings(sources, &["base/**"]), &holders);
        let mut tried = vec![first];
        assert_eq!(case.found(PullScope::Everything), [first]);
        for next in then {
            let found = case.search(PullScope::Everything, &tried).found;
            assert_eq!(found, [name(next)]);
            tried.push(next);
        }
        let end = case.search(PullScope::Everything, &tried);
        assert_eq!((end.found, end.result), (vec![], SearchResult::NotFound));
    }
}

#[test]
fn only_what_the_caller_may_pull_and_what_is_shared_is_looked_at() {
    let holders = ["team/secret", "far/mine", "team/mine", "base/os"];
    let case = Case::with(settings(Sources::Any, &["base/os", "none/**"]), &holders);
    let mine = PullScope::these(["far/mine", "team/mine", "team/app", "No Name"]);
    assert_eq!(case.found(mine), ["team/mine", "far/mine", "base/os"]);
    assert_eq!(case.found(PullScope::these([])), ["base/os"]);
}

#[test]
fn nothing_is_looked_at_for_a_caller_who_may_pull_nothing_else() {
    let is_worthwhile = |settings, pullable| {
        let search = StoreSearch {
            target: BlobRef {
                repository: name("team/app"),
                digest: digest(),
            },
            pullable,
            tried: Vec::new(),
        };
        search.is_worthwhile(&Discovery::new(settings))
    };
    let any = || settings(Sources::Any, &[]);
    assert!(!is_worthwhile(any(), PullScope::these(["team/app"])));
    assert!(is_worthwhile(any(), PullScope::these(["team/app", "b"])));
    assert!(is_worthwhile(any(), PullScope::Everything));
    let shared = || settings(Sources::Shared, &["base/*"]);
    assert!(is_worthwhile(shared(), PullScope::these([])));
    let off = DiscoveryConfig {
        search_repositories: 0,
        ..shared()
    };
    assert!(!is_worthwhile(off, PullScope::Everything));
}

#[test]
fn patterns_say_where_shared_repositories_are() {
    for (pattern, start, depth) in [
        ("base/*", "base", Some(1)),
        ("base/**", "base", None),
        ("base/*/os", "base", Some(2)),
        ("base/debian-*", "base", Some(1)),
        ("team-*/os", "", Some(2)),
        ("*", "", Some(1)),
        ("**", "", None),
        ("a/b/c*/**", "a/b", None),
    ] {
        assert_eq!(start_of(pattern), (start, depth), "{pattern}");
        let shared = settings(Sources::Shared, &[pattern]);
        let holder = pattern.replace("**", "x/y").replace('*', "z");
        let case = Case::with(shared, &[&holder, "unshared/by/all/of/them"]);
        let found = case.found(PullScope::these([]));
        assert!(found.contains(&holder), "{pattern}: {found:?}");
        let is_found = found.iter().any(|name| name.starts_with("unshared"));
        assert_eq!(is_found, pattern == "**");
    }
}

#[test]
fn without_data_there_is_no_search_for_callers_who_may_know_that() {
    let case = Case::with(settings(Sources::Any, &[]), &["far/x"]);
    std::fs::remove_dir_all(case.fixture.path("blobs")).unwrap();
    let end = case.search(PullScope::Everything, &[]);
    assert_eq!((end.found, end.result), (vec![], SearchResult::NotFound));
    let other = case.search(PullScope::these(["far/x"]), &[]);
    assert_eq!(other.found, [name("far/x")]);
}

#[test]
fn the_limits_end_a_search() {
    let holders = ["a/1", "a/2", "b/last"];
    let limited = |search_repositories, search_time| {
        let settings = DiscoveryConfig {
            search_repositories,
            search_time,
            ..settings(Sources::Any, &[])
        };
        let case = Case::with(settings, &holders);
        for holder in &holders[..2] {
            std::fs::remove_file(case.fixture.link_path(holder)).unwrap();
        }
        case.search(PullScope::Everything, &[])
    };
    let minute = Duration::from_secs(60);
    // Beside the three there are the directories above them.
    let whole = limited(5, minute);
    assert_eq!(whole.found, [name("b/last")]);
    assert_eq!(limited(4, minute).result, SearchResult::Limit);
    let short = limited(100, Duration::from_nanos(1));
    assert_eq!((short.found, short.result), (vec![], SearchResult::Limit));
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let case = Case::with(settings(Sources::Any, &[]), &["z/holder"]);
    // A loop is no directory, and nothing can be below it.
    let broken = case.fixture.path("repositories/a");
    std::os::unix::fs::symlink("a", broken).unwrap();
    assert_eq!(case.found(PullScope::Everything), ["z/holder"]);
}

use std::fs;

use super::*;
use crate::store::fixture::{Fixture, digest};

fn scanned(fixture: &Fixture, after: Option<&str>, most: usize) -> (Vec<String>, bool) {
    let mut seen = Vec::new();
    let after = after.map(|name| RepositoryName::parse(name).unwrap());
    let mut visit = |step: ScanEvent<'_>| {
        match step {
            ScanEvent::Link {
                repository,
                is_there: true,
                ..
            } => seen.push(repository.as_str().to_owned()),
            ScanEvent::Link { .. } => seen.push("gone".to_owned()),
            ScanEvent::Repository(repository) => seen.push(format!("{repository}.")),
            ScanEvent::Directory { .. } => {}
            ScanEvent::Unreadable(error) => seen.push(error.to_string()),
        }
        if seen.len() >= most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let ended = fixture
        .store
        .on_open(|store| store.scan(after.as_ref(), StaleTempFiles::Remove, &mut visit));
    (seen, ended.unwrap().unwrap())
}

fn filled() -> Fixture {
    let fixture = Fixture::new();
    for repository in ["b", "a/b", "a", "a-b", "a/b/c", "a0/x"] {
        fixture.write_link(repository, digest().as_str());
    }
    for directory in [
        "a/_manifests/tags",
        "a/_uploads",
        "empty/repository",
        "BAD/_layers",
    ] {
        fs::create_dir_all(fixture.path(&format!("repositories/{directory}"))).unwrap();
    }
    fixture
}

const ALL: &[&str] = &["a", "a/b", "a/b/c", "a-b", "a0/x", "b"];

fn as_seen(names: &[&str]) -> Vec<String> {
    let both = |name: &&str| [(*name).to_owned(), format!("{name}.")];
    names.iter().flat_map(both).collect()
}

#[test]
fn every_link_is_seen_and_a_scan_resumes_after_the_last_repository() {
    let fixture = filled();
    assert_eq!(scanned(&fixture, None, 100), (as_seen(ALL), true));
    for (at, name) in ALL.iter().enumerate() {
        let rest = as_seen(&ALL[at + 1..]);
        assert_eq!(scanned(&fixture, Some(name), 100), (rest, true), "{name}");
    }
    let (seen, ended) = scanned(&fixture, None, 3);
    assert_eq!((seen.len(), ended), (3, false));
    assert_eq!(scanned(&fixture, Some("a/zzz"), 2).0, ["a-b", "a-b."]);
}

#[test]
fn a_directory_without_a_link_is_reported_so() {
    let fixture = Fixture::new();
    fixture.write_link("a", digest().as_str());
    fs::remove_file(fixture.link_path("a")).unwrap();
    assert_eq!(scanned(&fixture, None, 100).0, ["gone", "a."]);
}

#[test]
fn only_old_temporary_files_of_our_own_are_removed() {
    let fixture = Fixture::new();
    fixture.write_link("a", digest().as_str());
    let directory = fixture.link_path("a").parent().unwrap().to_owned();
    let uuid = "0190b3a2-8a4e-4c31-9d3c-0d6f3d2f8e11";
    let old = SystemTime::now() - ABANDONED_AFTER - Duration::from_secs(5);
    let ours = format!("link.crossmount.{uuid}.tmp");
    let registrys = format!("link.{uuid}.tmp");
    let odd = "link.crossmount.x.tmp".to_owned();
    for name in [&ours, &registrys, &odd] {
        let file = fs::File::create(directory.join(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    let young = format!("link.crossmount.{}.tmp", uuid.replace('0', "1"));
    fs::write(directory.join(&young), "").unwrap();
    scanned(&fixture, None, 100);
    assert!(!directory.join(&ours).exists());
    for name in [&registrys, &odd, &young] {
        assert!(directory.join(name).exists(), "{name}");
    }
    assert!(fixture.link_path("a").exists());
}

use super::*;
use crate::store::fixture::{Fixture, digest};
use std::path::Path;

const LEAF: &str = "repositories/a";

fn entries(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

type Create = fn(&LinkDirectory<'_>) -> Result<NewLink, Errno>;
type Publish = fn(&mut NewLink, &LinkDirectory<'_>) -> Published;

fn published(new: &mut NewLink, directory: &LinkDirectory<'_>) -> Published {
    new.publish(directory).unwrap()
}

fn by_hard_link(new: &mut NewLink, directory: &LinkDirectory<'_>) -> Published {
    publish_by_hard_link(directory, new.temporary.as_ref().unwrap()).unwrap()
}

/// Each way to make a link visible.
const WAYS: [(Create, Publish); 3] = [
    (NewLink::without_name, published),
    (NewLink::with_name, published),
    (NewLink::with_name, by_hard_link),
];

fn in_directory(job: impl Fn(&LinkDirectory<'_>, &Path, (Create, Publish))) {
    for way in WAYS {
        let fixture = Fixture::new();
        let place = fixture.path(LEAF);
        std::fs::create_dir(&place).unwrap();
        let job = |store: &OpenStore<'_>| {
            job(&store.link_directory(LEAF)?, &place, way);
            Ok(())
        };
        fixture.store.on_open(job).unwrap().unwrap();
    }
}

#[test]
fn a_file_without_a_name_is_in_no_directory() {
    in_directory(|directory, place, _| {
        let new = NewLink::create(directory, &digest()).unwrap();
        assert!(new.temporary.is_none());
        assert!(entries(place).is_empty());
        drop(new);
        let new = NewLink::with_name(directory).unwrap();
        assert!(is_temporary(&entries(place)[0]));
        new.discard(directory);
        assert!(entries(place).is_empty());
    });
}

#[test]
fn a_published_file_has_the_links_name_alone() {
    in_directory(|directory, place, (create, publish)| {
        let mut new = create(directory).unwrap();
        new.file.write_all(b"link").unwrap();
        new.write_out(directory).unwrap();
        assert_eq!(publish(&mut new, directory), Published::Visible);
        assert_eq!(entries(place), ["link"]);
        assert_eq!(std::fs::read(place.join("link")).unwrap(), b"link");
    });
}

#[test]
fn a_name_that_another_file_has_is_not_taken_from_it() {
    in_directory(|directory, place, (create, publish)| {
        std::fs::write(place.join("link"), "first").unwrap();
        let mut new = create(directory).unwrap();
        assert_eq!(publish(&mut new, directory), Published::Occupied);
        assert_eq!(std::fs::read(place.join("link")).unwrap(), b"first");
        new.discard(directory);
        assert_eq!(entries(place), ["link"]);
    });
}

#[test]
fn a_file_that_cannot_get_a_name_says_so() {
    in_directory(|directory, place, _| {
        // The kernel gives such a file no name.
        let flags = OFlags::TMPFILE | OFlags::EXCL;
        let mut new = NewLink {
            file: open_for_writing(directory, directory.path, flags).unwrap(),
            temporary: None,
        };
        assert_eq!(published(&mut new, directory), Published::Unnameable);
        assert!(entries(place).is_empty());
    });
}

#[test]
fn a_torn_link_is_replaced() {
    in_directory(|directory, place, (create, _)| {
        std::fs::write(place.join("link"), "to").unwrap();
        let mut new = create(directory).unwrap();
        new.file.write_all(b"whole").unwrap();
        new.replace(directory).unwrap();
        assert_eq!(std::fs::read(place.join("link")).unwrap(), b"whole");
        new.discard(directory);
        assert_eq!(entries(place), ["link"]);
    });
}

#[test]
fn a_file_of_another_name_is_not_temporary() {
    assert!(is_temporary(&temporary_name()));
    for name in ["link", "link.crossmount.x.tmp", "link.crossmount..tmp"] {
        assert!(!is_temporary(name), "{name}");
    }
}

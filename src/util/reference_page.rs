//! Tables of the reference in `docs/`, for the tests that hold them to the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where a page of the reference is.
pub(crate) fn path(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("docs/src/reference").join(name)
}

/// The rows of all tables of a page whose first heading is `first`, without their headings.
pub(crate) fn rows(name: &str, first: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let (mut rows, mut is_inside) = (Vec::new(), false);
    for line in text.lines() {
        let Some(cells) = cells(line) else {
            is_inside = false;
            continue;
        };
        if cells[0] == first {
            is_inside = true;
        } else if is_inside && !cells[0].starts_with("---") {
            rows.push(cells);
        }
    }
    assert!(!rows.is_empty(), "{name} has no table of {first}");
    rows
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    // A bar within a cell is escaped.
    let inner = inner.replace("\\|", "\u{0}");
    let cells = inner.split('|');
    Some(
        cells
            .map(|cell| cell.trim().replace('\u{0}', "|"))
            .collect(),
    )
}

/// What a cell has in backticks.
pub(crate) fn code(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The one name that a cell has in backticks.
pub(crate) fn name(cell: &str) -> String {
    let names = code(cell);
    assert_eq!(names.len(), 1, "{cell:?} is not one name in backticks");
    names.into_iter().next().unwrap()
}

/// Says what a page lacks, and what it has that the code does not.
#[track_caller]
pub(crate) fn assert_same(page: &str, code: &BTreeSet<String>, documented: &BTreeSet<String>) {
    let missing: Vec<_> = code.difference(documented).collect();
    let unknown: Vec<_> = documented.difference(code).collect();
    assert!(missing.is_empty(), "{page} lacks {missing:#?}");
    assert!(
        unknown.is_empty(),
        "{page} has what the code has not: {unknown:#?}"
    );
}

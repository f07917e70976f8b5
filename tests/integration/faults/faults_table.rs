//! The rows of `tests/FAULTS.md`.

use crate::support::figures::row;

#[test]
fn a_bar_in_a_cell_does_not_end_it() {
    let row = row("Crashes", "kill -9", 40, "201 | 202, nothing torn");
    assert_eq!(
        row,
        "| Crashes | kill -9 | 40 | 201 \\| 202, nothing torn |"
    );
}

#[test]
fn the_table_in_the_repository_has_four_cells_in_each_row() {
    let text = include_str!("../../FAULTS.md");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 2, "no table");
    for row in rows {
        let bars = row.replace("\\|", "").matches('|').count();
        assert_eq!(bars, 5, "{row}");
    }
}

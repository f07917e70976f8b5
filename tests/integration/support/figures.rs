//! Short and long forms of a test, and the figures that it leaves for `tests/FAULTS.md`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// Whether the long forms are wanted: `./tests/run.sh --full` sets `CROSSMOUNT_FULL`.
pub fn is_long() -> bool {
    std::env::var_os("CROSSMOUNT_FULL").is_some()
}

/// How much a test does: the first in every run, the second in the long form.
pub fn amount<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Notes a row of the table: what was tried, how often, and what happened.
///
/// Rows go to the file that `CROSSMOUNT_FIGURES` names, and are always printed.
pub fn note(part: &str, tried: &str, times: u64, happened: &str) {
    let row = row(part, tried, times, happened);
    println!("{row}");
    let Some(file) = std::env::var_os("CROSSMOUNT_FIGURES").map(PathBuf::from) else {
        return;
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .unwrap();
    file.write_all(format!("{row}\n").as_bytes()).unwrap();
}

/// A row as Markdown; a bar within a cell would end it.
pub fn row(part: &str, tried: &str, times: u64, happened: &str) -> String {
    let [part, tried, happened] = [part, tried, happened].map(|cell| cell.replace('|', "\\|"));
    format!("| {part} | {tried} | {times} | {happened} |")
}

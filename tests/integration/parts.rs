//! `tests/run.sh` chooses modules by filters, which libtest looks for anywhere in a test's name.

use crate::support::tools;
use std::process::Command;

/// The arguments of `integration` in the script.
fn modules() -> Vec<&'static str> {
    let calls = include_str!("../run.sh").lines();
    calls
        .filter_map(|line| line.trim_start().strip_prefix("integration "))
        .flat_map(str::split_whitespace)
        .collect()
}

#[test]
fn each_test_is_run_by_exactly_one_module_of_the_script() {
    let this = std::env::current_exe().unwrap();
    let listed = tools::run(Command::new(this).args(["--list", "--format", "terse"]));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tests: Vec<_> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    assert!(!tests.is_empty(), "{listed}");
    let filters: Vec<_> = modules().iter().map(|name| format!("{name}::")).collect();
    for test in tests {
        let caught: Vec<_> = filters.iter().filter(|it| test.contains(*it)).collect();
        assert_eq!(caught.len(), 1, "{test} is caught by {caught:?}");
    }
}

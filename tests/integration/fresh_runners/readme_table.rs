//! README's table of what each client sends: measured, and written from what was measured.

use super::forms::{COPIES, Form, KNOWN, UNKNOWN, installed};
use super::push::{Push, Target};
use super::scene::{Logins, OWNER, Scene, discovery};
use crate::support::fresh_runner::{can_run, release};
use crate::support::helm::project;
use std::fmt::Write;
use std::fs;

const HEAD: &str = "| client | registry alone | with crossmount |\n|---|---|---|\n";
/// With this set, the table is written in place of being compared.
const WRITE: &str = "CROSSMOUNT_README";

/// Bytes that reached the registry.
#[derive(Debug, Clone, Copy)]
struct Sent {
    alone: u64,
    through: u64,
}

impl Sent {
    fn measure(scene: &Scene, number: usize, form: &Form) -> Self {
        let push = |port: u16, repository: &str| {
            let target = Target {
                port,
                repository,
                login: OWNER,
                authority: None,
            };
            let push = Push::prepare(scene, form, target);
            let sent = push.run_counted();
            push.pull_back();
            sent
        };
        Self {
            alone: push(scene.counter.port, &format!("alone/app{number}")),
            through: push(scene.sidecar.port, &format!("through/app{number}")),
        }
    }

    fn cells(self) -> [String; 2] {
        [self.alone, self.through].map(in_megabytes)
    }

    /// By a tenth more or less, because the table rounds.
    fn agrees(self, cells: &[f64; 2]) -> bool {
        let near = |bytes: u64, cell: f64| (megabytes(bytes) - cell).abs() <= 0.1;
        near(self.alone, cells[0]) && near(self.through, cells[1])
    }
}

#[allow(clippy::cast_precision_loss, reason = "a few millions")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn in_megabytes(bytes: u64) -> String {
    match bytes {
        ..50_000 => "less than 0.1 MB".to_owned(),
        _ => format!("{:.1} MB", megabytes(bytes)),
    }
}

/// The opposite.
fn read_megabytes(cell: &str) -> f64 {
    match cell.strip_prefix("less than ") {
        Some(_) => 0.0,
        None => cell.strip_suffix(" MB").unwrap().parse().unwrap(),
    }
}

/// Each client of README's table, and its figures there.
fn stated(readme: &str) -> Vec<(String, [f64; 2])> {
    let table = readme.split_once(HEAD).expect("the table's head").1;
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let figures = [cells[1], cells[2]].map(read_megabytes);
        let names = cells[0].split(", ").map(str::to_owned);
        names.map(|name| (name, figures)).collect::<Vec<_>>()
    })
    .collect()
}

/// A row for all clients with the same figures.
fn table(measured: &[(&str, Sent)]) -> String {
    let mut rows: Vec<([String; 2], Vec<&str>)> = Vec::new();
    for (name, sent) in measured {
        let cells = sent.cells();
        match rows.iter_mut().find(|(known, _)| *known == cells) {
            Some((_, names)) => names.push(name),
            None => rows.push((cells, vec![name])),
        }
    }
    rows.iter()
        .fold(HEAD.to_owned(), |mut text, (cells, names)| {
            let names = names.join(", ");
            writeln!(text, "| {names} | {} | {} |", cells[0], cells[1]).unwrap();
            text
        })
}

#[test]
fn readme_says_what_each_client_sends() {
    if !can_run() {
        return;
    }
    let scene = Scene::with(Logins::Passwords, discovery);
    let forms = [KNOWN, COPIES, UNKNOWN].map(installed);
    let measured: Vec<_> = forms
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(number, form)| {
            let sent = Sent::measure(&scene, number, form);
            let line = format!("{}: {}: {sent:?}\n", release(), form.name);
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            (form.name, sent)
        })
        .collect();
    let file = project("README.md");
    let readme = fs::read_to_string(&file).unwrap();
    if std::env::var_os(WRITE).is_some() {
        let all = KNOWN.len() + COPIES.len() + UNKNOWN.len();
        assert_eq!(
            measured.len(),
            all,
            "this release does not have all clients"
        );
        let (before, after) = readme.split_once(HEAD).unwrap();
        let rows = after.split_inclusive('\n');
        let rest: String = rows.skip_while(|row| row.starts_with('|')).collect();
        fs::write(file, format!("{before}{}{rest}", table(&measured))).unwrap();
        return;
    }
    let stated = stated(&readme);
    for (name, _) in &stated {
        let mut forms = [KNOWN, COPIES, UNKNOWN].into_iter().flatten();
        let is_measured = forms.any(|form| form.name == name);
        assert!(is_measured, "README names {name}, which is not measured");
    }
    for (name, sent) in measured {
        let row = stated.iter().find(|(stated, _)| stated == name);
        let (_, figures) = row.unwrap_or_else(|| panic!("README does not name {name}"));
        assert!(
            sent.agrees(figures),
            "{name}: {sent:?}, README: {figures:?}"
        );
    }
}

#[test]
fn the_table_that_is_written_is_the_table_that_is_read() {
    let [small, large] =
        [(6_310_000, 310_000), (6_020_000, 12_000)].map(|(alone, through)| Sent { alone, through });
    let text = table(&[("one", small), ("two", large), ("three", small)]);
    let read = stated(&format!("Before.\n\n{text}\nAfter.\n"));
    let names: Vec<_> = read.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["one", "three", "two"]);
    assert!(
        small.agrees(&read[0].1) && large.agrees(&read[2].1),
        "{read:?}"
    );
    assert!(!small.agrees(&read[2].1), "{read:?}");
}

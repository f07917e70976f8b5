//! Holds the settings' page of the reference, and the examples, to the code.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::*;
use crate::config::env::variable_for;
use crate::config::shape::{EndpointShape, FileShape, Shape};
use crate::util::reference_page;

const PAGE: &str = "settings.md";
const ENDPOINTS: &str = "notifications.endpoints";

/// Configurations in which, together, every setting with a default has an effect.
const WITH_DEFAULTS: &[&str] = &[
    MINIMAL,
    "
upstream: {url: 'http://a', kind: pulp}
store: {artifacts: {rootdirectory: /media}}
discovery: {enabled: true, shared_sources: [base/**]}
token_endpoint: {cache: {enabled: true}}
",
    "
upstream: {url: 'http://a'}
store: {filesystem: {rootdirectory: /r}, verify: sha256}
notifications: {endpoints: [{name: audit, url: 'http://b/'}]}
discovery: {enabled: true, shared_sources: [base/**]}
",
    GENERIC,
    "
upstream: {url: 'http://a', kind: generic}
discovery: {enabled: true, sources: any, redis: {url: 'redis://b'}}
",
    "
upstream: {url: 'http://a'}
mount: {writer: registry}
store: {s3: {bucket: b, region: r}}
",
    "
upstream: {url: 'http://a'}
mount: {writer: registry}
store: {azure: {accountname: a, container: c, accountkey: a2V5}}
",
    "
upstream: {url: 'http://a'}
mount: {writer: registry}
store: {gcs: {bucket: b}}
",
];

/// The values of a tree by their paths; a list is one value.
fn leaves(tree: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    match tree {
        Value::Mapping(section) if !section.is_empty() => {
            for (key, value) in section {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{}", key.as_str().unwrap());
                leaves(value, &path, found);
            }
        }
        Value::Sequence(values) if values.iter().all(|it| !it.is_mapping()) => {
            let texts: Vec<_> = values.iter().map(scalar).collect();
            found.insert(path.to_owned(), format!("[{}]", texts.join(", ")));
        }
        Value::Sequence(values) => leaves(&values[0], path, found),
        value => {
            found.insert(path.to_owned(), scalar(value));
        }
    }
}

fn scalar(value: &Value) -> String {
    serde_yaml::to_string(value)
        .unwrap()
        .trim()
        .trim_matches('\'')
        .to_owned()
}

fn leaves_of(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    leaves(&serde_yaml::from_str(text).unwrap(), "", &mut found);
    found
}

/// What has a value although nobody sets it.
fn defaults() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for text in WITH_DEFAULTS {
        let given = leaves_of(text);
        for (path, value) in leaves_of(&effective(&load(text).unwrap())) {
            if !given.contains_key(&path) {
                found.entry(path).or_insert(value);
            }
        }
    }
    found
}

/// Every setting of the code, with those of an endpoint below the list.
fn settings() -> BTreeSet<String> {
    let mut found: BTreeSet<_> = FileShape::all().into_iter().map(|(path, _)| path).collect();
    let mut below = Vec::new();
    EndpointShape::settings(ENDPOINTS, &mut below);
    found.extend(below.into_iter().map(|(path, _)| path));
    found
}

#[test]
fn every_setting_is_in_the_reference_with_its_default() {
    let mut documented = BTreeMap::new();
    for row in reference_page::rows(PAGE, "setting") {
        documented.insert(reference_page::name(&row[0]), row);
    }
    for row in reference_page::rows(PAGE, "key of an endpoint") {
        documented.insert(
            format!("{ENDPOINTS}.{}", reference_page::name(&row[0])),
            row,
        );
    }
    reference_page::assert_same(PAGE, &settings(), &documented.keys().cloned().collect());
    let defaults = defaults();
    for (setting, row) in &documented {
        let shown = &row[1];
        let code = reference_page::code(shown);
        let is_value = code.len() == 1 && shown.starts_with('`') && shown.ends_with('`');
        match defaults.get(setting) {
            Some(default) => assert!(
                code.contains(default),
                "{setting} is {default}, not {shown}"
            ),
            // What is empty is not shown as being in effect.
            None => assert!(
                !is_value || ["`[]`", "`{}`", "`false`"].contains(&&**shown),
                "{setting} has no default, and {shown} in {PAGE}"
            ),
        }
        assert!(!row[2].is_empty(), "{setting}");
    }
}

/// The variables that a text names.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let is_part =
        |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    let words = text.split(move |letter| !is_part(letter));
    words.filter(|word| word.starts_with("CROSSMOUNT_") && *word != "CROSSMOUNT_")
}

#[test]
fn every_variable_that_the_documentation_names_is_one() {
    let known: BTreeSet<_> = settings().iter().map(|path| variable_for(path)).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for directory in [
        "docs/src/reference",
        "docs/src/how-to",
        "docs/src/tutorial",
        "examples",
    ] {
        let Ok(entries) = std::fs::read_dir(root.join(directory)) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let is_text = path
                .extension()
                .is_some_and(|it| it == "md" || it == "yaml");
            if !is_text {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // The quickstart's own is no setting.
            for variable in variables(&text).filter(|it| *it != "CROSSMOUNT_BIN") {
                assert!(known.contains(variable), "{}: {variable}", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 2, "{named}");
}

/// The example with the lines that are commented out.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let setting = line.trim_start().strip_prefix("# ");
        let key = setting.and_then(|it| it.trim_start().split_once(':'));
        let is_key = |key: &str| {
            key.chars()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
        };
        match (setting, key) {
            (Some(setting), Some((key, _))) if is_key(key) => {
                let indent = line.len() - line.trim_start().len();
                format!("{}{setting}", " ".repeat(indent))
            }
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_names_every_setting_of_distribution_with_its_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("examples/crossmount.yaml")).unwrap();
    let all: Value = serde_yaml::from_str(&uncommented(&text)).unwrap();
    let at = |path: &str| path.split('.').try_fold(&all, |tree, key| tree.get(key));
    for (setting, _) in FileShape::all() {
        // Those of an object store replace store.filesystem; not all of them are named.
        if ["store.s3", "store.azure", "store.gcs"]
            .iter()
            .any(|it| setting.starts_with(it))
        {
            continue;
        }
        let is_of_another = setting.starts_with("store.artifacts") || setting == "mend.statuses";
        assert_eq!(at(&setting).is_none(), is_of_another, "{setting}");
    }
    let with_defaults = "
upstream: {url: 'http://127.0.0.1:5010'}
store: {filesystem: {rootdirectory: /var/lib/registry}}
";
    assert_eq!(
        effective(&load(&text).unwrap()),
        effective(&load(with_defaults).unwrap())
    );
}

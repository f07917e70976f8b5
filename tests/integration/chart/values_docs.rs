//! What the chart says of its values: schema, `values.yaml` and README agree, and are tidy.

use crate::{needs, support};
use serde_json::Value;
use std::fs;
use std::process::Command;
use support::helm::{Rendered, Values, chart, project};
use support::tools;

#[test]
fn the_files_of_values_fit_the_schema_and_are_tidy() {
    needs!("check-jsonschema", "yamllint");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(tools::find("check-jsonschema").unwrap());
        tools::run(command.args(arguments).current_dir(chart()));
    };
    check(&["--check-metaschema", "values.schema.json"]);
    let every = Values::every();
    let files = every.iter().filter_map(Values::file);
    let mut files: Vec<_> = files.map(|file| file.to_str().unwrap()).collect();
    files.push("values.yaml");
    check(&[&["--schemafile", "values.schema.json"], &*files].concat());

    let example = project("examples/twuni-docker-registry-values.yaml");
    files.push(example.to_str().unwrap());
    let deploy = project("deploy");
    files.push(deploy.to_str().unwrap());
    let rules = "{extends: default, rules: {document-start: disable, line-length: {max: 110}}}";
    let mut command = Command::new(tools::find("yamllint").unwrap());
    tools::run(
        command
            .args(["--strict", "-d", rules])
            .args(files)
            .current_dir(chart()),
    );
}

#[test]
fn every_value_that_the_schema_knows_is_shown_with_its_default() {
    let text = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    compare_names(&schema, &schema, &defaults(), "");
}

fn defaults() -> Value {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

fn compare_names(schema: &Value, root: &Value, values: &Value, place: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(pointer) => root.pointer(pointer.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let (Some(properties), Some(values)) = (schema["properties"].as_object(), values.as_object())
    else {
        return;
    };
    if values.is_empty() {
        return;
    }
    for (name, below) in properties.iter().filter(|(name, _)| *name != "global") {
        let place = format!("{place}{name}.");
        let value = values.get(name);
        let value = value.unwrap_or_else(|| panic!("values.yaml has no {place}"));
        compare_names(below, root, value, &place);
    }
}

/// Of the table under "Values" in the chart's README, names and defaults.
#[test]
fn the_readme_names_values_as_they_are() {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Values\n").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let quoted = |cell: &str| -> Vec<String> {
        let odd = cell.split('`').skip(1).step_by(2);
        odd.map(str::to_owned).collect()
    };
    let values = defaults();
    let mut compared = 0;
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let defaults = quoted(cells[1]);
        let mut first = String::new();
        for (at, name) in quoted(cells[0]).into_iter().enumerate() {
            let name = match (name.strip_prefix('.'), first.rsplit_once('.')) {
                (Some(name), Some((place, _))) => format!("{place}.{name}"),
                _ => name,
            };
            let pointer = format!("/{}", name.replace('.', "/"));
            let value = values.pointer(&pointer);
            let value = value.unwrap_or_else(|| panic!("no value {name}"));
            let default = defaults.get(at.min(defaults.len().saturating_sub(1)));
            if value.is_boolean() || value.is_number() {
                assert_eq!(default, Some(&value.to_string()), "{name}");
                compared += 1;
            }
            first = name;
        }
    }
    assert!(compared > 10, "{compared}");
}

/// Of every command in the chart's README, values and files.
#[test]
fn the_readmes_commands_name_what_is_there() {
    needs!("helm3", "helm4");
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let commands = readme.split("```sh\n").skip(1);
    let commands = commands.flat_map(|block| block.split("```").next().unwrap().lines());
    let own = Values::DEFAULT.render();
    let (mut set, mut entered) = (0, 0);
    for command in commands {
        let words: Vec<_> = command.split_whitespace().collect();
        let after = |word: &str| words.iter().skip_while(move |it| **it != word).nth(1);
        if let Some(setting) = after("--set").filter(|_| words[0] == "helm") {
            Rendered::from(&chart(), &["--set", setting]);
            set += 1;
        }
        if words[..2] == ["kubectl", "exec"] {
            let container = own.container(after("--container").unwrap());
            let path = words.last().unwrap();
            let (folder, file) = path.rsplit_once('/').unwrap();
            let mounts = container["volumeMounts"].as_array().unwrap();
            assert!(mounts.iter().any(|it| it["mountPath"] == folder), "{path}");
            assert!(own.file(file).len() > 10, "{path}");
            entered += 1;
        }
    }
    assert_eq!((set, entered), (4, 2));
}

#[test]
fn the_chart_brings_the_crossmount_that_it_names() {
    let read = |name: &str| -> Value {
        serde_yaml::from_str(&fs::read_to_string(chart().join(name)).unwrap()).unwrap()
    };
    let (about, values) = (read("Chart.yaml"), read("values.yaml"));
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(values["crossmount"]["image"]["tag"], about["appVersion"]);
}

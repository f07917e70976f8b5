//! Holds `docs/src/reference/log-messages.md` to the log lines in the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::util::reference_page;

const PAGE: &str = "log-messages.md";
/// The level that a macro of the access log takes: it writes one message at two levels.
const EITHER: &str = "$level";

/// Levels and fields of each message.
type Messages = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

#[test]
fn every_log_message_is_in_the_reference_with_its_level_and_its_fields() {
    let written = messages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let rows = reference_page::rows(PAGE, "message");
    let documented: Messages = rows
        .iter()
        .map(|row| {
            let parts = (reference_page::code(&row[1]), reference_page::code(&row[2]));
            (reference_page::name(&row[0]), parts)
        })
        .collect();
    assert_eq!(documented.len(), rows.len(), "a message is there twice");
    let names = |messages: &Messages| messages.keys().cloned().collect();
    reference_page::assert_same(PAGE, &names(&written), &names(&documented));
    for (message, parts) in &written {
        assert_eq!(&documented[message], parts, "{PAGE}: {message}");
    }
}

#[test]
fn a_log_message_is_constant_and_lower_case_and_its_fields_are_snake_case() {
    let is_plain = |text: &str, more: &str| {
        let mut letters = text.chars();
        letters.all(|letter| letter.is_ascii_lowercase() || more.contains(letter))
    };
    for (message, (levels, fields)) in messages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
    {
        assert!(is_plain(&message, " :'-"), "{message:?}");
        for field in fields {
            assert!(is_plain(&field, "_"), "{message}: {field}");
            // The log has these itself.
            assert!(
                !["level", "message", "timestamp"].contains(&&*field),
                "{message}: {field}"
            );
        }
        let is_alarm = levels.contains("error");
        assert!(
            !is_alarm || levels.len() == 1,
            "{message} is an error only sometimes"
        );
    }
}

fn messages(directory: &Path) -> Messages {
    let mut found = Messages::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let below = if path.is_dir() {
            messages(&path)
        } else {
            in_file(&std::fs::read_to_string(&path).unwrap())
        };
        for (message, (levels, fields)) in below {
            let entry = found.entry(message).or_default();
            entry.0.extend(levels);
            entry.1.extend(fields);
        }
    }
    found
}

fn in_file(text: &str) -> Messages {
    let mut found = Messages::new();
    for (at, start) in text.match_indices("tracing::") {
        let Some((level, rest)) = text[at + start.len()..].split_once("!(") else {
            continue;
        };
        let levels: &[&str] = match level {
            EITHER => &["info", "warn"],
            "error" | "warn" | "info" | "debug" | "trace" => &[level],
            _ => continue,
        };
        let mut arguments = arguments(rest);
        let message = arguments.pop().unwrap();
        let message = message
            .strip_prefix('"')
            .and_then(|it| it.strip_suffix('"'));
        let message = message.unwrap_or_else(|| panic!("no constant message: {arguments:?}"));
        let entry = found.entry(message.to_owned()).or_default();
        entry.0.extend(levels.iter().map(|&level| level.to_owned()));
        entry
            .1
            .extend(arguments.iter().map(|argument| field(argument)));
    }
    found
}

/// The arguments of a call, up to its closing bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut depth, mut is_text, mut is_escaped) =
        (vec![String::new()], 0, false, false);
    for letter in text.chars() {
        match letter {
            '"' if !is_escaped => is_text = !is_text,
            '(' | '[' | '{' if !is_text => depth += 1,
            ')' if !is_text && depth == 0 => break,
            ')' | ']' | '}' if !is_text => depth -= 1,
            ',' if !is_text && depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
        found.last_mut().unwrap().push(letter);
    }
    let trimmed = found.iter().map(|argument| argument.trim().to_owned());
    trimmed.filter(|argument| !argument.is_empty()).collect()
}

/// `name`, `%name`, `name = value`, or the last part of `a.name`.
fn field(argument: &str) -> String {
    let name = argument.split('=').next().unwrap_or_default();
    name.trim().trim_start_matches(['%', '?']).to_owned()
}

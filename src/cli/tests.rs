//! Help that users can rely on, and the page of the reference that is made from it.

use clap::CommandFactory;

use super::*;
use crate::util::reference_page;

const PAGE: &str = "command-line.md";

/// `crossmount` and all its commands, by their full names.
fn commands() -> Vec<(String, clap::Command)> {
    let root = Cli::command().disable_help_subcommand(true);
    let below = root.get_subcommands().map(|command| {
        let name = format!("crossmount {}", command.get_name());
        (name, command.clone())
    });
    let below: Vec<_> = below.collect();
    std::iter::once(("crossmount".to_owned(), root))
        .chain(below)
        .collect()
}

#[test]
fn the_commands_and_their_flags_fit_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_every_flag_has_help() {
    for (name, command) in commands() {
        assert!(command.get_about().is_some(), "{name}");
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string);
            let argument = argument.get_id();
            assert!(
                help.is_some_and(|help| !help.is_empty()),
                "{name}: {argument}"
            );
        }
    }
}

#[test]
fn every_help_has_examples_and_exit_codes() {
    for (name, mut command) in commands() {
        let help = command.render_long_help().to_string();
        assert!(help.contains("\nExamples:\n  "), "{name}");
        let (_, codes) = help.split_once("\nExit status:\n").unwrap();
        for code in ["  0   ", "  1   ", "  2   "] {
            assert!(codes.contains(code), "{name}: {code}");
        }
        let takes_settings = command.get_arguments().any(|it| it.get_id() == "config");
        let has_command = command.has_subcommands();
        assert_eq!(
            codes.contains("  64  "),
            takes_settings || has_command || name == "crossmount report",
            "{name}"
        );
    }
}

/// The commands in a text, with lines that are continued put together.
fn examples(text: &str) -> Vec<Vec<String>> {
    let text = text.replace("\\\n", " ");
    let commands = text.lines().filter_map(|line| {
        let at = line.find("crossmount ")?;
        let before = line[..at].split_whitespace().next_back();
        // In the middle of a sentence it is the process.
        let begins = before.is_none_or(|word| word.contains(['=', '-', '(']));
        let end = line.find([')', '|', '>']).filter(|end| *end > at);
        let words = line[at..end.unwrap_or(line.len())].split_whitespace();
        begins.then(|| words.map(str::to_owned).collect())
    });
    commands.collect()
}

#[test]
fn every_example_in_the_help_is_a_command_line() {
    let mut parsed = 0;
    for (name, command) in commands() {
        let text = command.get_after_long_help().unwrap().to_string();
        let (text, _) = text.split_once("\n\n").unwrap();
        for words in examples(text) {
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{name}: {words:?}: {error}");
            }
            parsed += 1;
        }
    }
    assert!(parsed >= 14, "{parsed}");
}

#[test]
fn the_reference_is_what_help_prints() {
    let mut parts = vec![
        "# Command line\n\n\
        This page is what `--help` prints. `crossmount --version` prints the version.\n"
            .to_owned(),
    ];
    for (name, _) in commands() {
        let words = name.split(' ').chain(["--help"]);
        let help = Cli::try_parse_from(words).unwrap_err().to_string();
        parts.push(format!(
            "\n## `{name}`\n\n```text\n{}\n```\n",
            help.trim_end()
        ));
    }
    let page = parts.concat();
    let path = reference_page::path(PAGE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "{PAGE} is not what --help prints: UPDATE_DOCS=1 cargo test --lib cli writes it"
    );
}

#[test]
fn there_is_a_script_for_every_shell() {
    use clap::ValueEnum;
    for shell in Shell::value_variants() {
        let script = String::from_utf8(completions(*shell)).unwrap();
        for word in ["serve", "registry-config", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

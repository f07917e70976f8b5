//! Shell completions and man pages, as shells and man read them.

use crate::needs;
use crate::support::program_run::{Ended, run};
use crate::support::sidecar::{BINARY, command};
use std::process::Command;

fn crossmount(arguments: &[&str]) -> Ended {
    let mut command = command(BINARY);
    command.args(arguments);
    run(command)
}

/// What bash offers for the last word of a command line.
fn offered(words: &[&str]) -> Vec<String> {
    let script = r#"
        source <("$0" completions bash) || exit
        words=$(complete -p crossmount) || exit
        function=${words#* -F }; function=${function%% *}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        "$function" crossmount "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, BINARY]).args(words);
    let ended = run(bash);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{}", ended.out);
    ended.out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags() {
    assert_eq!(offered(&["crossmount", "ser"]), ["serve"]);
    assert_eq!(offered(&["crossmount", "serve", "--li"]), ["--listen"]);
    assert_eq!(
        offered(&["crossmount", "check", "--re"]),
        ["--registry-config"]
    );
    let shells = offered(&["crossmount", "completions", ""]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(shells.iter().any(|it| it == shell), "{shells:?}");
    }
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let ended = crossmount(&["completions", "csh"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("bash"), "{}", ended.err);
}

#[test]
fn every_command_has_a_man_page_that_groff_prints_without_a_warning() {
    needs!("groff");
    let home = tempfile::tempdir().unwrap();
    let out = home.path().to_string_lossy().into_owned();
    let ended = crossmount(&["man", "--out", &out]);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    let mut pages: Vec<_> = std::fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let wanted = ["-check", "-completions", "-man", "-report", "-serve", ""];
    assert_eq!(pages, wanted.map(|name| format!("crossmount{name}.1")));
    for page in pages {
        let mut groff = Command::new("groff");
        groff.args(["-ww", "-man", "-Tutf8", "-P-cbu"]);
        let shown = run({
            groff.arg(home.path().join(&page));
            groff
        });
        assert_eq!((shown.code, &*shown.err), (Some(0), ""), "{page}");
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS"] {
            let has_heading = shown.out.lines().any(|line| line.contains(heading));
            assert!(has_heading, "{page} lacks {heading}: {}", shown.out);
        }
        assert!(shown.out.contains("--help"), "{page}");
    }
}

#[test]
fn the_man_page_on_standard_output_is_that_of_the_program() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().to_string_lossy().into_owned();
    assert_eq!(crossmount(&["man", "--out", &out]).code, Some(0));
    let printed = crossmount(&["man"]);
    assert_eq!(printed.code, Some(0));
    let written = std::fs::read_to_string(home.path().join("crossmount.1")).unwrap();
    assert_eq!(printed.out, written);
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let ended = crossmount(&["man", "--out", "/nowhere/man1"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.starts_with("crossmount: /nowhere/man1/"),
        "{}",
        ended.err
    );
    assert_eq!(ended.err.lines().count(), 1);
}

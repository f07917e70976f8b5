//! Shell completions and man pages, made from the commands by clap's own generators.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// The script that completes the command line in a shell.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let (mut script, mut command) = (Vec::new(), Cli::command());
    clap_complete::generate(shell, &mut command, "crossmount", &mut script);
    script
}

/// The manual page of `crossmount` itself.
///
/// # Errors
/// Those of the generator; none are known.
pub fn man_page() -> io::Result<Vec<u8>> {
    page(built())
}

/// Writes the manual page of each command into a directory.
///
/// # Errors
/// The page that cannot be written.
pub fn man_pages(directory: &Path) -> io::Result<()> {
    let root = built();
    for command in root.get_subcommands() {
        write(directory, command.clone())?;
    }
    write(directory, root)
}

/// The commands without `help`, which needs no page, and with their full names.
fn built() -> clap::Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn write(directory: &Path, command: clap::Command) -> io::Result<()> {
    let file = directory.join(Man::new(command.clone()).get_filename());
    let written = page(command).and_then(|page| fs::write(&file, page));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let more = command.get_after_long_help().map(ToString::to_string);
    let has_commands = command.has_subcommands();
    let man = Man::new(command).manual("crossmount");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    page.extend(sections(&more.unwrap_or_default()).into_bytes());
    Ok(page)
}

/// The text below the flags as roff: the generator would make one paragraph of it, called EXTRA.
fn sections(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_suffix(':').filter(|it| !it.starts_with(' ')) {
            Some(heading) => {
                // Lines are filled again before the next heading.
                lines.push(".fi".to_owned());
                lines.push(format!(".SH {}", heading.to_uppercase()));
                lines.push(".nf".to_owned());
            }
            None => lines.push(escaped(line.strip_prefix("  ").unwrap_or(line))),
        }
    }
    lines.push(".fi\n".to_owned());
    lines.join("\n")
}

/// A line that roff prints as it is.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) {
        return format!("\\&{line}");
    }
    line
}

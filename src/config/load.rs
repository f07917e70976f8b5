//! Makes a valid configuration, or one line of error, from a file, variables and flags.

use std::path::{Path, PathBuf};

use super::env::{self, Overrides};
use super::shape::FileShape;
use super::tree::Tree;
use super::{Config, rules};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration file {path}: {cause}; correct --config or the file's permissions"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The file is not YAML of the right shape; the text names key and line.
    #[error("{path}: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's error, with the line.
        cause: String,
    },
    /// A variable's value does not fit its setting.
    #[error("{variable}: {cause}")]
    Environment {
        /// The variable's name.
        variable: String,
        /// Why the value does not fit.
        cause: String,
    },
    /// A setting's value cannot be used.
    #[error("{setting}: {reason}")]
    Invalid {
        /// The setting's path, joined by dots.
        setting: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

impl Config {
    /// Reads the file if there is one, lays environment and flags over it, and validates the whole.
    ///
    /// # Errors
    /// [`ConfigError`], whose text is one line that names the setting.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Overrides,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => {
                std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
                    path: path.to_owned(),
                    cause,
                })?
            }
        };
        Self::parse(&text, file, environment, flags)
    }

    /// As [`Config::load`], with the file's text.
    pub(crate) fn parse(
        text: &str,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Overrides,
    ) -> Result<Self, ConfigError> {
        let settings = serde_yaml::from_str::<Option<FileShape>>(text);
        let tree = settings.and_then(|settings| Tree::of(settings.unwrap_or_default()));
        let mut tree = tree.map_err(|cause| ConfigError::Malformed {
            path: file.unwrap_or(Path::new("configuration")).to_owned(),
            cause: with_line(&cause),
        })?;
        let warnings = env::overlay(&mut tree, environment, flags)?;
        rules::apply(&tree, warnings)
    }
}

/// The parser's text without the values that it quotes: one may be a secret. The most common mistake
/// is a header written without its brackets.
fn without_values(text: &str) -> String {
    let mut parts = text.split("string \"");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut is_escaped = false;
        let end = part.find(|letter| {
            let is_end = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        });
        shown += "a text";
        shown += end.map_or("", |end| &part[end + 1..]);
    }
    shown
}

/// The text with control characters escaped: a key or a value may hold a line break.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::new();
    for letter in text.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// The parser's text with the line: the parser omits it at the very beginning of the file.
fn with_line(error: &serde_yaml::Error) -> String {
    let text = on_one_line(&without_values(&error.to_string()));
    if text.contains("unknown field") && !text.contains(" at line ") {
        return format!("{text} at line 1");
    }
    text
}

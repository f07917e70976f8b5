//! The command line.
//!
//! | file | what |
//! |---|---|
//! | `help` | examples, exit codes and other text below the flags |
//! | `generate` | shell completions and man pages, made from the commands here |

mod generate;
mod help;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{Config, ConfigError, Overrides};

pub use generate::{completions, man_page, man_pages};

/// A sidecar that answers cross-repository mounts in front of a container registry
///
/// crossmount stands between the clients and the registry. If another repository
/// of the registry has a layer already, and the client may pull it there, the
/// client need not upload it again. crossmount forwards all other requests.
#[derive(Debug, Parser)]
#[command(name = "crossmount", version, after_long_help = help::CROSSMOUNT)]
#[command(verbatim_doc_comment)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the sidecar in front of the registry
    ///
    /// Settings come from flags, environment and file. Flags win over the
    /// environment, and the environment wins over the file. The log goes to
    /// standard error.
    #[command(after_long_help = help::SERVE, verbatim_doc_comment)]
    Serve {
        /// Where the settings come from.
        #[command(flatten)]
        settings: Settings,
    },
    /// Check whether serve would work here, and say what to do if not
    ///
    /// Run it as the user that runs serve, with the same flags and environment. It
    /// validates the configuration, asks the registry for /v2/, and tries whether
    /// this user can read and write the store. It leaves nothing behind.
    ///
    /// Each finding is one line on standard output. It begins with ok, warning or
    /// fault, and says what to do. Among them are the version, the user, and owner
    /// and filesystem of the store. The configuration in effect comes last, with
    /// secrets masked.
    #[command(after_long_help = help::CHECK, verbatim_doc_comment)]
    Check {
        /// Where the settings come from.
        #[command(flatten)]
        settings: Settings,
        /// Check the configuration alone; use neither registry nor store.
        #[arg(long)]
        offline: bool,
        /// The registry's own configuration file; each difference is a finding.
        ///
        /// It compares the root directory, http.host, relativeurls, prefix, headers and tls, auth,
        /// read-only mode, pull-through cache and webhooks.
        #[arg(long, value_name = "FILE")]
        registry_config: Option<PathBuf>,
    },
    /// Say what a registry's store holds and how many bytes mounts would have saved
    ///
    /// It counts repositories, layer links and blobs. It says how many bytes mounts
    /// would have saved at most, and which layers were uploaded again most often.
    /// It names damaged links and blobs.
    ///
    /// It only reads, and needs neither the registry nor crossmount's configuration.
    /// In an object store it only lists. It takes 32 to 64 bytes of memory for each
    /// layer link.
    #[command(after_long_help = help::REPORT, verbatim_doc_comment)]
    Report {
        /// Where the store is.
        #[command(flatten)]
        place: StorePlace,
        /// The region of --s3; without it, that of the environment.
        #[arg(long, value_name = "REGION", requires = "s3")]
        s3_region: Option<String>,
        /// The server of --s3, if it is not Amazon's.
        #[arg(long, value_name = "URL", requires = "s3")]
        s3_endpoint: Option<String>,
        /// The registry's rootdirectory in the bucket of --s3.
        #[arg(long, value_name = "DIR", requires = "s3")]
        s3_root: Option<String>,
        /// Print one JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Print the completions of a shell.
    #[command(after_long_help = help::COMPLETIONS)]
    Completions {
        /// The shell that reads the completions.
        shell: Shell,
    },
    /// Print the manual page, or write one for each command.
    #[command(after_long_help = help::MAN)]
    Man {
        /// Write the page of each command into this directory, which must exist.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Where the registry's store is.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct StorePlace {
    /// The registry's rootdirectory, which contains docker/registry/v2.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The registry's bucket; credentials come from the environment and need s3:ListBucket.
    #[arg(long, value_name = "BUCKET")]
    pub s3: Option<String>,
    /// The registry's own configuration file, which says where the store is.
    #[arg(long, value_name = "FILE")]
    pub registry_config: Option<PathBuf>,
}

/// Where the settings come from: flags win over the environment, and that wins over the file.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The configuration file, in YAML; without it, settings come from flags and environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address for the registry's clients (setting: listen.address).
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The address for metrics, health and the page (setting: admin.address).
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// The address of the registry (setting: upstream.url).
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// The registry's rootdirectory (setting: store.filesystem.rootdirectory).
    #[arg(long, value_name = "DIR")]
    root: Option<String>,
}

impl Settings {
    /// The configuration file, if one is named.
    pub fn file(&self) -> Option<PathBuf> {
        self.config.clone()
    }

    /// Reads file, environment and flags into a valid configuration.
    pub fn load(self) -> Result<Config, ConfigError> {
        let flags = Overrides {
            listen: self.listen,
            admin: self.admin,
            upstream: self.upstream,
            root: self.root,
        };
        // A value that is not text is shown with replacement characters, and so names nothing.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Config::load(self.config.as_deref(), environment, flags)
    }
}

#[cfg(test)]
mod tests;

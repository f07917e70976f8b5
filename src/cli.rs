//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Overrides};

/// A sidecar that answers cross-repository mounts in front of a container registry.
#[derive(Debug, Parser)]
#[command(name = "crossmount", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stand in front of the registry.
    Serve {
        /// Where the settings are.
        #[command(flatten)]
        settings: Settings,
    },
    /// Say whether serve would work here, and what to do where it would not.
    Check {
        /// Where the settings are.
        #[command(flatten)]
        settings: Settings,
        /// Open only the configuration file: no registry, no store.
        #[arg(long)]
        offline: bool,
        /// The registry's own configuration, to compare with.
        #[arg(long, value_name = "FILE")]
        registry_config: Option<PathBuf>,
    },
    /// Say what a registry's store holds, and how often it was sent. Reads only.
    Report {
        /// Where the store is.
        #[command(flatten)]
        place: StorePlace,
        /// The region of --s3; else `AWS_REGION`.
        #[arg(long, value_name = "REGION", requires = "s3")]
        s3_region: Option<String>,
        /// Another server than Amazon's for --s3.
        #[arg(long, value_name = "URL", requires = "s3")]
        s3_endpoint: Option<String>,
        /// The registry's rootdirectory in the bucket of --s3.
        #[arg(long, value_name = "DIR", requires = "s3")]
        s3_root: Option<String>,
        /// For machines: one object.
        #[arg(long)]
        json: bool,
    },
}

/// Where the registry's store is.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct StorePlace {
    /// The registry's rootdirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The registry's bucket, with the credentials of the environment. They need `s3:ListBucket`.
    #[arg(long, value_name = "BUCKET")]
    pub s3: Option<String>,
    /// The registry's own configuration, which says where the store is.
    #[arg(long, value_name = "FILE")]
    pub registry_config: Option<PathBuf>,
}

/// Where the settings are. Flags win over environment, environment over the file.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The registry's port for clients (listen.address).
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Metrics and health (admin.address).
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// The registry behind (upstream.url).
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// The registry's rootdirectory (store.filesystem.rootdirectory).
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

//! Reloads the configuration file: the log level changes at once, and for every other change the
//! log says that it takes effect at the next start.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::config::{Config, ConfigError};
use crate::server::StartError;
use crate::telemetry::LogLevel;
use crate::util::file_watch::ReloadingFile;

/// The interval between two checks.
const EVERY: Duration = Duration::from_secs(1);
/// How long a check may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Loads the whole configuration: file, environment and flags.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Where the configuration comes from, and what a reload can change.
pub struct ReloadSource {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// Loads the configuration again.
    pub load: LoadConfig,
    /// Set by a reload.
    pub level: LogLevel,
}

/// Reloads the file when it changes, and at SIGHUP.
pub(crate) struct ConfigReloader {
    watched: Option<ReloadingFile<Config>>,
    in_effect: Config,
    level: LogLevel,
    hangup: Signal,
}

impl ConfigReloader {
    /// Prepares to reload a file that can be read more than once; `config` is in effect. Blocks.
    pub(crate) fn begin(reload: ReloadSource, config: &Config) -> Result<Self, StartError> {
        let hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let ReloadSource { file, load, level } = reload;
        let parse = move |_: &[Vec<u8>]| load().map_err(|error| error.to_string());
        // A pipe can be read only once.
        let file = file.filter(|file| file.is_file());
        let watched = file.map(|file| ReloadingFile::load(vec![file], parse));
        Ok(Self {
            watched: watched.transpose().map_err(StartError::Configuration)?,
            in_effect: config.clone(),
            level,
            hangup,
        })
    }

    pub(crate) async fn run(mut self) {
        let Some(watched) = &self.watched else {
            // Without a file nothing can change, but SIGHUP must not end the process.
            loop {
                self.hangup.recv().await;
                tracing::info!("reload signal ignored: no configuration file");
            }
        };
        let mut seen = watched.current_value().generation;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = self.hangup.recv() => watched.invalidate(),
            }
            let Ok(now) = watched.current(Instant::now() + LIMIT).await else {
                continue;
            };
            if now.generation != seen {
                seen = now.generation;
                self.in_effect.log.level = apply(&self.in_effect, &now.value, &self.level);
            }
        }
    }
}

/// Applies what can change at once, and returns the log level in effect.
fn apply(before: &Config, now: &Config, level: &LogLevel) -> tracing::Level {
    if before.log.level != now.log.level {
        level.set(now.log.level);
        tracing::warn!(log_level = now.log.level.as_str(), "log level changed");
    }
    let mut rest = before.clone();
    rest.log.level = now.log.level;
    if rest != *now {
        tracing::warn!("configuration change not applied: restart required");
    }
    now.log.level
}

//! The configuration file, looked at while the process runs: the log's level changes at once, and
//! everything else is said to take effect at the next start.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::config::{Config, ConfigError, Kind};
use crate::server::StartError;
use crate::telemetry::LogLevel;
use crate::util::file_watch::ReloadingFile;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Reads the whole configuration anew: file, environment and flags.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Where the configuration comes from, and what of it can change.
pub struct ReloadSource {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Reads it.
    pub load: LoadConfig,
    /// Changes with it.
    pub level: LogLevel,
}

/// Looks at the file now and then, and at SIGHUP.
pub(crate) struct ConfigReloader {
    watched: Option<ReloadingFile<Config>>,
    in_effect: Config,
    level: LogLevel,
    hangup: Signal,
}

impl ConfigReloader {
    /// Reads the file again, if it can be read more than once; `config` is in effect. Blocks.
    pub fn begin(reload: ReloadSource, config: &Config) -> Result<Self, StartError> {
        let hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let ReloadSource { file, load, level } = reload;
        let parse = move |_: &[Vec<u8>]| load().map_err(|error| error.to_string());
        // A pipe gives what is in it once.
        let file = file.filter(|file| file.is_file());
        let watched = file.map(|file| ReloadingFile::load(vec![file], parse));
        Ok(Self {
            watched: watched.transpose().map_err(StartError::Configuration)?,
            in_effect: config.clone(),
            level,
            hangup,
        })
    }

    pub async fn run(mut self) {
        let Some(watched) = &self.watched else {
            // Without a file nothing can change; the signal must not end the process.
            loop {
                self.hangup.recv().await;
                tracing::info!("there is no configuration file to read again");
            }
        };
        let mut seen = watched.known().generation;
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

/// Returns the level that is in effect then.
fn apply(before: &Config, now: &Config, level: &LogLevel) -> tracing::Level {
    if before.log.level != now.log.level {
        level.set(now.log.level);
        tracing::warn!(level = now.log.level.as_str(), "the log has another level");
    }
    let mut rest = before.clone();
    rest.log.level = now.log.level;
    if has_changed(&rest, now) {
        tracing::warn!(
            "the configuration has changed: all but log.level takes effect at the next start"
        );
    }
    now.log.level
}

/// Values that may be secret look alike when they are printed, so they are compared as they are.
fn has_changed(one: &Config, other: &Config) -> bool {
    let endpoints = |config: &Config| match &config.kind {
        Kind::Distribution(settings) => settings.endpoints.clone(),
        Kind::Pulp(_) | Kind::Generic(_) => Vec::new(),
    };
    let headers = |config: &Config| -> Vec<_> {
        let endpoints = endpoints(config).into_iter();
        endpoints.map(|endpoint| endpoint.headers).collect()
    };
    format!("{one:?}") != format!("{other:?}") || headers(one) != headers(other)
}

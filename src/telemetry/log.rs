//! Log lines: one subscriber for our own and for those of the HTTP layer.
//!
//! A thread of its own writes them: whoever reads standard error may be slow, or stop reading, and
//! no request waits for that. Beyond a bound lines are dropped and counted.

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogConfig, LogFormat};
use crate::telemetry::library_log;

/// The least severe lines of other crates that are ever written.
///
/// Below that they show whole requests, Authorization included.
const OTHERS: Level = Level::WARN;
/// Lines that wait to be written: some megabytes.
const WAITING: usize = 16 * 1024;

/// Writes lines until it is dropped; then those that wait are written.
#[derive(Debug)]
pub struct LogWriter {
    dropped: ErrorCounter,
    level: LogLevel,
    _thread: WorkerGuard,
}

/// Changes what is written while the process runs.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    /// From now on lines of this level and above are written.
    pub fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "the log's level stays as it is");
        }
    }
}

impl LogWriter {
    /// Counts the lines that were dropped.
    pub fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }

    /// Changes the level.
    pub fn level(&self) -> LogLevel {
        self.level.clone()
    }
}

fn filter(level: Level) -> Targets {
    let others = LevelFilter::from_level(OTHERS.min(level));
    Targets::new()
        .with_default(others)
        .with_target("crossmount", level)
}

/// Starts logging to standard error. Called once; a second call changes nothing.
pub fn init(log: LogConfig) -> LogWriter {
    let (filter, level) = reload::Layer::new(filter(log.level));
    let (writer, thread) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        // Without the module, which would be called `target`, as a mount's target is.
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    let subscriber = Registry::default().with(lines.with_filter(filter));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        // The second half of a first call: it cannot have been done before.
        let _ = library_log::listen(tracing_log::log::LevelFilter::Warn);
    }
    LogWriter {
        dropped,
        level: LogLevel(level),
        _thread: thread,
    }
}

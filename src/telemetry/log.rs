//! Log lines: one subscriber for crossmount's own and for those of libraries.
//!
//! A thread of its own writes them: the reader of standard error may be slow, or stop reading, and
//! no request waits for that. Beyond a bound, lines are dropped and counted.

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogConfig, LogFormat};
use crate::telemetry::library_log;

/// The lowest level at which lines of other crates are ever written.
///
/// At lower levels they show whole requests, Authorization included.
const OTHERS: Level = Level::WARN;
/// The queue length in lines: some megabytes.
const WAITING: usize = 16 * 1024;

/// The writer's thread; when this is dropped, it writes the queued lines and ends.
#[derive(Debug)]
pub struct LogWriter {
    dropped: ErrorCounter,
    level: LogLevel,
    _thread: WorkerGuard,
}

/// Changes the log level while the process runs.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    /// Sets the level from which lines are written.
    pub fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "log level not changed");
        }
    }
}

impl LogWriter {
    /// The counter of dropped lines.
    pub fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }

    /// The handle to change the level.
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

/// Starts logging to standard error, once; a second call has no effect.
pub fn init(log: LogConfig) -> LogWriter {
    let (filter, level) = reload::Layer::new(filter(log.level));
    let (writer, thread) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        // Without the module: its field would be called `target`, like the target of a mount.
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    let subscriber = Registry::default().with(lines.with_filter(filter));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        // It can only fail in a second call, and then it was done already.
        let _ = library_log::listen(tracing_log::log::LevelFilter::Warn);
    }
    LogWriter {
        dropped,
        level: LogLevel(level),
        _thread: thread,
    }
}

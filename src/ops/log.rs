//! Log lines: one subscriber for our own and for those of the HTTP layer.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{Log, LogFormat};

/// The least severe lines of other crates that are ever written.
///
/// Below that they show whole requests, Authorization included.
const OTHERS: Level = Level::WARN;

/// Starts logging to standard error. Called once; a second call changes nothing.
pub fn init(log: Log) {
    let others = LevelFilter::from_level(OTHERS.min(log.level));
    let filter = Targets::new()
        .with_default(others)
        .with_target("crossmount", log.level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        // Without the module, which would be called `target`, as a mount's target is.
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    let subscriber = Registry::default().with(lines.with_filter(filter));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        // The second half of a first call: it cannot have been done before.
        let _ = tracing_log::LogTracer::builder()
            .with_max_level(tracing_log::log::LevelFilter::Warn)
            .init();
    }
}

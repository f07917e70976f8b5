//! Log lines of libraries, at the level that fits.
//!
//! Pingora logs as errors what clients do at any time: they disconnect, or send malformed HTTP. A
//! line of crossmount's says how each such request ended, so Pingora's is for debugging. Lines that
//! tell an operator something new keep their level.

use tracing_log::LogTracer;
use tracing_log::log::{
    Level, LevelFilter, Log, Metadata, Record, SetLoggerError, set_boxed_logger, set_max_level,
};

/// The module of a line, and how its text begins.
type LibraryLine = (&'static str, &'static str);

/// Lines about a client's connection, whatever their level.
const CLIENTS: &[LibraryLine] = &[
    (
        "pingora_proxy",
        "failed to send error response to downstream",
    ),
    ("pingora_proxy", "send error, draining read buf"),
    ("pingora_proxy", "Error finish sending body to downstream"),
    ("pingora_proxy", "Upstream body is already finished"),
    ("pingora_core::apps", "H2 handshake error"),
    ("pingora_core::apps", "HTTP server fails to"),
    ("pingora_core::protocols", "TLS shutdown failed"),
    ("pingora_core::protocols", "invalid content-length header"),
    ("pingora_core::protocols", "negative content-length header"),
    // Without effect: another connection is made.
    (
        "pingora_core::connectors",
        "failed to acquire reusable stream",
    ),
];

/// A connection that ended before a request's head was complete. As a warning, the same text means
/// that the registry cannot be reached at one of its addresses.
const BEFORE_A_REQUEST: LibraryLine = ("pingora_proxy", "Fail to proxy");

/// Filters the log lines of libraries.
struct LibraryLog(LogTracer);

/// Installs the filter; fails if that was done before.
pub(crate) fn listen(level: LevelFilter) -> Result<(), SetLoggerError> {
    set_boxed_logger(Box::new(LibraryLog(LogTracer::new())))?;
    set_max_level(level);
    Ok(())
}

impl Log for LibraryLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        // Only lines of Pingora are worth the cost of their text.
        if record.target().starts_with("pingora") {
            let text = record.args().to_string();
            if is_of_a_client(record.level(), record.target(), &text) {
                // The rest quotes a whole head, credentials included.
                let error = text.split(" context: buf: ").next();
                tracing::debug!(library = record.target(), error, "client connection failed");
                return;
            }
        }
        self.0.log(record);
    }

    fn flush(&self) {}
}

fn is_of_a_client(level: Level, target: &str, text: &str) -> bool {
    let is_line =
        |(place, start): &LibraryLine| target.starts_with(place) && text.starts_with(start);
    let is_before = level == Level::Error && is_line(&BEFORE_A_REQUEST);
    is_before || CLIENTS.iter().any(is_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_client_does_is_for_debugging() {
        for (level, target, text, is_of_a_client) in [
            (
                Level::Error,
                "pingora_proxy",
                "Fail to proxy: Downstream ConnectionClosed",
                true,
            ),
            (
                Level::Warn,
                "pingora_proxy",
                "Fail to proxy: Upstream ConnectRefused",
                false,
            ),
            (
                Level::Warn,
                "pingora_proxy::proxy_h1",
                "send error, draining read buf: x",
                true,
            ),
            (
                Level::Error,
                "pingora_core::apps",
                "H2 handshake error x",
                true,
            ),
            (
                Level::Error,
                "pingora_core::connectors",
                "failed to acquire reusable stream",
                true,
            ),
            (
                Level::Warn,
                "pingora_core::connectors",
                "Unexpected data read in idle connection",
                false,
            ),
            (
                Level::Error,
                "pingora_core::protocols",
                "Crit: FD mismatch: fd",
                false,
            ),
            (Level::Error, "another", "H2 handshake error x", false),
        ] {
            assert_eq!(
                super::is_of_a_client(level, target, text),
                is_of_a_client,
                "{text}"
            );
        }
    }
}

//! Log lines of libraries, at the level that they deserve.
//!
//! Pingora calls an error what a client does at any time: it goes away, or sends what is no HTTP.
//! A line of ours says how each such request ended, so Pingora's is for debugging. What tells an
//! operator something that no line of ours says keeps its level.

use tracing_log::LogTracer;
use tracing_log::log::{
    Level, LevelFilter, Log, Metadata, Record, SetLoggerError, set_boxed_logger, set_max_level,
};

/// Where a line comes from, and how it begins.
type LibraryLine = (&'static str, &'static str);

/// What a client's connection does, whatever level Pingora gives it.
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
    // Of no consequence: another connection is made.
    (
        "pingora_core::connectors",
        "failed to acquire reusable stream",
    ),
];

/// A connection that ended before the head of a request was there. As a warning, the same words
/// are of a registry that cannot be reached at one of its addresses.
const BEFORE_A_REQUEST: LibraryLine = ("pingora_proxy", "Fail to proxy");

/// Takes in what libraries log.
struct LibraryLog(LogTracer);

/// Takes in what libraries log from now on.
///
/// Where that was done before.
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
        // Most libraries say too little to be worth the text.
        if record.target().starts_with("pingora") {
            let text = record.args().to_string();
            if is_of_a_client(record.level(), record.target(), &text) {
                // What follows quotes a whole head, credentials included.
                let said = text.split(" context: buf: ").next();
                tracing::debug!(library = record.target(), said, "client connection failed");
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

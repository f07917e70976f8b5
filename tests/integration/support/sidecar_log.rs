//! The lines of a sidecar's log, which is JSON by default.

use super::sidecar::Sidecar;
use super::wait_until;
use serde_json::Value;

impl Sidecar {
    #[track_caller]
    pub fn log_lines(&self) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    /// Waits until the log says this: a line comes after what it tells of.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str) {
        wait_until(&format!("the log says {words:?}"), || {
            self.log().contains(words)
        });
    }

    /// The lines with this message, in their order, once there are so many.
    #[track_caller]
    pub fn log_lines_with(&self, message: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        wait_until("the lines are in the log", || {
            found = self.log_lines();
            found.retain(|line| line["message"] == message);
            found.len() >= count
        });
        found
    }
}

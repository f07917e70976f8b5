//! A registry's access log: which requests reached it.

use super::registry::Registry;
use super::wait_until;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Switches the access log on.
pub fn log_requests(config: &mut Value) {
    config["log"]["accesslog"]["disabled"] = false.into();
}

impl Registry {
    /// Method, target, protocol and status of each request since the log was `before` bytes long,
    /// when there are enough and none has come for this long.
    #[track_caller]
    pub fn requests_since(
        &self,
        before: usize,
        quiet: Duration,
        is_enough: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let (mut seen, mut since) = (Vec::new(), Instant::now());
        wait_until("the requests are in the registry's log", || {
            let now = requests(&self.log()[before..]);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            is_enough(&seen) && since.elapsed() > quiet
        });
        seen
    }
}

fn requests(log: &str) -> Vec<String> {
    let requests = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        Some(format!("{request} {}", rest.split(' ').next()?))
    });
    requests.collect()
}

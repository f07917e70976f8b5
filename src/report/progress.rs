//! Shows the progress of a report on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::totals::Report;

/// How often the line is redrawn while nothing changes.
const TICK: Duration = Duration::from_millis(200);
/// How many links are counted between two updates.
const EVERY: u64 = 256;

/// A line on standard error, if that is a terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub fn link(&self, report: &Report) {
        if report.links.is_multiple_of(EVERY) {
            let (repositories, links) = (report.repositories, report.links);
            self.0
                .set_message(format!("{repositories} repositories, {links} links"));
        }
    }

    /// From here on the total is known.
    pub fn blobs_begin(&self) {
        self.0.set_length(256);
        self.0.set_position(0);
        let style = ProgressStyle::with_template("{bar:40} {percent}% of the blobs, {eta} left");
        if let Ok(style) = style {
            self.0.set_style(style);
        }
    }

    pub fn row_done(&self) {
        self.0.inc(1);
    }

    pub fn end(self) {
        self.0.finish_and_clear();
    }
}

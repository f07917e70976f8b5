//! What was saved since midnight, UTC. No request pays for it: a timer and every view of the page
//! record the counters' values when the day begins.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::summary::SavedByVia;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The interval between two looks at the clock, which may be set while the timer waits.
const LOOK: Duration = Duration::from_secs(60);

/// The counters at the beginning of the day.
#[derive(Debug)]
pub(crate) struct Today(Mutex<DayStart>);

#[derive(Debug)]
struct DayStart {
    /// Days since 1970.
    day: u64,
    /// What was saved before the day began.
    before: SavedByVia,
}

impl Today {
    /// Begins with nothing saved.
    pub(crate) fn new(now: SystemTime) -> Self {
        Self(Mutex::new(DayStart {
            day: day(now),
            before: SavedByVia::default(),
        }))
    }

    /// What was saved on the day of `now`, if `total` was saved until `now`.
    pub(crate) fn since_midnight(&self, total: SavedByVia, now: SystemTime) -> SavedByVia {
        let mut turn = self.0.lock();
        let day = day(now);
        // Any other day, not only a later one: a clock that was set back must not hold the day.
        if day != turn.day {
            *turn = DayStart { day, before: total };
        }
        SavedByVia {
            mounted: total.mounted.saturating_sub(turn.before.mounted),
            dry_run: total.dry_run.saturating_sub(turn.before.dry_run),
        }
    }

    /// Begins each day on time, even if the page is not viewed.
    pub(crate) async fn roll_over_daily(&self, metrics: &Metrics) {
        loop {
            tokio::time::sleep(until_midnight(SystemTime::now()).min(LOOK)).await;
            self.since_midnight(metrics.saved(), SystemTime::now());
        }
    }
}

fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn day(now: SystemTime) -> u64 {
    since_1970(now).as_secs() / DAY.as_secs()
}

/// Rounded up to the timer's milliseconds, so that it does not wake too early.
fn until_midnight(now: SystemTime) -> Duration {
    let next = Duration::from_secs((day(now) + 1) * DAY.as_secs());
    next.saturating_sub(since_1970(now)) + Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(mounted: u64) -> SavedByVia {
        let dry_run = mounted * 2;
        SavedByVia { mounted, dry_run }
    }

    fn at(day: u64, second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * u32::try_from(day).unwrap() + Duration::from_secs(second)
    }

    #[test]
    fn on_the_first_day_it_is_all_since_the_start() {
        let today = Today::new(at(20_000, 5));
        assert_eq!(
            today.since_midnight(mounted(7), at(20_000, 86_399)),
            mounted(7)
        );
    }

    #[test]
    fn what_was_saved_before_the_turn_is_not_todays() {
        let today = Today::new(at(20_000, 5));
        assert_eq!(today.since_midnight(mounted(7), at(20_001, 0)), mounted(0));
        assert_eq!(today.since_midnight(mounted(10), at(20_001, 9)), mounted(3));
        // The page was not viewed for a while.
        assert_eq!(today.since_midnight(mounted(50), at(20_005, 9)), mounted(0));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_its_day_anew() {
        let today = Today::new(at(40_000, 0));
        today.since_midnight(mounted(7), at(20_000, 0));
        assert_eq!(today.since_midnight(mounted(9), at(20_000, 1)), mounted(2));
        assert_eq!(today.since_midnight(mounted(9), at(20_001, 0)), mounted(0));
    }

    #[test]
    fn the_timer_wakes_up_just_after_midnight() {
        let left = until_midnight(at(20_000, 86_390));
        assert_eq!(left, Duration::from_millis(10_001));
        assert_eq!(day(at(20_000, 86_390) + left), 20_001);
    }
}

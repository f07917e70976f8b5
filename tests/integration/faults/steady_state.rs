//! Whether a process that runs for long stays as it was: what it holds, and how fast it answers.

use crate::support::figures::{amount, is_long};
use crate::support::mixed_load::{Step, Timed};
use std::time::{Duration, Instant};

/// What the process holds at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub at: Instant,
    /// In kB.
    pub memory: u64,
    pub descriptors: u64,
    pub threads: u64,
    /// Since the process began, and since the registry alone began.
    pub computed: Duration,
    pub computed_alone: Duration,
}

/// The times in which what happens is compared: after the process has warmed up, and at the end.
pub struct Windows {
    warm: Instant,
    early: Instant,
    late: Instant,
}

impl Windows {
    pub fn of(start: Instant, long: Duration) -> Self {
        let warm = amount(long / 6, Duration::from_secs(300));
        let rest = long.saturating_sub(warm) / 3;
        Self {
            warm: start + warm,
            early: start + warm + rest,
            late: start + long.saturating_sub(rest),
        }
    }

    fn is_early(&self, at: Instant) -> bool {
        (self.warm..self.early).contains(&at)
    }

    fn is_late(&self, at: Instant) -> bool {
        at >= self.late
    }
}

/// kB of memory that may be added in ten minutes, as the straight line through all samples tells:
/// what leaks a little with each request is not seen between two windows.
const MOST_GROWTH: f64 = 1024.0;

/// What the process holds at most, early and late.
pub fn nothing_grows(windows: &Windows, samples: &[Sample]) -> String {
    let most = |of: fn(&Sample) -> u64, is_in: &dyn Fn(Instant) -> bool| {
        let all = samples.iter().filter(|sample| is_in(sample.at)).map(of);
        all.max().expect("a sample")
    };
    let both = |of| {
        let early = most(of, &|at| windows.is_early(at));
        (early, most(of, &|at| windows.is_late(at)))
    };
    let memory = both(|sample| sample.memory);
    let descriptors = both(|sample| sample.descriptors);
    let threads = both(|sample| sample.threads);
    // An allocator keeps a little of each thread's worst moment.
    assert!(memory.1 < memory.0 + memory.0 / 4 + 4096, "{memory:?} kB");
    assert!(descriptors.1 <= descriptors.0 + 20, "{descriptors:?}");
    // A disk that is slow for a moment lets more of its 64 threads begin; they end by themselves.
    assert!(threads.1 <= threads.0 + 64 + 8, "{threads:?}");
    let warm: Vec<_> = samples
        .iter()
        .filter(|sample| sample.at >= windows.warm)
        .map(|sample| (sample.at.duration_since(windows.warm), sample.memory))
        .collect();
    let growth = slope(&warm) * 600.0;
    // In a minute there is nothing to be seen but noise.
    assert!(!is_long() || growth < MOST_GROWTH, "{growth} kB");
    format!(
        "memory {:.1} MiB, then {:.1}, {growth:+.0} kB in ten minutes; \
         descriptors {}, then {}; threads {}, then {}",
        mib(memory.0),
        mib(memory.1),
        descriptors.0,
        descriptors.1,
        threads.0,
        threads.1
    )
}

/// What a step costs the process in processor time, early and late, each beside what it costs the
/// registry alone: the machine's own ups and downs come to both.
pub fn no_step_costs_more(windows: &Windows, samples: &[Sample], timed: &[Timed]) -> String {
    let cost = |is_in: &dyn Fn(Instant) -> bool| {
        let inside: Vec<_> = samples.iter().filter(|it| is_in(it.at)).collect();
        let (first, last) = (inside[0], inside[inside.len() - 1]);
        let within = first.at..last.at;
        let steps = timed.iter().filter(|one| within.contains(&one.at)).count();
        let own = last.computed.saturating_sub(first.computed);
        let alone = last.computed_alone.saturating_sub(first.computed_alone);
        let each = own / u32::try_from(steps).expect("not that many");
        (each, own.as_secs_f64() / alone.as_secs_f64())
    };
    let early = cost(&|at| windows.is_early(at));
    let late = cost(&|at| windows.is_late(at));
    let most = early.1 * amount(1.5, 1.25);
    assert!(late.1 < most, "{early:?}, then {late:?}");
    let told =
        |(each, beside): (Duration, f64)| format!("{each:.2?} ({beside:.2} of the registry alone)");
    format!(
        "{} of processor time for a step, then {}",
        told(early),
        told(late)
    )
}

/// By least squares, for each second.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn slope(samples: &[(Duration, u64)]) -> f64 {
    let count = samples.len() as f64;
    let times = samples.iter().map(|(at, _)| at.as_secs_f64());
    let mean_time = times.sum::<f64>() / count;
    let mean = samples.iter().map(|(_, value)| *value as f64).sum::<f64>() / count;
    let (mut both, mut squares) = (0.0, 0.0);
    for (at, value) in samples {
        let away = at.as_secs_f64() - mean_time;
        both += away * (*value as f64 - mean);
        squares += away * away;
    }
    both / squares
}

#[allow(clippy::cast_precision_loss, reason = "a figure to read")]
fn mib(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// Medians and slowest hundredths early and late, each beside that of the registry alone in the same
/// time.
pub fn nothing_slows_down(windows: &Windows, timed: &[Timed]) -> String {
    let mut words = Vec::new();
    for step in [Step::Pull, Step::Mount, Step::Push] {
        let of = |is_in: &dyn Fn(Instant) -> bool| {
            let all = timed.iter().filter(|one| one.step == step);
            let all: Vec<_> = all.filter(|one| is_in(one.at)).collect();
            Paces::of(&all)
        };
        let early = of(&|at| windows.is_early(at));
        let late = of(&|at| windows.is_late(at));
        // The machine's own noise comes to both of them, and to a minute more than to an hour.
        let (factor, more) = amount((3.0, 0.5), (1.5, 0.0));
        let most = early.median.1 * factor + more;
        assert!(late.median.1 < most, "{step:?}: {early:?}, then {late:?}");
        let most = early.slow.1 * 2.0 + 1.0;
        let is_fine = !is_long() || late.slow.1 < most;
        assert!(is_fine, "{step:?}: {early:?}, then {late:?}");
        words.push(format!("{step:?} {}, then {}", early.told(), late.told()));
    }
    words.join(", ")
}

/// Behind the sidecar, and how many times that of the registry alone.
#[derive(Debug)]
struct Paces {
    median: (Duration, f64),
    /// Of a hundred, one is slower.
    slow: (Duration, f64),
}

impl Paces {
    fn of(all: &[&Timed]) -> Self {
        let at = |hundredth| {
            let alone = slower_than(hundredth, all.iter().map(|one| one.alone));
            let behind = slower_than(hundredth, all.iter().map(|one| one.behind));
            (behind, behind.as_secs_f64() / alone.as_secs_f64())
        };
        Self {
            median: at(50),
            slow: at(99),
        }
    }

    fn told(&self) -> String {
        let (median, slow) = (self.median, self.slow);
        format!(
            "{:.1?} ({:.2} of alone; of a hundred one above {:.1?}, {:.2} of alone)",
            median.0, median.1, slow.0, slow.1
        )
    }
}

fn slower_than(hundredth: usize, times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() * hundredth / 100]
}

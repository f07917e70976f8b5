//! What a process holds and uses, as /proc tells it.

use super::registry::Registry;
use super::sidecar::Sidecar;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;
use std::time::Duration;

impl Sidecar {
    /// Open files and connections.
    pub fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        folder.count()
    }

    pub fn threads(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Threads:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// The time that it has been computing since its start.
    pub fn computed(&self) -> Duration {
        computed(self.id())
    }

    /// The soft and the hard limit of open files.
    pub fn descriptor_limits(&self) -> (String, String) {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.id())).unwrap();
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let mut words = line.unwrap().split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    }
}

impl Registry {
    /// The same of the registry, while it runs.
    pub fn computed(&self) -> Duration {
        computed(self.id())
    }
}

fn computed(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name before may hold anything; utime and stime are the 12th and 13th after it.
    let after = stat.rsplit_once(") ").unwrap().1;
    let ticks = after.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.map(|text| text.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Lets this process, and those that it starts, have so many open files, if the system allows it.
pub fn allow_descriptors(many: u64) -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= many) {
        return true;
    }
    limit.current = Some(many);
    limit.maximum = limit.maximum.map(|most| most.max(many));
    setrlimit(Resource::Nofile, limit).is_ok()
}

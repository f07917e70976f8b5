//! Clients that mount all the while, and what each of their mounts was answered.

use crate::support;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::registry::Registry;
use support::registry_client::{Client, mount_target};
use support::stop_guard::StopGuard;
use support::wait_until;

/// A layer that is mounted from a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub source: String,
    pub digest: String,
}

#[derive(Debug, Clone)]
pub struct Attempt {
    pub layer: Layer,
    pub target: String,
    /// `None` where the connection broke.
    pub status: Option<u16>,
    pub began: Instant,
    pub ended: Instant,
}

impl Attempt {
    pub fn is_mounted(&self) -> bool {
        self.status == Some(201)
    }

    pub fn is_within(&self, from: Instant, to: Instant) -> bool {
        self.ended >= from && self.began <= to
    }
}

/// Mounts of some layers, each into a repository of its own.
pub struct Mounters {
    client: Client,
    layers: Vec<Layer>,
    name: String,
    pause: Duration,
    number: AtomicUsize,
    is_over: AtomicBool,
    is_paused: AtomicBool,
    attempts: Mutex<Vec<Attempt>>,
}

impl Mounters {
    pub fn new(client: Client, name: &str, layers: &[Layer], pause: Duration) -> Self {
        Self {
            client,
            layers: layers.to_vec(),
            name: name.to_owned(),
            pause,
            number: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            attempts: Mutex::new(Vec::new()),
        }
    }

    /// Mounts by this many clients at once while `meanwhile` does its worst.
    pub fn during(&self, clients: usize, meanwhile: impl FnOnce()) -> Vec<Attempt> {
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| self.work());
            }
            let _over = StopGuard(&self.is_over);
            meanwhile();
        });
        self.attempts()
    }

    fn work(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            if !self.is_paused.load(Ordering::Relaxed) {
                self.mount();
            }
            std::thread::sleep(self.pause);
        }
    }

    fn mount(&self) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let layer = self.layers[number % self.layers.len()].clone();
        let target = format!("{}/{number}", self.name);
        let path = mount_target(&target, &layer.digest, &layer.source);
        let began = Instant::now();
        let answer = self
            .client
            .request("POST", &path)
            .try_send(self.client.port);
        let attempt = Attempt {
            layer,
            target,
            status: answer.ok().map(|answer| answer.status),
            began,
            ended: Instant::now(),
        };
        self.attempts.lock().unwrap().push(attempt);
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().unwrap().clone()
    }

    /// Nobody mounts while it is paused; what is under way ends.
    pub fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// Waits for as many more that end as `is_such`.
    pub fn wait_for(&self, more: usize, is_such: impl Fn(&Attempt) -> bool) {
        let since = Instant::now();
        wait_until("enough mounts have ended", || {
            let attempts = self.attempts.lock().unwrap();
            let such = attempts
                .iter()
                .filter(|it| it.began >= since && is_such(it));
            such.count() >= more
        });
    }
}

/// Whether the registry itself gives the layer from the target, byte for byte.
pub fn is_readable(registry: &Registry, attempt: &Attempt) -> bool {
    let answer = registry
        .client()
        .blob(&attempt.target, &attempt.layer.digest);
    answer.status == 200 && support::digest_of(&answer.body) == attempt.layer.digest
}

/// Wants every mount that was answered 201 to be readable; returns how many there were.
#[track_caller]
pub fn all_are_readable<'a>(
    registry: &Registry,
    attempts: impl IntoIterator<Item = &'a Attempt>,
) -> usize {
    let mut mounted = 0;
    for attempt in attempts.into_iter().filter(|attempt| attempt.is_mounted()) {
        assert!(is_readable(registry, attempt), "{attempt:?}");
        mounted += 1;
    }
    mounted
}

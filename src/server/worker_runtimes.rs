//! The threads that serve requests: one for each processor, each with its own runtime.
//!
//! A client's connection stays on one of them, and so do the connections to the registry that its
//! requests use. With a shared pool of threads each response would wake another thread, which costs
//! more than to pass the response on.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pingora::prelude::fast_timeout::set_fast_timeout_to_tokio_threshold;
use tokio::runtime::{Builder, Handle};

use crate::server::listener::RequestHandlers;
use crate::upstream::serving_threads;

/// Pingora's own timers stay in memory until they are due, even if the wait ended long before: some
/// 250 bytes for each request. Longer ones are therefore Tokio's, which end with the wait.
const LONGEST_KEPT: Duration = Duration::from_secs(30);

/// Runtimes that live as long as the process.
#[derive(Debug)]
pub(crate) struct WorkerRuntimes(Vec<Handle>);

impl WorkerRuntimes {
    /// Starts one runtime for each processor.
    pub(crate) fn start() -> io::Result<Self> {
        set_fast_timeout_to_tokio_threshold(Some(LONGEST_KEPT));
        (0..serving_threads())
            .map(spawn_worker)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// One app for each runtime.
    pub(crate) fn each<A>(&self, app: impl Fn() -> Arc<A>) -> Vec<RequestHandlers<A>> {
        self.0.iter().map(|lane| (lane.clone(), app())).collect()
    }
}

fn spawn_worker(number: usize) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(format!("lane-{number}"))
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

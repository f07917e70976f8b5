//! Idle connections to the registry, separate for each thread that serves requests.
//!
//! An idle connection waits in a task of the runtime that used it last. If another thread takes it,
//! that task may still hold it when Pingora counts its owners
//! (`pingora-core/src/connectors/mod.rs`, `reused_stream`). Then the connection is lost, and an
//! error is logged. On one thread the task has ended by then. The response also wakes no other
//! thread.

use std::num::NonZero;
use std::sync::OnceLock;
use std::thread::{self, ThreadId};

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::server::configuration::ServerConf;

/// The number of threads that serve requests: one for each processor.
pub fn serving_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// One connector for each thread that serves requests.
pub(crate) struct WorkerConnectors {
    first: OwnedConnector,
    others: Vec<OwnedConnector>,
}

struct OwnedConnector {
    connector: Connector,
    /// The thread that took it first.
    owner: OnceLock<ThreadId>,
}

impl WorkerConnectors {
    /// Builds all at once: roots are read from files, which may be gone later.
    pub(crate) fn new(settings: &ServerConf) -> Self {
        let owned = |_| OwnedConnector {
            connector: Connector::new(Some(ConnectorOptions::from_server_conf(settings))),
            owner: OnceLock::new(),
        };
        Self {
            first: owned(0),
            others: (1..serving_threads()).map(owned).collect(),
        }
    }

    /// This thread's own connector. Further threads share the first one.
    pub(crate) fn own(&self) -> &Connector {
        let thread = thread::current().id();
        let is_own = |owned: &&OwnedConnector| *owned.owner.get_or_init(|| thread) == thread;
        let mut all = std::iter::once(&self.first).chain(&self.others);
        &all.find(is_own).unwrap_or(&self.first).connector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_connector_of_its_own_and_keeps_it() {
        let connectors = WorkerConnectors::new(&ServerConf {
            ca_file: Some("/dev/null".to_owned()),
            ..ServerConf::default()
        });
        let own = || std::ptr::from_ref(connectors.own()).addr();
        let mut seen: Vec<usize> = Vec::new();
        for _ in 0..serving_threads() {
            let found = thread::scope(|scope| scope.spawn(|| [own(), own()]).join().unwrap());
            assert_eq!(found[0], found[1]);
            assert!(!seen.contains(&found[0]));
            seen.push(found[0]);
        }
        assert_eq!(own(), seen[0]);
    }
}

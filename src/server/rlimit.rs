//! How many files and connections the process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Takes all that the system allows, as the registry itself does: Go raises the soft limit too.
///
/// Many systems start a service with 1024, of which each request on its way takes two.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

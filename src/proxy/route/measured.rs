//! The classification alone, for the benchmark.

use http::request::Parts;

use crate::proxy::route::{Route, classify};

/// Whether a request is an unambiguous mount.
pub(crate) fn is_mount(prefix: &str, target: &[u8], head: &Parts) -> bool {
    matches!(classify(prefix, target, head), Route::Mount(_))
}

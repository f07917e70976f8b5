//! For the benchmark of this part alone.

use http::request::Parts;

use crate::proxy::route::{Route, classify};

/// Whether a request is a mount in the plain form.
pub(crate) fn is_mount(prefix: &str, target: &[u8], head: &Parts) -> bool {
    matches!(classify(prefix, target, head), Route::Mount(_))
}

//! Each request is counted once, at its end, and a mount is logged.

use http::{Method, StatusCode};

use super::classify::Route;
use super::context::{Context, MountState};
use crate::metrics::Metrics;
use crate::outcome::{Outcome, Reason};

/// Counts a request; `status` is `None` where no answer was sent.
pub(super) fn request(
    metrics: &Metrics,
    method: &Method,
    status: Option<StatusCode>,
    context: &Context,
) {
    let took = context.started.elapsed();
    metrics.request(method, status, took);
    let (outcome, reason) = match &context.mount {
        MountState::None => return,
        MountState::Done(outcome) => (*outcome, Reason::None),
        MountState::Forwarded(forward) => (forward.outcome, forward.reason),
    };
    metrics.mount(outcome, reason, took);
    if let MountState::Forwarded(forward) = &context.mount
        && outcome == Outcome::WouldMount
    {
        metrics.dry_run_bytes(forward.dry_run_size);
    }
    log_mount(outcome, reason, context);
}

fn log_mount(outcome: Outcome, reason: Reason, context: &Context) {
    let mount = match &context.route {
        Route::Mount(mount) => Some(mount),
        _ => None,
    };
    tracing::info!(
        repository = mount.map(|mount| mount.target.as_str()),
        source = mount.map(|mount| mount.source.as_str()),
        digest = mount.map(|mount| mount.digest.as_str()),
        outcome = outcome.as_str(),
        reason = reason.as_str(),
        seconds = context.started.elapsed().as_secs_f64(),
        "mount"
    );
}

//! A mount is counted before its answer goes out, a request at its end; each once.

use http::{Method, StatusCode};

use super::classify::Route;
use super::context::{Context, MountState};
use crate::metrics::Metrics;
use crate::outcome::{Outcome, Reason};

/// Counts and logs a mount whose end is known. Whoever has the answer finds it in the metrics.
pub(super) fn mount(metrics: &Metrics, context: &mut Context) {
    let (outcome, reason) = match &context.mount {
        MountState::None => return,
        MountState::Done { outcome, .. } => (*outcome, Reason::None),
        MountState::Forwarded(forward) => (forward.outcome, forward.reason),
    };
    if std::mem::replace(&mut context.is_counted, true) {
        return;
    }
    metrics.mount(outcome, reason, context.started.elapsed());
    match &context.mount {
        MountState::Done { size, .. } if outcome == Outcome::Mounted => {
            metrics.mounted_bytes(*size);
        }
        MountState::Forwarded(forward) if outcome == Outcome::WouldMount => {
            metrics.dry_run_bytes(forward.dry_run_size);
        }
        _ => {}
    }
    // A link that was written has its own line already, with the proof.
    if outcome != Outcome::Mounted {
        log_mount(outcome, reason, context);
    }
}

/// Counts a request; `status` is `None` where no answer was sent.
pub(super) fn request(
    metrics: &Metrics,
    method: &Method,
    status: Option<StatusCode>,
    context: &mut Context,
) {
    mount(metrics, context);
    metrics.request(method, status, context.started.elapsed());
}

fn log_mount(outcome: Outcome, reason: Reason, context: &Context) {
    let mount = match &context.route {
        Route::Mount(mount) => Some(mount),
        _ => None,
    };
    tracing::info!(
        target = mount.map(|mount| mount.target.as_str()),
        source = mount.map(|mount| mount.source.as_str()),
        digest = mount.map(|mount| mount.digest.as_str()),
        outcome = outcome.as_str(),
        reason = reason.as_str(),
        seconds = context.started.elapsed().as_secs_f64(),
        "mount"
    );
}

//! Counts a mount before its response is sent, and counts and logs a request at its end.

use http::StatusCode;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource};

use crate::oci::{BlobRef, RepositoryName};
use crate::proxy::context::{MountState, RequestContext};
use crate::proxy::response;
use crate::proxy::route::Route;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::{Outcome, Reason};
use crate::telemetry::trace::Trace;

/// The longest path in the log, in characters.
const LONGEST_PATH: usize = 512;

/// Counts a mount once its outcome is known: a client that has the response finds it in metrics.
pub(crate) fn count_mount(metrics: &Metrics, context: &mut RequestContext) {
    let Some((outcome, reason)) = mount_outcome(context) else {
        return;
    };
    if std::mem::replace(&mut context.is_counted, true) {
        return;
    }
    metrics.mount(outcome, reason, context.started.elapsed());
    match &context.mount {
        MountState::Done { size, via, .. }
            if matches!(outcome, Outcome::Mounted | Outcome::Relayed) =>
        {
            metrics.mounted_bytes(*size, *via);
        }
        MountState::Forwarded(forward) if outcome == Outcome::WouldMount => {
            metrics.dry_run_bytes(forward.size, forward.via);
        }
        MountState::Forwarded(forward) if outcome == Outcome::Native && forward.size > 0 => {
            metrics.mounted_bytes(forward.size, forward.via);
        }
        _ => {}
    }
}

/// Counts a request, and writes its log line.
pub(crate) fn log_request(
    metrics: &Metrics,
    session: &Session,
    error: Option<&Error>,
    context: &RequestContext,
) {
    let status = session.response_written().map(|head| head.status);
    metrics.request(
        &session.req_header().method,
        status,
        context.started.elapsed(),
    );
    log(session, status, error, context);
}

/// Writes one line; a warning if the registry sent no response.
fn log(
    session: &Session,
    status: Option<StatusCode>,
    error: Option<&Error>,
    context: &RequestContext,
) {
    let head = session.req_header();
    // Without the query, which may hold an upload's state.
    let path: String = head.uri.path().chars().take(LONGEST_PATH).collect();
    let end = mount_outcome(context);
    let named = named_blob(&context.route).filter(|_| end.is_some());
    let (blob, source) = named.unzip();
    let target = blob.map(|blob| blob.repository.as_str());
    let digest = blob.map(|blob| blob.digest.as_str());
    let source = source.flatten().map(RepositoryName::as_str);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = context.id.as_str(),
                trace_id = context.trace.as_ref().map(Trace::id),
                method = head.method.as_str(),
                path,
                status = status.map(|status| status.as_u16()),
                outcome = end.map(|(outcome, _)| <&str>::from(outcome)),
                reason = end.map(|(_, reason)| <&str>::from(reason)),
                target,
                source,
                digest,
                received = session.as_downstream().body_bytes_read(),
                sent = session.as_downstream().body_bytes_sent(),
                upstream_seconds = context.response_time.map(|after| after.as_secs_f64()),
                seconds = context.started.elapsed().as_secs_f64(),
                error = error.map(response::description),
                "request"
            )
        };
    }
    match error {
        Some(error) if *error.esource() != ErrorSource::Downstream => line!(warn),
        _ => line!(info),
    }
}

/// The parts of a mount that the log names: target, source if known, and layer.
fn named_blob(route: &Route) -> Option<(&BlobRef, Option<&RepositoryName>)> {
    match route {
        Route::Mount(mount) => Some((&mount.target, Some(&mount.source))),
        Route::SourcelessMount(blob) | Route::Blob(blob) => Some((blob, None)),
        Route::AmbiguousMount(_) | Route::Upload(_) | Route::Deletion(_) | Route::Other => None,
    }
}

fn mount_outcome(context: &RequestContext) -> Option<(Outcome, Reason)> {
    match &context.mount {
        MountState::None => None,
        MountState::Done { outcome, .. } => Some((*outcome, Reason::None)),
        MountState::Forwarded(forward) => Some((forward.outcome, forward.reason)),
    }
}

//! The registry behind, and the files by which decisions about its callers are made here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Findings;
use crate::access::check_files;
use crate::config::{Access, AccessMode, Upstream};
use crate::metrics::Metrics;
use crate::upstream::{Ask, BaseAnswer};

/// How long the registry may take for its answer.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) fn check_access(access: &Access, findings: &mut Findings) {
    let what = match &access.mode {
        AccessMode::Token(_) => "the keys that tokens are signed with",
        AccessMode::Htpasswd(_) => "the password file",
        AccessMode::Upstream | AccessMode::None => return,
    };
    match check_files(access) {
        Ok(()) => findings.good(format!("{what} can be read")),
        Err(error) => findings.fault(error.to_string()),
    }
}

/// Whether the registry answers, and as the access mode, where there is one, makes expect.
pub(super) async fn check_upstream(
    upstream: &Upstream,
    mode: Option<&AccessMode>,
    findings: &mut Findings,
) {
    let url = &upstream.url;
    let metrics = match Metrics::new(None) {
        Ok(metrics) => Arc::new(metrics),
        Err(error) => return findings.fault(error.to_string()),
    };
    let ask = match Ask::new(upstream, metrics) {
        Ok(ask) => ask,
        Err(error) => return findings.fault(error.to_string()),
    };
    match (ask.base(Instant::now() + LIMIT).await, mode) {
        (BaseAnswer::Open, Some(AccessMode::None)) => {
            findings.good(format!("the registry at {url} answers and has no access control"));
        }
        (BaseAnswer::Open, Some(AccessMode::Token(_) | AccessMode::Htpasswd(_))) => findings.fault(format!(
            "the registry at {url} answers everybody, but access.mode says that it has access control: \
             if it has none, set access.mode to none"
        )),
        (BaseAnswer::Open, Some(AccessMode::Upstream)) => findings.note(format!(
            "the registry at {url} answers everybody: mounts without credentials are left to it; \
             if it has no access control at all, set access.mode to none"
        )),
        (
            BaseAnswer::Challenge,
            None | Some(AccessMode::Upstream | AccessMode::Token(_) | AccessMode::Htpasswd(_)),
        ) => findings.good(format!(
            "the registry at {url} answers and asks for credentials"
        )),
        (BaseAnswer::Challenge, Some(AccessMode::None)) => findings.fault(format!(
            "access.mode is none, but the registry at {url} asks for credentials: set access.mode to upstream"
        )),
        (BaseAnswer::Open, None) => {
            findings.good(format!("the registry at {url} answers everybody"));
        }
        (BaseAnswer::Strange(status), _) => findings.fault(format!(
            "the registry at {url} answers {status} at {}v2/: is this a registry, and is upstream.prefix its http.prefix?",
            upstream.prefix
        )),
        (BaseAnswer::Unreachable(reason), _) => findings.fault(format!(
            "the registry at {url} cannot be reached ({reason}): start it, or correct upstream.url"
        )),
    }
}

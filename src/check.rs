//! `crossmount check`: would `serve` work here, and what is to be done where it would not?

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::access::check_files;
use crate::config::{Access, AccessMode, Config, Kind, Upstream};
use crate::http;
use crate::metrics::Metrics;
use crate::relay::Artifacts;
use crate::store::{check_owner, prove_writable};
use crate::upstream::{Ask, BaseAnswer};

/// How long the registry may take for its answer.
const LIMIT: Duration = Duration::from_secs(5);

/// What was found, in words.
#[derive(Debug, Default)]
pub struct Findings {
    lines: Vec<String>,
    faults: usize,
}

impl Findings {
    fn good(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("ok: {}", text.as_ref()));
    }

    fn note(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("warning: {}", text.as_ref()));
    }

    fn fault(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("fault: {}", text.as_ref()));
        self.faults += 1;
    }

    /// One finding a line.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether `serve` would work.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults == 0
    }
}

/// Looks at what the configuration alone says.
#[must_use]
pub fn offline(config: &Config) -> Findings {
    let mut findings = Findings::default();
    findings.good("the configuration is valid");
    for warning in &config.warnings {
        findings.note(warning);
    }
    findings
}

/// Looks at the certificate, the registry and the store too. Nothing is left behind.
pub async fn run(config: &Config) -> Findings {
    let mut findings = offline(config);
    check_tls(config, &mut findings);
    match &config.kind {
        Kind::Distribution(settings) => {
            check_access(&settings.access, &mut findings);
            check_upstream(&config.upstream, Some(&settings.access.mode), &mut findings).await;
            check_store(&settings.store.root, &mut findings);
        }
        Kind::Pulp(settings) => {
            check_upstream(&config.upstream, None, &mut findings).await;
            if let Some(artifacts) = &settings.artifacts {
                check_artifacts(&artifacts.root, &mut findings);
            }
        }
        Kind::Generic(_) => check_upstream(&config.upstream, None, &mut findings).await,
    }
    findings
}

fn check_tls(config: &Config, findings: &mut Findings) {
    match config.tls.as_ref().map(http::load_tls) {
        None => {}
        Some(Ok(_)) => findings.good("certificate and key of the listener fit each other"),
        Some(Err(fault)) => findings.fault(fault.to_string()),
    }
}

fn check_access(access: &Access, findings: &mut Findings) {
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
async fn check_upstream(upstream: &Upstream, mode: Option<&AccessMode>, findings: &mut Findings) {
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

fn check_store(root: &Path, findings: &mut Findings) {
    if let Err(fault) = check_owner(root) {
        return findings.fault(fault.to_string());
    }
    match prove_writable(root) {
        Err(fault) => findings.fault(fault.to_string()),
        Ok(folder) if folder == root => findings.note(format!(
            "{} is readable and writable, and holds no registry yet: it must be the registry's rootdirectory",
            root.display()
        )),
        Ok(folder) => findings.good(format!(
            "the store's folder {} is readable and writable as this user",
            folder.display()
        )),
    }
}

fn check_artifacts(root: &Path, findings: &mut Findings) {
    match Artifacts::open(root) {
        Ok(_) => findings.good(format!(
            "Pulp's artifacts below {} are readable",
            root.display()
        )),
        Err(fault) => findings.fault(fault.to_string()),
    }
}

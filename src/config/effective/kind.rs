//! What differs between registries.

use crate::config::Endpoint;
use crate::config::effective::{MASK, host_of, path, span, texts, without_login, word};
use crate::config::kind::{
    Access, AccessMode, Artifacts, Discovery, Durability, Kind, SourceDenied, Sources, TokenRules,
};
use crate::config::schema::{self, File};

const MIB: u64 = 1024 * 1024;

/// The sections that belong to one kind of registry.
pub(crate) fn sections(file: &mut File, kind: &Kind) {
    match kind {
        Kind::Distribution(settings) => {
            file.upstream.kind = word("distribution");
            file.upstream.version = Some(settings.version.number());
            file.store.filesystem = Some(schema::Filesystem {
                rootdirectory: path(&settings.store.root),
            });
            file.store.durability = word(match settings.store.durability {
                Durability::Full => "full",
                Durability::File => "file",
                Durability::None => "none",
            });
            let verify = settings.store.verify;
            file.store.verify = word(verify.map_or("none", |_| "sha256"));
            file.store.verify_rate = verify.map(|verify| size(verify.rate));
            file.access = access(&settings.access);
            file.mount.source_denied = source_denied(settings.mount.source_denied);
            file.mount.time_budget = span(settings.mount.time_budget);
            file.mount.dry_run = Some(settings.mount.dry_run);
            file.discovery = discovery(settings.discovery.as_ref());
            file.notifications.endpoints = settings.endpoints.iter().map(endpoint).collect();
        }
        Kind::Pulp(settings) => {
            file.upstream.kind = word("pulp");
            file.upstream.relative_urls = None;
            file.store.artifacts = settings.artifacts.as_ref().map(artifacts);
            file.discovery = discovery(settings.discovery.as_ref());
            let budget = settings.discovery.as_ref().map(|_| settings.time_budget);
            file.mount.time_budget = budget.and_then(span);
        }
        Kind::Generic(settings) => {
            file.upstream.kind = word("generic");
            file.upstream.relative_urls = None;
            let statuses = settings.statuses.iter();
            file.mend.statuses = Some(statuses.map(http::StatusCode::as_u16).collect());
            file.mount.source_denied = source_denied(settings.source_denied);
            file.discovery = discovery(settings.discovery.as_ref());
            let budget = settings.discovery.as_ref().map(|_| settings.time_budget);
            file.mount.time_budget = budget.and_then(span);
        }
    }
}

fn token_rules(access: &Access) -> Option<&TokenRules> {
    match &access.mode {
        AccessMode::Token(rules) => Some(rules),
        AccessMode::Upstream | AccessMode::Htpasswd(_) | AccessMode::None => None,
    }
}

fn access(access: &Access) -> schema::Access {
    let htpasswd = match &access.mode {
        AccessMode::Htpasswd(file) => Some(schema::Htpasswd { path: path(file) }),
        AccessMode::Upstream | AccessMode::Token(_) | AccessMode::None => None,
    };
    schema::Access {
        mode: word(match access.mode {
            AccessMode::Upstream => "upstream",
            AccessMode::Token(_) => "token",
            AccessMode::Htpasswd(_) => "htpasswd",
            AccessMode::None => "none",
        }),
        decision_ttl: span(access.decision_ttl),
        token: token_rules(access).map(|rules| schema::Token {
            // Names, and often URLs.
            issuer: Some(without_login(&rules.issuer)),
            service: Some(without_login(&rules.service)),
            rootcertbundle: rules.root_certificates.as_deref().and_then(path),
            jwks: rules.jwks.as_deref().and_then(path),
            signingalgorithms: rules.algorithms.clone(),
        }),
        htpasswd,
    }
}

/// Addresses of webhooks are often secrets themselves, behind the host.
fn endpoint(endpoint: &Endpoint) -> schema::Endpoint {
    let names = endpoint.headers.keys();
    let values = |name| endpoint.headers.get_all(name).iter();
    let masked = |name| values(name).map(|_| MASK.to_owned()).collect();
    schema::Endpoint {
        name: Some(endpoint.name.clone()),
        url: Some(host_of(&endpoint.url)),
        headers: names.map(|name| (name.to_string(), masked(name))).collect(),
        timeout: span(endpoint.timeout),
        threshold: Some(endpoint.threshold),
        backoff: span(endpoint.backoff),
        disabled: None,
        ignoredmediatypes: Vec::new(),
        ignore: Some(schema::Ignore {
            mediatypes: endpoint.ignored_media_types.clone(),
            actions: endpoint.ignored_actions.clone(),
        }),
    }
}

fn artifacts(artifacts: &Artifacts) -> schema::Artifacts {
    schema::Artifacts {
        rootdirectory: path(&artifacts.root),
        max_size: Some(size(artifacts.max_size)),
        concurrency: u32::try_from(artifacts.concurrency).ok(),
        deadline: span(artifacts.deadline),
        pull_through: texts(&artifacts.pull_through),
    }
}

fn size(size: u64) -> String {
    if size.is_multiple_of(MIB) {
        format!("{}MiB", size / MIB)
    } else {
        size.to_string()
    }
}

fn discovery(discovery: Option<&Discovery>) -> schema::Discovery {
    let Some(discovery) = discovery else {
        return schema::Discovery {
            enabled: Some(false),
            ..schema::Discovery::default()
        };
    };
    schema::Discovery {
        enabled: Some(true),
        on_head: Some(discovery.on_head),
        new_repositories: Some(discovery.new_repositories),
        sources: word(match discovery.sources {
            Sources::Shared => "shared",
            Sources::Namespace => "namespace",
            Sources::Any => "any",
        }),
        shared_sources: discovery.shared.texts().to_vec(),
        widen_scopes: None,
    }
}

fn source_denied(choice: SourceDenied) -> Option<String> {
    word(match choice {
        SourceDenied::Fallback => "fallback",
        SourceDenied::Challenge => "challenge",
    })
}

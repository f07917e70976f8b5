//! From the file's shape to a configuration without contradictions.

use std::path::PathBuf;
use std::time::Duration;

use super::schema::{self, File};
use super::values::{ListenAddress, UpstreamUrl, duration};
use super::{
    AccessMode, Config, ConfigError, Durability, Log, LogFormat, Mount, Shutdown, SourceDenied,
    Store, Timeouts, TlsFiles, Upstream,
};

/// Headers that crossmount or the HTTP layer sets itself in an answer.
const RESERVED_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "location",
    "transfer-encoding",
];

pub(super) fn validate(file: File, warnings: Vec<String>) -> Result<Config, ConfigError> {
    refuse_unsupported(&file)?;
    let mount = mount(&file.mount)?;
    Ok(Config {
        listen: address(
            "listen.address",
            file.listen.address.as_deref(),
            "0.0.0.0:5000",
        )?,
        tls: tls(file.listen.tls)?,
        admin: address(
            "admin.address",
            file.admin.address.as_deref(),
            "127.0.0.1:9500",
        )?,
        upstream: upstream(file.upstream)?,
        store: store(file.store)?,
        access: access(&file.access)?,
        mount,
        shutdown: shutdown(&file.shutdown)?,
        log: log(&file.log)?,
        warnings,
    })
}

/// Refuses what a later version will have, by its path, so that no file promises more than is done.
fn refuse_unsupported(file: &File) -> Result<(), ConfigError> {
    let discovery = &file.discovery;
    let upstream = &file.upstream;
    let access = &file.access;
    let is_other =
        |value: &Option<String>, known: &str| value.as_deref().is_some_and(|v| v == known);
    let later = [
        ("upstream.kind: pulp", is_other(&upstream.kind, "pulp")),
        (
            "upstream.kind: generic",
            is_other(&upstream.kind, "generic"),
        ),
        ("store.artifacts", file.store.artifacts.is_some()),
        (
            "store.verify: sha256",
            is_other(&file.store.verify, "sha256"),
        ),
        ("access.mode: token", is_other(&access.mode, "token")),
        ("access.mode: htpasswd", is_other(&access.mode, "htpasswd")),
        ("access.decision_ttl", access.decision_ttl.is_some()),
        ("access.token", access.token.is_some()),
        ("access.htpasswd", access.htpasswd.is_some()),
        ("mend.statuses", !file.mend.statuses.is_empty()),
        ("discovery.enabled", discovery.enabled == Some(true)),
        ("discovery.on_head", discovery.on_head == Some(true)),
        ("discovery.sources", discovery.sources.is_some()),
        (
            "discovery.shared_sources",
            !discovery.shared_sources.is_empty(),
        ),
        (
            "discovery.widen_scopes",
            discovery.widen_scopes == Some(true),
        ),
        ("token_endpoint.path", file.token_endpoint.path.is_some()),
        (
            "token_endpoint.cache.enabled",
            file.token_endpoint.cache.enabled == Some(true),
        ),
        (
            "token_endpoint.cache.ttl",
            file.token_endpoint.cache.ttl.is_some(),
        ),
        (
            "notifications.endpoints",
            !file.notifications.endpoints.is_empty(),
        ),
    ];
    match later.into_iter().find(|(_, is_set)| *is_set) {
        Some((setting, _)) => Err(ConfigError::Unsupported { setting }),
        None => Ok(()),
    }
}

fn upstream(file: schema::Upstream) -> Result<Upstream, ConfigError> {
    choice(
        "upstream.kind",
        file.kind.as_deref(),
        &[("distribution", ())],
        (),
    )?;
    if !matches!(file.version, None | Some(2 | 3)) {
        return Err(invalid("upstream.version", "must be 2 or 3"));
    }
    let text = file.url.ok_or_else(|| {
        invalid(
            "upstream.url",
            "is missing: where does the registry listen?",
        )
    })?;
    let url = UpstreamUrl::parse(&text).map_err(|reason| invalid("upstream.url", reason))?;
    if file.ca_certificate.is_some() && !url.is_tls() {
        return Err(invalid(
            "upstream.ca_certificate",
            "is of use only with an https upstream",
        ));
    }
    let timeouts = file.timeouts;
    let seconds = |setting, text, default| positive(setting, text, Duration::from_secs(default));
    Ok(Upstream {
        url,
        ca_certificate: file.ca_certificate.map(PathBuf::from),
        external_url: file.external_url.map(external_url).transpose()?,
        relative_urls: file.relative_urls.unwrap_or(false),
        prefix: prefix(file.prefix)?,
        response_headers: response_headers(file.response_headers)?,
        timeouts: Timeouts {
            connect: seconds("upstream.timeouts.connect", timeouts.connect.as_deref(), 5)?,
            read: seconds("upstream.timeouts.read", timeouts.read.as_deref(), 3600)?,
            write: seconds("upstream.timeouts.write", timeouts.write.as_deref(), 3600)?,
            idle: seconds("upstream.timeouts.idle", timeouts.idle.as_deref(), 30)?,
        },
        trusted_proxies: trusted_proxies(&file.trusted_proxies)?,
    })
}

fn external_url(text: String) -> Result<String, ConfigError> {
    let setting = "upstream.external_url";
    let uri: http::Uri = text
        .parse()
        .map_err(|_| invalid(setting, format!("{text:?} is not a URL")))?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_web || uri.authority().is_none() || uri.query().is_some() {
        return Err(invalid(
            setting,
            format!("{text:?} is not a URL such as https://registry.example"),
        ));
    }
    Ok(text)
}

fn prefix(text: Option<String>) -> Result<String, ConfigError> {
    let Some(text) = text else {
        return Ok("/".to_owned());
    };
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
    let is_framed = text.starts_with('/') && text.ends_with('/');
    if !is_framed || !text.bytes().all(is_plain) || text.contains("//") || text.contains("/.") {
        return Err(invalid(
            "upstream.prefix",
            format!(
                "{text:?} must be a plain path that starts and ends with a slash, such as /registry/"
            ),
        ));
    }
    Ok(text)
}

fn response_headers(
    headers: std::collections::BTreeMap<String, Vec<String>>,
) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
    let setting = "upstream.response_headers";
    for (name, values) in &headers {
        let reserved = RESERVED_HEADERS.contains(&name.to_lowercase().as_str());
        if reserved || http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(invalid(setting, format!("{name:?} cannot be set")));
        }
        if let Some(value) = values
            .iter()
            .find(|value| http::HeaderValue::from_str(value).is_err())
        {
            return Err(invalid(setting, format!("{value:?} is no header value")));
        }
    }
    Ok(headers.into_iter().collect())
}

fn trusted_proxies(texts: &[String]) -> Result<Vec<ipnet::IpNet>, ConfigError> {
    texts
        .iter()
        .map(|text| {
            text.parse::<ipnet::IpNet>()
                .or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
                .map_err(|_| {
                    invalid(
                        "upstream.trusted_proxies",
                        format!("{text:?} is neither an address nor a network such as 10.0.0.0/8"),
                    )
                })
        })
        .collect()
}

fn store(file: schema::Store) -> Result<Store, ConfigError> {
    let setting = "store.filesystem.rootdirectory";
    choice("store.verify", file.verify.as_deref(), &[("none", ())], ())?;
    let root = file
        .filesystem
        .and_then(|filesystem| filesystem.rootdirectory)
        .map(PathBuf::from)
        .ok_or_else(|| {
            invalid(
                setting,
                "is missing: which folder is the registry's rootdirectory?",
            )
        })?;
    if !root.is_absolute() {
        return Err(invalid(setting, "must be an absolute path"));
    }
    let durability = choice(
        "store.durability",
        file.durability.as_deref(),
        &[
            ("full", Durability::Full),
            ("file", Durability::File),
            ("none", Durability::None),
        ],
        Durability::Full,
    )?;
    Ok(Store { root, durability })
}

fn tls(file: Option<schema::Tls>) -> Result<Option<TlsFiles>, ConfigError> {
    match file {
        None => Ok(None),
        Some(schema::Tls {
            certificate: Some(certificate),
            key: Some(key),
        }) => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        })),
        Some(_) => Err(invalid("listen.tls", "needs both certificate and key")),
    }
}

fn access(file: &schema::Access) -> Result<AccessMode, ConfigError> {
    choice(
        "access.mode",
        file.mode.as_deref(),
        &[
            ("upstream", AccessMode::Upstream),
            ("none", AccessMode::None),
        ],
        AccessMode::Upstream,
    )
}

fn mount(file: &schema::Mount) -> Result<Mount, ConfigError> {
    Ok(Mount {
        source_denied: choice(
            "mount.source_denied",
            file.source_denied.as_deref(),
            &[
                ("fallback", SourceDenied::Fallback),
                ("challenge", SourceDenied::Challenge),
            ],
            SourceDenied::Fallback,
        )?,
        time_budget: positive(
            "mount.time_budget",
            file.time_budget.as_deref(),
            Duration::from_secs(2),
        )?,
        dry_run: file.dry_run.unwrap_or(false),
    })
}

fn shutdown(file: &schema::Shutdown) -> Result<Shutdown, ConfigError> {
    let drain_delay = span(
        "shutdown.drain_delay",
        file.drain_delay.as_deref(),
        Duration::from_secs(5),
    )?;
    let timeout = span(
        "shutdown.timeout",
        file.timeout.as_deref(),
        Duration::from_secs(25),
    )?;
    if timeout < drain_delay {
        return Err(invalid(
            "shutdown.timeout",
            "must not be shorter than shutdown.drain_delay, which it includes",
        ));
    }
    Ok(Shutdown {
        drain_delay,
        timeout,
    })
}

fn log(file: &schema::Log) -> Result<Log, ConfigError> {
    use tracing::Level;
    Ok(Log {
        level: choice(
            "log.level",
            file.level.as_deref(),
            &[
                ("error", Level::ERROR),
                ("warn", Level::WARN),
                ("info", Level::INFO),
                ("debug", Level::DEBUG),
                ("trace", Level::TRACE),
            ],
            Level::INFO,
        )?,
        format: choice(
            "log.format",
            file.format.as_deref(),
            &[("json", LogFormat::Json), ("text", LogFormat::Text)],
            LogFormat::Json,
        )?,
    })
}

fn address(
    setting: &'static str,
    text: Option<&str>,
    default: &str,
) -> Result<ListenAddress, ConfigError> {
    ListenAddress::parse(text.unwrap_or(default)).map_err(|reason| invalid(setting, reason))
}

/// One of a few words, or the default.
fn choice<T: Copy>(
    setting: &'static str,
    text: Option<&str>,
    words: &[(&str, T)],
    default: T,
) -> Result<T, ConfigError> {
    let Some(text) = text else {
        return Ok(default);
    };
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        invalid(
            setting,
            format!("{text:?} is not one of: {}", known.join(", ")),
        )
    })
}

fn span(
    setting: &'static str,
    text: Option<&str>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    match text {
        None => Ok(default),
        Some(text) => duration(text).map_err(|reason| invalid(setting, reason)),
    }
}

fn positive(
    setting: &'static str,
    text: Option<&str>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    match span(setting, text, default)? {
        Duration::ZERO => Err(invalid(setting, "must be longer than nothing")),
        span => Ok(span),
    }
}

fn invalid(setting: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        setting,
        reason: reason.into(),
    }
}

//! From the file's shape to a configuration without contradictions.
//!
//! `upstream` has the section about the registry behind, `kind` finds out what it is and asks
//! `distribution` or `others` for the sections that belong to that; `access` has the one about
//! who may, `discovery` the one about unknown sources, `notifications` the one about webhooks,
//! `token_endpoint` the one about remembered tokens, `single` what all sections share.

mod access;
mod discovery;
mod distribution;
mod kind;
mod notifications;
mod others;
mod single;
mod token_endpoint;
mod upstream;

use std::time::Duration;

use crate::config::schema::{self, File};
use crate::config::validate::single::{choice, invalid, positive, span};
use crate::config::values::ListenAddress;
use crate::config::{Config, ConfigError, Http2, Log, LogFormat, Shutdown, TlsFiles};

pub(crate) fn validate(file: File, mut warnings: Vec<String>) -> Result<Config, ConfigError> {
    let upstream = upstream::validate(file.upstream.clone())?;
    let kind = kind::validate(&file, &mut warnings)?;
    let listen = file.listen.address.as_deref();
    let listen = address("listen.address", listen, "0.0.0.0:5000")?;
    if upstream.url.is_at(&listen) {
        let reason = "is listen.address: crossmount would be its own registry";
        return Err(invalid("upstream.url", reason));
    }
    Ok(Config {
        listen,
        header_timeout: positive(
            "listen.header_timeout",
            file.listen.header_timeout.as_deref(),
            Duration::from_secs(60),
        )?,
        http2: http2(&file.listen)?,
        tls: tls(file.listen.tls)?,
        admin: address(
            "admin.address",
            file.admin.address.as_deref(),
            "127.0.0.1:9500",
        )?,
        upstream,
        token_endpoint: token_endpoint::validate(file.token_endpoint, &file.discovery, &kind)?,
        kind,
        shutdown: shutdown(&file.shutdown)?,
        log: log(&file.log)?,
        warnings,
    })
}

fn http2(listen: &schema::Listen) -> Result<Http2, ConfigError> {
    let is_on = |setting: Option<bool>| setting.unwrap_or_default();
    match (is_on(listen.http2), is_on(listen.h2c), &listen.tls) {
        (true, _, None) => Err(invalid("listen.http2", "needs listen.tls")),
        (_, true, Some(_)) => Err(invalid(
            "listen.h2c",
            "is for a listener without listen.tls",
        )),
        (true, _, Some(_)) => Ok(Http2::OverTls),
        (_, true, None) => Ok(Http2::PriorKnowledge),
        (false, false, _) => Ok(Http2::Off),
    }
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

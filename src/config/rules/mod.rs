//! Makes a configuration without contradictions: checks settings against each other.
//!
//! Each file has the rules of one section; `kind` refuses the settings of another kind of registry.

mod access;
mod bucket;
mod discovery;
mod kind;
mod notifications;
mod store;
mod token_endpoint;
mod upstream;

use super::tree::{Tree, invalid};
use super::{Config, ConfigError, ListenConfig, ShutdownConfig};

/// Makes the configuration, or names the first setting that cannot be used.
pub(super) fn apply(tree: &Tree, mut warnings: Vec<String>) -> Result<Config, ConfigError> {
    let upstream = upstream::read(tree)?;
    let kind = kind::read(tree, &mut warnings)?;
    let listen = listen(tree)?;
    if upstream.url.is_at(&listen.address) {
        let reason = "is the same as listen.address: set it to the address of the registry";
        return Err(invalid("upstream.url", reason));
    }
    Ok(Config {
        listen,
        admin: tree.section("admin")?,
        upstream,
        token_endpoint: token_endpoint::read(tree, &kind)?,
        kind,
        shutdown: shutdown(tree)?,
        log: tree.section("log")?,
        warnings,
    })
}

fn listen(tree: &Tree) -> Result<ListenConfig, ConfigError> {
    let has_both = tree.has("listen.tls.certificate") && tree.has("listen.tls.key");
    if tree.has("listen.tls") && !has_both {
        return Err(invalid(
            "listen.tls",
            "needs both certificate and key: set the missing one",
        ));
    }
    let listen: ListenConfig = tree.section("listen")?;
    if listen.http2 && listen.tls.is_none() {
        return Err(invalid(
            "listen.http2",
            "needs listen.tls: set it, or use listen.h2c",
        ));
    }
    if listen.h2c && listen.tls.is_some() {
        let reason = "cannot be combined with listen.tls: use listen.http2";
        return Err(invalid("listen.h2c", reason));
    }
    Ok(listen)
}

fn shutdown(tree: &Tree) -> Result<ShutdownConfig, ConfigError> {
    let shutdown: ShutdownConfig = tree.section("shutdown")?;
    if shutdown.timeout < shutdown.drain_delay {
        return Err(invalid(
            "shutdown.timeout",
            "must not be shorter than shutdown.drain_delay, which is a part of it",
        ));
    }
    Ok(shutdown)
}

//! Checks the Redis or Valkey through which replicas share what they know.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};

use crate::check::findings::Findings;
use crate::config::{RedisConfig, RedisServers, RedisUrl};
use crate::discovery::redis::{Connector, Link, error_text};

/// How long each step may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The key that is written, behind the prefix. It stays for a second.
const KEY: &str = "check";

/// Says which server it is, how fast it responds, whether it accepts changes, and what it does when
/// its memory is full.
pub(crate) async fn check_redis(
    settings: &RedisConfig,
    shares_uploads: bool,
    findings: &mut Findings,
) {
    let mut link = match connect(settings).await {
        Ok(link) => link,
        Err(reason) => return findings.error(format!("{}: {reason}", settings.url)),
    };
    let latency = match latency(&mut link, settings).await {
        Ok(latency) => latency,
        Err(error) => {
            let reason = describe(&error, settings);
            return findings.error(format!("{}: {reason}", settings.url));
        }
    };
    let (url, took) = (&settings.url, humantime::format_duration(latency));
    if latency > settings.timeout {
        findings.warn(format!(
            "{url} answered in {took}, and requests wait only for discovery.redis.timeout"
        ));
    }
    match information(settings, link.clone()).await {
        Ok(text) => {
            findings.ok(format!(
                "{url} answered in {took}; {}",
                describe_server(&text)
            ));
            if let Some(hint) = cluster_hint(&text, url) {
                findings.warn(hint);
            }
        }
        Err(_) => findings.ok(format!(
            "{url} answered in {took}; its version and memory are unknown, because it does not \
             permit INFO"
        )),
    }
    if let Err(error) = write(&mut link, settings).await {
        let reason = describe(&error, settings);
        findings.error(format!("{url} accepts no changes: {reason}"));
    }
    if shares_uploads && let Err(error) = share_upload(&mut link, settings).await {
        let reason = describe(&error, settings);
        findings.error(format!(
            "{url}: replicas cannot share uploads in flight, which discovery.wait_for_uploads \
             needs: {reason}"
        ));
    }
    if settings.fingerprint_key.is_none() {
        findings.ok(
            "without discovery.redis.fingerprint_key, replicas share layers and deletions, but \
             not which repositories a login used",
        );
    }
}

async fn connect(settings: &RedisConfig) -> Result<Link, String> {
    let mut connector = Connector::new(settings).map_err(|error| error.to_string())?;
    match tokio::time::timeout(LIMIT, connector.connect()).await {
        Ok(link) => link.map_err(|error| describe(&error, settings)),
        Err(_) => Err("there was no response: can this host reach it?".to_owned()),
    }
}

/// The time of the second of two look-ups.
async fn latency(link: &mut Link, settings: &RedisConfig) -> RedisResult<Duration> {
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let begin = Instant::now();
        let mut command = redis::cmd("EXISTS");
        command.arg(key(settings));
        within(command.query_async::<bool>(link)).await?;
        took = begin.elapsed();
    }
    Ok(Duration::from_micros(
        took.as_micros().try_into().unwrap_or(u64::MAX),
    ))
}

/// The response to INFO; of a cluster that of one of its nodes.
async fn information(settings: &RedisConfig, mut link: Link) -> RedisResult<String> {
    if let RedisServers::Cluster(nodes) = &settings.url.servers
        && let Some(node) = nodes.first()
    {
        let mut alone = settings.clone();
        alone.url.servers = RedisServers::One(node.clone());
        let connector = Connector::new(&alone);
        let mut connector =
            connector.map_err(|_| RedisError::from((ErrorKind::InvalidClientConfig, "node")))?;
        link = within(connector.connect()).await?;
    }
    within(redis::cmd("INFO").query_async(&mut link)).await
}

/// The login may have no permission for any key without the prefix.
fn key(settings: &RedisConfig) -> String {
    format!("{}{KEY}", settings.prefix)
}

/// Writes a key that expires at once: a server that is full, or a replica, can only be read.
async fn write(link: &mut Link, settings: &RedisConfig) -> RedisResult<()> {
    let mut command = redis::cmd("SET");
    command.arg(key(settings)).arg(1);
    command.arg("EX").arg(1);
    within(command.query_async(link)).await
}

/// Writes and reads a hash as a HEAD does that may wait for an upload, and removes it.
async fn share_upload(link: &mut Link, settings: &RedisConfig) -> RedisResult<()> {
    let key = format!("{}-upload", key(settings));
    // A transaction does not say which of its commands is not permitted.
    for is_transaction in [false, true] {
        let mut commands = redis::pipe();
        if is_transaction {
            commands.atomic();
        }
        commands.cmd("HSET").arg(&key).arg(1).arg(1);
        commands.cmd("EXPIRE").arg(&key).arg(1);
        commands.cmd("HGETALL").arg(&key);
        commands.cmd("HDEL").arg(&key).arg(1);
        within(commands.query_async::<redis::Value>(link)).await?;
    }
    Ok(())
}

async fn within<T>(request: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(response) => response,
        Err(_) => Err(RedisError::from((ErrorKind::Io, "there was no response"))),
    }
}

/// What failed, and what the operator can do.
fn describe(error: &RedisError, settings: &RedisConfig) -> String {
    let advice = match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "correct the user and the password in discovery.redis.url"
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            "permit its user ZREVRANGE, ZREVRANGEBYSCORE, EXISTS, ZADD, ZREM, ZREMRANGEBYRANK, \
             EXPIRE, SET and DEL on keys that begin with discovery.redis.prefix, and for \
             discovery.wait_for_uploads HGETALL, HSET, HDEL, MULTI and EXEC"
        }
        ErrorKind::Server(
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::ClusterDown,
        ) => match &settings.url.servers {
            RedisServers::Cluster(_) => "no node of the cluster serves this key: see CLUSTER INFO",
            RedisServers::One(_) | RedisServers::Sentinels { .. } => {
                "it is a node of a cluster: write redis+cluster:// in discovery.redis.url"
            }
        },
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "it is a replica: name its master, or Sentinels with redis+sentinel://"
        }
        ErrorKind::MasterNameNotFoundBySentinel => {
            "the Sentinels do not know the name at the end of discovery.redis.url"
        }
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => {
            "can this host reach it, and is TLS on both sides or on none?"
        }
        _ if error.code() == Some("OOM") => {
            "its memory is full: raise maxmemory, or set maxmemory-policy to allkeys-lru"
        }
        _ if error.code() == Some("NOAUTH") => "write its password into discovery.redis.url",
        _ => "serve would go on without it until it answers",
    };
    format!("{}: {advice}", error_text(error, settings))
}

/// Product, version and memory.
fn describe_server(information: &str) -> String {
    let fields = fields(information);
    let field = |name| fields.get(name).copied();
    let product = match field("valkey_version") {
        Some(version) => format!("it is Valkey {version}"),
        None => format!("it is Redis {}", field("redis_version").unwrap_or("?")),
    };
    let used = field("used_memory_human").unwrap_or("?");
    let policy = field("maxmemory_policy").unwrap_or("?");
    let memory = match (field("maxmemory"), policy) {
        (None | Some("0"), _) => format!("{used} of memory in use, and no maxmemory"),
        (Some(_), "noeviction") => {
            let most = field("maxmemory_human").unwrap_or("?");
            format!(
                "{used} of {most} of memory in use; by maxmemory-policy noeviction it refuses \
                 changes when it is full, and crossmount goes on"
            )
        }
        (Some(_), policy) => {
            let most = field("maxmemory_human").unwrap_or("?");
            format!("{used} of {most} of memory in use, maxmemory-policy {policy}")
        }
    };
    format!("{product}; {memory}")
}

/// What to change if a single server is named, and is a node of a cluster.
fn cluster_hint(information: &str, url: &RedisUrl) -> Option<String> {
    let is_node = fields(information).get("cluster_enabled") == Some(&"1");
    let is_one = !matches!(url.servers, RedisServers::Cluster(_));
    (is_node && is_one).then(|| {
        format!("{url} is a node of a cluster: write redis+cluster:// in discovery.redis.url")
    })
}

fn fields(information: &str) -> HashMap<&str, &str> {
    let lines = information.lines();
    lines
        .filter_map(|line| line.trim().split_once(':'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_and_memory_are_named() {
        let redis = "# Server\r\nredis_version:7.0.15\r\nused_memory_human:1.5M\r\nmaxmemory:0\r\n";
        assert_eq!(
            describe_server(redis),
            "it is Redis 7.0.15; 1.5M of memory in use, and no maxmemory"
        );
        let valkey = "redis_version:7.2.4\r\nvalkey_version:8.0.1\r\nused_memory_human:1M\r\n\
            maxmemory:2\r\nmaxmemory_human:2B\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(
            describe_server(valkey),
            "it is Valkey 8.0.1; 1M of 2B of memory in use, maxmemory-policy allkeys-lru"
        );
        let full = valkey.replace("allkeys-lru", "noeviction");
        assert!(describe_server(&full).contains("crossmount goes on"));
    }

    #[test]
    fn a_node_of_a_cluster_is_no_single_server() {
        let node = "cluster_enabled:1\r\n";
        let url = |text| RedisUrl::parse(text).unwrap();
        let hint = cluster_hint(node, &url("redis://:hunter2@a")).unwrap();
        assert!(
            hint.contains("redis+cluster://") && !hint.contains("hunter"),
            "{hint}"
        );
        assert!(cluster_hint(node, &url("redis+cluster://a")).is_none());
        assert!(cluster_hint("cluster_enabled:0\r\n", &url("redis://a")).is_none());
    }
}

//! The address of a Redis or Valkey: one server, Sentinels, or a cluster.

use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Secret;
use crate::config::leaf::{parsed, shown};
use crate::config::secret::MASK;

const PORT: u16 = 6379;
const SENTINELS_PORT: u16 = 26379;

/// Where a Redis or Valkey is. Its text never shows the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether every connection is TLS.
    pub is_tls: bool,
    /// The servers to connect to.
    pub servers: RedisServers,
    /// The login of the servers that hold the data.
    pub login: Option<Secret<RedisLogin>>,
    /// The number of the database.
    pub database: u32,
}

/// The servers of a Redis or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// One server.
    One(RedisAddress),
    /// Sentinels, which say where the server is.
    Sentinels {
        /// Their addresses.
        sentinels: Vec<RedisAddress>,
        /// The name of the server that they watch.
        master: String,
    },
    /// Some nodes of a cluster.
    Cluster(Vec<RedisAddress>),
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// A host name or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A user and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisLogin {
    /// The user of the ACL, if it is not the default one.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl RedisUrl {
    /// Parses `redis://`, `rediss://` and their forms for Sentinels and clusters; `valkey` is the
    /// same. No error quotes the text: it may hold a password.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("is not a URL such as redis://127.0.0.1:6379")?;
        let (protocol, form) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_tls = match protocol {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => {
                return Err(
                    "must begin with redis://, rediss:// (TLS), redis+sentinel://, \
                    rediss+sentinel://, redis+cluster:// or rediss+cluster://"
                        .to_owned(),
                );
            }
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains(['?', '#']) || path.contains('@') {
            return Err(
                "has a ?, # or / in its password, or something behind the database: in a \
                 password write these characters as %3F, %23 and %2F"
                    .to_owned(),
            );
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(parse_login(login)?.into()), hosts),
            None => (None, authority),
        };
        let (servers, database) = match form {
            "" => {
                let address = parse_address(hosts, PORT)?;
                (RedisServers::One(address), parse_database(path)?)
            }
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let sentinels = parse_addresses(hosts, SENTINELS_PORT)?;
                let master = parse_master(master)?;
                let servers = RedisServers::Sentinels { sentinels, master };
                (servers, parse_database(database)?)
            }
            "cluster" if matches!(path, "" | "0") => {
                (RedisServers::Cluster(parse_addresses(hosts, PORT)?), 0)
            }
            "cluster" => {
                return Err("has a database, and a cluster has none: remove it".to_owned());
            }
            _ => return Err("has neither +sentinel nor +cluster before ://".to_owned()),
        };
        Ok(Self {
            is_tls,
            servers,
            login,
            database,
        })
    }
}

fn parse_login(text: &str) -> Result<RedisLogin, String> {
    let (user, password) = text.split_once(':').ok_or(
        "has a user without a password: write redis://:password@host for the default user",
    )?;
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        let decoded = decoded.map_err(|_| "has a login that is not UTF-8".to_owned());
        decoded.map(std::borrow::Cow::into_owned)
    };
    let (user, password) = (decode(user)?, decode(password)?);
    if password.is_empty() {
        return Err("has an empty password".to_owned());
    }
    Ok(RedisLogin {
        user: (!user.is_empty()).then_some(user),
        password,
    })
}

fn parse_addresses(text: &str, default_port: u16) -> Result<Vec<RedisAddress>, String> {
    let addresses = text.split(',');
    addresses
        .map(|it| parse_address(it, default_port))
        .collect()
}

fn parse_address(text: &str, default_port: u16) -> Result<RedisAddress, String> {
    let wrong = || "has a host that is not a name or an address, such as host:6379 or [::1]:6379";
    let bracketed = text.strip_prefix('[').and_then(|it| it.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, port)) => {
            host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            (host, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_part =
        |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'-' | b'_');
    if bracketed.is_none() && (host.is_empty() || !host.bytes().all(is_part)) {
        return Err(wrong().to_owned());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        None => return Err(wrong().to_owned()),
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or("has a port that is not a number from 1 to 65535")?,
    };
    Ok(RedisAddress {
        host: host.to_owned(),
        port,
    })
}

fn parse_database(text: &str) -> Result<u32, String> {
    match text {
        "" => Ok(0),
        text => text
            .parse()
            .map_err(|_| "has a database that is not a number".to_owned()),
    }
}

fn parse_master(text: &str) -> Result<String, String> {
    let is_part =
        |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'-' | b'_');
    let is_name = !text.is_empty() && text.bytes().all(is_part);
    is_name.then(|| text.to_owned()).ok_or_else(|| {
        "does not name the server that the Sentinels watch, as in redis+sentinel://host/mymaster"
            .to_owned()
    })
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.is_tls { "rediss" } else { "redis" };
        let (form, hosts, master) = match &self.servers {
            RedisServers::One(address) => ("", std::slice::from_ref(address), ""),
            RedisServers::Sentinels { sentinels, master } => ("+sentinel", &**sentinels, &**master),
            RedisServers::Cluster(nodes) => ("+cluster", &**nodes, ""),
        };
        write!(f, "{protocol}{form}://")?;
        if self.login.is_some() {
            write!(f, "{MASK}:{MASK}@")?;
        }
        for (number, host) in hosts.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(f, "{comma}{host}")?;
        }
        if !master.is_empty() {
            write!(f, "/{master}")?;
        }
        if self.database > 0 {
            write!(f, "/{}", self.database)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        parsed(value, Self::parse)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        shown(self, out)
    }
}

#[cfg(test)]
mod tests;

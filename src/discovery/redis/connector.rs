//! Makes connections to one server, to the server that Sentinels name, or to a cluster.

use std::path::PathBuf;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    Pipeline, RedisConnectionInfo, RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::{RedisAddress, RedisConfig, RedisLogin, RedisServers, Secret};

/// How long a connection may take, with the login.
const CONNECT: Duration = Duration::from_secs(2);

/// Why no connection can be made with such a configuration.
#[derive(Debug, thiserror::Error)]
pub enum RedisSetupError {
    /// The root certificates cannot be used.
    #[error("discovery.redis.ca_certificate: {}: {reason}", .path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The library takes no such address.
    #[error("discovery.redis.url: {0}")]
    Address(String),
}

/// Makes connections.
pub(crate) enum Connector {
    One(Box<Client>),
    Sentinels(Box<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

/// A connection, which many requests use at the same time.
#[derive(Clone)]
pub(crate) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connector {
    /// Reads the file of root certificates, and connects nowhere yet. Blocks.
    pub(crate) fn new(settings: &RedisConfig) -> Result<Self, RedisSetupError> {
        let roots = settings.ca_certificate.as_ref().map(read_roots);
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: roots.transpose()?,
        };
        let connector = Self::with_certificates(settings, certificates);
        connector.map_err(|error| RedisSetupError::Address(error.to_string()))
    }

    fn with_certificates(
        settings: &RedisConfig,
        certificates: TlsCertificates,
    ) -> RedisResult<Self> {
        let url = &settings.url;
        let address = |address: &RedisAddress| address_of(address, url.is_tls);
        let login = url.login.as_ref().map(Secret::expose);
        let database = i64::from(url.database);
        match &url.servers {
            RedisServers::One(server) => {
                let info = address(server).into_connection_info()?;
                let info = info
                    .set_tcp_settings(without_delay())
                    .set_redis_settings(greeting(login, database));
                let client = if url.is_tls {
                    Client::build_with_tls(info, certificates)
                } else {
                    Client::open(info)
                };
                client.map(Box::new).map(Self::One)
            }
            RedisServers::Sentinels { sentinels, master } => {
                let sentinels = sentinels.iter().map(address);
                let kind = SentinelServerType::Master;
                let mut builder = SentinelClientBuilder::new(sentinels, master, kind)?
                    .set_client_to_redis_db(database)
                    .set_client_to_redis_tcp_settings(without_delay());
                if let Some(RedisLogin { user, password }) = login {
                    builder = builder.set_client_to_redis_password(password);
                    if let Some(user) = user {
                        builder = builder.set_client_to_redis_username(user);
                    }
                }
                if url.is_tls {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_certificates(certificates);
                }
                builder.build().map(Box::new).map(Self::Sentinels)
            }
            RedisServers::Cluster(nodes) => {
                let nodes: RedisResult<Vec<ConnectionInfo>> = nodes
                    .iter()
                    .map(|node| address(node).into_connection_info())
                    .collect();
                let mut builder = ClusterClientBuilder::new(nodes?)
                    .tcp_settings(without_delay())
                    .connection_timeout(CONNECT)
                    .response_timeout(CONNECT)
                    .retries(1);
                if let Some(RedisLogin { user, password }) = login {
                    builder = builder.password(password);
                    if let Some(user) = user {
                        builder = builder.username(user);
                    }
                }
                if url.is_tls {
                    builder = builder.tls(TlsMode::Secure).certs(certificates);
                }
                builder.build().map(Box::new).map(Self::Cluster)
            }
        }
    }

    /// Makes a new connection; Sentinels are asked anew which server to use.
    pub(crate) async fn connect(&mut self) -> RedisResult<Link> {
        // Each request has its own time limit.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        match self {
            Self::One(client) => {
                let made = client.get_multiplexed_async_connection_with_config(&config);
                made.await.map(Link::One)
            }
            Self::Sentinels(client) => {
                let made = client.get_async_connection_with_config(&config);
                made.await.map(Link::One)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
        }
    }
}

fn address_of(RedisAddress { host, port }: &RedisAddress, is_tls: bool) -> ConnectionAddr {
    let (host, port) = (host.clone(), *port);
    if is_tls {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn without_delay() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn greeting(login: Option<&RedisLogin>, database: i64) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default().set_db(database);
    if let Some(RedisLogin { user, password }) = login {
        info = info.set_password(password);
        if let Some(user) = user {
            info = info.set_username(user);
        }
    }
    info
}

/// The file's content, if every certificate in it can be a root.
fn read_roots(path: &PathBuf) -> Result<Vec<u8>, RedisSetupError> {
    let wrong = |reason: String| RedisSetupError::Roots {
        path: path.clone(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|cause| wrong(format!("cannot be read: {cause}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|cause| wrong(format!("is not PEM: {cause}")))?;
        let added = roots.add(certificate);
        added.map_err(|cause| wrong(format!("holds no valid certificate: {cause}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(pem)
}

impl Link {
    /// Whether keys are on different servers, so that one pipeline cannot reach them all.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(link) => link.req_packed_command(command),
            Self::Cluster(link) => link.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Cluster(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a connection to Redis")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisUrl;
    use std::time::Duration;

    fn settings(url: &str) -> RedisConfig {
        RedisConfig {
            url: RedisUrl::parse(url).unwrap(),
            prefix: "x:".to_owned(),
            ca_certificate: None,
            timeout: Duration::from_millis(50),
            fingerprint_key: None,
        }
    }

    #[test]
    fn every_form_of_address_has_its_connector() {
        for url in ["redis://a", "rediss://u:p@a:1/2", "valkey://:p@[::1]"] {
            assert!(
                matches!(Connector::new(&settings(url)), Ok(Connector::One(_))),
                "{url}"
            );
        }
        for url in [
            "redis+sentinel://a,b/main",
            "rediss+sentinel://u:p@a/main/2",
        ] {
            let made = Connector::new(&settings(url));
            assert!(matches!(made, Ok(Connector::Sentinels(_))), "{url}");
        }
        for url in ["redis+cluster://a,b", "rediss+cluster://u:p@a:1"] {
            let made = Connector::new(&settings(url));
            assert!(matches!(made, Ok(Connector::Cluster(_))), "{url}");
        }
    }
}

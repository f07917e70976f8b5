//! The registry behind crossmount: requests to it, and what is known about its state.
//!
//! | file | what |
//! |---|---|
//! | `peer`, `dns` | connections for the proxy's requests |
//! | `write_connections` | connections that several writes share |
//! | `tls` | the certificates of both sides |
//! | `client`, `version` | crossmount's own requests, and the version they detect |
//! | `probe` | the traceless probe for a mount's permissions and write availability |
//! | `state`, `reachability` | whether crossmount may write beside the registry |
//! | `subrequest` | a client's request whose response is examined before it is passed on |
//! | `delegated` | crossmount's own subrequests with the caller's credentials |
//! | `upload_session` | an upload session that such a subrequest opened |
//! | `first_byte`, `redirect`, `storage` | read a byte of a blob before the registry mounts it |
//!
//! Requests that are just forwarded are not here: they stream through [`crate::proxy`].

mod client;
mod delegated;
mod dns;
mod first_byte;
mod peer;
mod probe;
mod reachability;
mod redirect;
mod state;
mod storage;
mod subrequest;
mod tls;
mod upload_session;
mod version;
mod write_connections;

pub(crate) use client::USER_AGENT;
pub(crate) use client::root_cause;
pub(crate) use client::{ApiProbe, ApiProbeResult, UpstreamClient};
pub(crate) use delegated::{CallerIdentity, DelegatedClient};
pub(crate) use first_byte::FirstByte;
pub(crate) use peer::serving_threads;
pub(crate) use peer::{Peers, is_repeatable};
pub(crate) use probe::MountProbe;
pub(crate) use probe::ProbeResult;
pub(crate) use reachability::ReachabilityCheck;
pub(crate) use state::{Observation, PROBE_COUNTS_FOR, RegistryState};
pub(crate) use subrequest::{PendingResponse, SubrequestClient, end_with_the_connection};
pub(crate) use tls::{UpstreamTls, UpstreamTlsError};
pub(crate) use upload_session::UploadSession;
pub(crate) use version::version_mismatch;
pub(crate) use write_connections::SharedWrite;

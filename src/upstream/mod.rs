//! The registry behind: questions of our own to it, and what is known about its state.
//!
//! `addresses` knows where it is and `peer` how it is reached; `tls` has the certificates of both
//! sides, and `connectors` the kept connections. `ask` is the one client for questions without a
//! body, `probe` the question about a mount's rights, `registry_state` holds what allows us to write
//! beside it at all, and `reachability` feels whether it is still there when a connection broke.
//! `exchange` sends a client's request whose answer must be looked at before it is passed on,
//! `client` asks by it in a caller's name, and `session` is an upload that was begun so.
//! `first_byte` reads a byte of a blob before the registry is asked to mount it, and follows a
//! `redirect` once to a `storage` service. `version` sees of which version the registry is. All
//! other requests of clients are not here: they stream through `http`.

mod client;
mod delegated;
mod dns;
mod first_byte;
mod http_client;
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
mod worker_connectors;

pub use client::{ApiProbe, ApiProbeResult, UpstreamClient};
pub use delegated::{CallerIdentity, DelegatedClient};
pub use first_byte::FirstByte;
pub use http_client::USER_AGENT;
pub(crate) use http_client::root_cause;
pub use peer::{Peers, is_repeatable};
pub(crate) use probe::MountProbe;
pub use probe::ProbeResult;
pub use reachability::ReachabilityCheck;
pub use state::{Observation, PROBE_COUNTS_FOR, RegistryState};
pub use subrequest::{PendingResponse, SubrequestClient, end_with_the_connection};
pub use tls::{UpstreamTls, UpstreamTlsError};
pub use upload_session::UploadSession;
pub use version::version_mismatch;
pub use worker_connectors::serving_threads;

use crate::upstream::first_byte::FIRST_BYTE;

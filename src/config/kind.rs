//! What differs between registries: where crossmount writes links itself, and where it
//! mends the answers of a registry that has a mount of its own.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::config::Endpoint;
use crate::oci::{Patterns, RepositoryName};

/// The kind of the registry behind.
#[derive(Debug, Clone)]
pub enum Kind {
    /// CNCF distribution: links are written in its store.
    Distribution(Distribution),
    /// Pulp: its own mount is asked in the form that it takes, and its misses are mended.
    Pulp(Pulp),
    /// Any other registry: answers to its own mount that break clients are mended.
    Generic(Generic),
}

/// What is needed to write links beside distribution.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// Its major version.
    pub version: DistributionVersion,
    /// Who is told of the mounts that the registry does not see.
    pub endpoints: Vec<Endpoint>,
    /// Where its layer links are.
    pub store: Store,
    /// Who decides about access, and for how long.
    pub access: Access,
    /// How mounts are answered.
    pub mount: Mount,
    /// From where else layers are mounted, if from anywhere.
    pub discovery: Option<Discovery>,
}

/// From where else layers are mounted for clients that do not know it.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Also for a HEAD of a layer that is not there.
    pub on_head: bool,
    /// Whether such a HEAD may link into a repository that does not exist yet.
    pub new_repositories: bool,
    /// From which repositories.
    pub sources: Sources,
    /// Repositories that every authenticated caller may pull.
    pub shared: Patterns,
}

impl Discovery {
    /// Whether the operator lets layers of `source` be mounted into `target`, for callers who may
    /// pull it.
    #[must_use]
    pub fn allows(&self, target: &RepositoryName, source: &RepositoryName) -> bool {
        match self.sources {
            Sources::Shared => self.shared.matches(source),
            Sources::Namespace => self.shared.matches(source) || source.is_beside(target),
            Sources::Any => true,
        }
    }
}

/// From which repositories layers are mounted for clients that do not know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Those that are declared shared.
    Shared,
    /// And those of the target's own namespace.
    Namespace,
    /// All that the caller may pull.
    Any,
}

/// In front of Pulp.
#[derive(Debug, Clone)]
pub struct Pulp {
    /// Where the bytes of layers are that it does not mount yet, if they are to be relayed.
    pub artifacts: Option<Artifacts>,
    /// From where else layers are mounted, if from anywhere.
    pub discovery: Option<Discovery>,
    /// How long that may take.
    pub time_budget: Duration,
}

/// Pulp's artifacts, which are read and never written.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// Pulp's own `MEDIA_ROOT`.
    pub root: PathBuf,
    /// Bytes of the largest blob that is relayed.
    pub max_size: u64,
    /// How many are relayed at once.
    pub concurrency: usize,
    /// How long one may take.
    pub deadline: Duration,
    /// Repositories below which a question about a blob makes Pulp fetch it from elsewhere.
    pub pull_through: Vec<RepositoryName>,
}

/// In front of any other registry.
#[derive(Debug, Clone)]
pub struct Generic {
    /// Answers to a mount that are replaced by a plain upload.
    pub statuses: Vec<StatusCode>,
    /// What a caller gets who may not pull the source.
    pub source_denied: SourceDenied,
    /// From where else layers are mounted, if from anywhere.
    pub discovery: Option<Discovery>,
    /// How long that may take.
    pub time_budget: Duration,
}

/// The registry's filesystem store.
#[derive(Debug, Clone)]
pub struct Store {
    /// distribution's own `rootdirectory`.
    pub root: PathBuf,
    /// What is synced before a 201.
    pub durability: Durability,
    /// Whether only blobs whose bytes were hashed are vouched for.
    pub verify: Option<Verify>,
}

/// How blobs are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verify {
    /// Bytes a second at most.
    pub rate: u64,
}

/// What is synced to disk before a mount is answered with 201.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The link and every folder made for it.
    Full,
    /// The link only.
    File,
    /// Nothing.
    None,
}

/// Who decides whether a caller may mount, and for how long.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who decides.
    pub mode: AccessMode,
    /// How long a decision in a caller's favour is remembered, for exactly these credentials.
    pub decision_ttl: Duration,
}

/// Who decides whether a caller may mount.
#[derive(Debug, Clone)]
pub enum AccessMode {
    /// The registry, asked with the caller's own credentials.
    Upstream,
    /// crossmount, by the bearer token.
    Token(TokenRules),
    /// crossmount, by the password file at this path.
    Htpasswd(PathBuf),
    /// Nobody: the registry has no access control.
    None,
}

/// The registry's own `auth.token`.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// Whose tokens are believed.
    pub issuer: String,
    /// Whom they must be meant for.
    pub service: String,
    /// PEM file with the certificates that are believed.
    pub root_certificates: Option<PathBuf>,
    /// JSON file with the keys that are believed.
    pub jwks: Option<PathBuf>,
    /// Names of the algorithms that are taken; empty: all that distribution takes.
    pub algorithms: Vec<String>,
    /// Whose rules count.
    pub version: DistributionVersion,
}

/// distribution's major version, where its rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistributionVersion {
    /// 2.8
    Two,
    /// 3.x
    Three,
}

impl DistributionVersion {
    /// As `upstream.version` has it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// How mounts are answered.
#[derive(Debug, Clone, Copy)]
pub struct Mount {
    /// What a caller gets who may not pull the source.
    pub source_denied: SourceDenied,
    /// How long a mount may take before it is left to the upstream.
    pub time_budget: Duration,
    /// Decide and count, but link nothing.
    pub dry_run: bool,
}

/// What a caller gets who may not pull the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceDenied {
    /// The 202 of a plain upload.
    Fallback,
    /// The registry's own challenge.
    Challenge,
}

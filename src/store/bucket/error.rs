//! Why a call to the object store failed.

use std::error::Error;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

use crate::config::on_one_line;
use crate::store::bucket::connector::Refusal;
use crate::telemetry::labels::BucketResult;

/// Why a call to the object store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// The credentials are wrong, or may not list.
    #[error("the object store denied the list ({status} {code})")]
    Denied { status: u16, code: String },
    /// The bucket does not exist.
    #[error("the object store has no such bucket ({0})")]
    NoBucket(String),
    /// The server wants fewer requests.
    #[error("the object store wants fewer requests ({code})")]
    Throttled {
        code: String,
        /// When it wants the next one.
        retry_after: Option<Duration>,
    },
    /// Any other response.
    #[error("the object store answered {status} {code}")]
    Status { status: u16, code: String },
    /// No response in time.
    #[error("the object store did not answer in time")]
    Timeout,
    /// A key that the library cannot represent.
    #[error("the bucket has the key {0:?}, which no registry writes")]
    Key(String),
    /// No connection, no credentials, or a response that is no listing.
    #[error("the object store cannot be listed: {0}")]
    Other(String),
}

impl BucketError {
    /// What the library's error says. `base` is how many bytes of a key are before the registry's.
    pub(super) fn of(error: &object_store::Error, base: usize) -> Self {
        if let object_store::Error::InvalidPath { source } = error
            && let Some(key) = odd_key(source).and_then(|key| key.get(base..))
            && !key.is_empty()
        {
            return Self::Key(key.to_owned());
        }
        let mut innermost: &(dyn Error + 'static) = error;
        loop {
            if let Some(refusal) = innermost.downcast_ref::<Refusal>() {
                return Self::refused(refusal);
            }
            let http = innermost.downcast_ref::<HttpError>();
            if http.is_some_and(|it| it.kind() == HttpErrorKind::Timeout) {
                return Self::Timeout;
            }
            match innermost.source() {
                Some(source) => innermost = source,
                None => return Self::Other(on_one_line(&innermost.to_string())),
            }
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        let Refusal {
            status,
            code,
            retry_after,
        } = refusal.clone();
        match (status, &*code) {
            (_, "NoSuchBucket" | "ContainerNotFound") => Self::NoBucket(code),
            (429, _) | (_, "SlowDown" | "ServerBusy" | "RequestLimitExceeded") => {
                Self::Throttled { code, retry_after }
            }
            (401 | 403, _) => Self::Denied { status, code },
            _ => Self::Status { status, code },
        }
    }

    /// The metric's label.
    pub(super) fn result(&self) -> BucketResult {
        match self {
            Self::Denied { .. } => BucketResult::Denied,
            Self::Throttled { .. } => BucketResult::Throttled,
            Self::Timeout => BucketResult::Timeout,
            Self::NoBucket(_) | Self::Status { .. } | Self::Key(_) | Self::Other(_) => {
                BucketResult::Error
            }
        }
    }

    /// How long the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn odd_key(error: &object_store::path::Error) -> Option<&str> {
    match error {
        object_store::path::Error::EmptySegment { path }
        | object_store::path::Error::BadSegment { path, .. } => Some(path),
        _ => None,
    }
}

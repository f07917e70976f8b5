//! Reads one byte of a blob before the registry is requested to mount it.
//!
//! A registry may respond to a HEAD, and to a mount, from a stale cache of a blob whose data is
//! gone (`registry/storage/cache/cachedblobdescriptorstore.go`). Only bytes show that there are
//! bytes. A redirect shows nothing either: it is followed once, to the storage of the blob.

use http::{HeaderValue, Method, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;

use crate::oci::{Digest, RepositoryName};
use crate::upstream::delegated::{CallerIdentity, DelegatedClient};
use crate::upstream::redirect::{RedirectTarget, is_redirect, target_of};
use crate::upstream::subrequest::{
    Connected, RESENT_AT_MOST, SubrequestClient, is_broken, of_upstream, receive_head,
    without_hop_by_hop,
};

/// The range that is requested, whatever the blob's length.
pub(crate) const FIRST_BYTE: &str = "bytes=0-0";

/// The result of reading a blob's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstByte {
    Read,
    /// Neither the registry nor the storage service behind it sent one.
    Absent,
    /// The registry responded with this status instead.
    Refused(StatusCode),
}

/// A response of whose body at most the first chunk was read.
struct RangeStart {
    head: ResponseHeader,
    has_byte: bool,
    /// Whether the body ended with that chunk.
    is_whole: bool,
}

impl DelegatedClient {
    /// Reads the first byte of a blob with the caller's credentials.
    pub(crate) async fn first_byte(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        name: &CallerIdentity,
    ) -> Result<FirstByte> {
        let path = format!("v2/{repository}/blobs/{digest}");
        let mut head = self.head(&Method::GET, &path, name)?;
        head.insert_header(header::RANGE, HeaderValue::from_static(FIRST_BYTE))?;
        let requested = head.raw_path().to_vec();
        let timer = self.metrics.upstream_timer();
        let start = self.subrequests().start_of(head).await?;
        drop(timer);
        match start.head.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT if start.has_byte => Ok(FirstByte::Read),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(FirstByte::Absent),
            status if is_redirect(status) => self.behind(&start.head, &requested, name).await,
            status => Ok(FirstByte::Refused(status)),
        }
    }

    /// Whether the registry shows a repository to the caller. It may hide one without a tag.
    pub(crate) async fn has_repository(
        &self,
        repository: &RepositoryName,
        name: &CallerIdentity,
    ) -> Result<bool> {
        let path = format!("v2/{repository}/tags/list?n=1");
        let head = self.head(&Method::GET, &path, name)?;
        let _timer = self.metrics.upstream_timer();
        let start = self.subrequests().start_of(head).await?;
        Ok(start.head.status == StatusCode::OK)
    }

    /// Reads the first byte from the target of a redirect.
    async fn behind(
        &self,
        head: &ResponseHeader,
        requested: &[u8],
        name: &CallerIdentity,
    ) -> Result<FirstByte> {
        let is_read = match target_of(head, requested, name) {
            Some(RedirectTarget::Registry(target)) => {
                let head = RequestHeader::build(Method::GET, target.as_bytes(), Some(3))?;
                let mut head = name.anonymous(head)?;
                head.insert_header(header::RANGE, HeaderValue::from_static(FIRST_BYTE))?;
                let start = self.subrequests().start_of(head).await?;
                let status = start.head.status;
                start.has_byte && matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
            }
            Some(RedirectTarget::Storage(url)) => self.storage.can_read_byte(url).await,
            None => false,
        };
        Ok(if is_read {
            FirstByte::Read
        } else {
            FirstByte::Absent
        })
    }
}

impl SubrequestClient {
    /// Sends a GET, on an idle connection if there is one, and reads at most the first chunk of
    /// the body.
    async fn start_of(&self, mut head: RequestHeader) -> Result<RangeStart> {
        without_hop_by_hop(&mut head);
        let mut resent = 0;
        loop {
            let mut connected = self.connect(&head.method).await.map_err(of_upstream)?;
            match read_start(&mut connected.session, &head).await {
                Ok(start) => {
                    if start.is_whole {
                        self.keep(connected).await;
                    }
                    return Ok(start);
                }
                Err(error) if may_resend(&connected, &error) && resent < RESENT_AT_MOST => {
                    resent += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn may_resend(connected: &Connected, error: &pingora::Error) -> bool {
    connected.is_reused && is_broken(error)
}

async fn read_start(session: &mut HttpSession, head: &RequestHeader) -> Result<RangeStart> {
    let written = session.write_request_header(Box::new(head.clone())).await;
    written.map_err(of_upstream)?;
    session.finish_request_body().await.map_err(of_upstream)?;
    let head = receive_head(session).await?;
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let is_blob = matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    let (mut read, mut is_whole) = (0, false);
    // After a complete body the last round ends at once.
    while (is_blob && read == 0) || length == Some(read) {
        match session.read_response_body().await {
            Ok(Some(piece)) => read += piece.len(),
            Ok(None) => {
                is_whole = true;
                break;
            }
            // distribution breaks off like this if it cannot read what its cache describes. A
            // reused connection that had been closed would not have sent a head.
            Err(error) => {
                let error = error.etype().as_str();
                tracing::debug!(error, "blob response ended early");
                break;
            }
        }
    }
    Ok(RangeStart {
        head,
        has_byte: read > 0,
        is_whole,
    })
}

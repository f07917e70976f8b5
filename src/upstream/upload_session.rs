//! An upload session that the registry opened, by the name the registry gave it.

use std::time::Duration;

use http::{Method, StatusCode, header};

use crate::oci::RepositoryName;
use crate::upstream::delegated::{CallerIdentity, DelegatedClient};
use crate::upstream::subrequest::PendingResponse;

/// How long the deletion of a session may take.
const GIVING_UP: Duration = Duration::from_secs(5);

/// One upload session.
#[derive(Debug)]
pub(crate) struct UploadSession {
    /// Its path and query, relative to the prefix.
    target: String,
}

impl UploadSession {
    /// The session of `repository` in a response's Location; `None` if there is none, or it is
    /// elsewhere.
    pub(crate) fn from_response(
        answer: &PendingResponse,
        repository: &RepositoryName,
    ) -> Option<Self> {
        let location = answer.headers().get(header::LOCATION)?;
        Self::parse(location.to_str().ok()?, repository)
    }

    fn parse(location: &str, repository: &RepositoryName) -> Option<Self> {
        let directory = format!("v2/{repository}/blobs/uploads/");
        let (path, query) = location.split_once('?').unwrap_or((location, ""));
        let (before, identifier) = path.rsplit_once(&directory)?;
        let is_its = before.ends_with('/') && is_identifier(identifier);
        let is_clean = query.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        (is_its && is_clean).then(|| Self {
            target: format!("{directory}{identifier}{}", &location[path.len()..]),
        })
    }

    /// The path and query, relative to the prefix.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The same with one more query parameter.
    pub(crate) fn target_with(&self, pair: &str) -> String {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        format!("{}{separator}{pair}", self.target)
    }

    /// Deletes the session.
    pub(crate) async fn cancel(&self, client: &DelegatedClient, name: &CallerIdentity) {
        let deleted = client.request(Method::DELETE, &self.target, name);
        match tokio::time::timeout(GIVING_UP, deleted).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::NO_CONTENT => {}
            Ok(Ok(answer)) => {
                let status = answer.status().as_u16();
                tracing::warn!(status, "abandoned upload session not deleted");
            }
            Ok(Err(error)) => {
                // Only the kind of error: the whole message may quote a head.
                let error = error.etype().as_str();
                tracing::warn!(error, "abandoned upload session not deleted");
            }
            Err(error) => tracing::warn!(%error, "abandoned upload session not deleted"),
        }
    }
}

/// Whether a text is a session's identifier, and no path that a client could hide behind one.
fn is_identifier(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.=~".contains(&b);
    text.bytes().all(is_plain) && text.bytes().any(|b| b != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_one_of_the_repository_alone() {
        let repository = RepositoryName::parse("team/app").unwrap();
        let parse = |location: &str| {
            let session = UploadSession::parse(location, &repository);
            session.map(|session| session.target)
        };
        for (location, expected) in [
            ("/v2/team/app/blobs/uploads/0190-ab", Some("0190-ab")),
            (
                "https://h/pfx/v2/team/app/blobs/uploads/a_b=?_state=x%3D&y",
                Some("a_b=?_state=x%3D&y"),
            ),
            ("/v2/team/other/blobs/uploads/0190", None),
            ("/v2/team/app/blobs/uploads/", None),
            ("/v2/team/app/blobs/uploads/..", None),
            ("/v2/team/app/blobs/uploads/a/../../b", None),
            ("/v2/team/app/blobs/uploads/a%2Fb", None),
            ("/v2/team/app/blobs/uploads/a#b", None),
            ("/v2/team/app/blobs/uploads/a?b#c", None),
            ("/xv2/team/app/blobs/uploads/a", None),
            ("/elsewhere?x=/v2/team/app/blobs/uploads/a", None),
        ] {
            let expected = expected.map(|rest| format!("v2/team/app/blobs/uploads/{rest}"));
            assert_eq!(parse(location), expected, "{location}");
        }
        let session = UploadSession {
            target: "u?a=b".to_owned(),
        };
        assert_eq!(session.target_with("c=d"), "u?a=b&c=d");
    }
}

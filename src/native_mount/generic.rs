//! The action on a response of a registry that is neither distribution nor Pulp.

use http::StatusCode;

use crate::auth::{Denial, Denials};
use crate::config::{self, SourceDenied};
use crate::native_mount::{Action, MountResponse};
use crate::oci::finds_scope_insufficient;
use crate::telemetry::outcome::Reason;
use crate::util::NoRandomness;

/// The configured rules.
#[derive(Debug)]
pub(crate) struct GenericRules {
    statuses: Vec<StatusCode>,
    source_denied: SourceDenied,
    refusals: Denials,
    pub(super) suggests_after_upload: bool,
}

impl GenericRules {
    /// `suggests_after_upload`: see [`NativeMountRules`](super::NativeMountRules).
    pub(crate) fn new(
        settings: &config::GenericConfig,
        suggests_after_upload: bool,
    ) -> Result<Self, NoRandomness> {
        Ok(Self {
            statuses: settings.statuses.clone(),
            source_denied: settings.source_denied,
            refusals: Denials::new()?,
            suggests_after_upload,
        })
    }

    pub(crate) fn action(&self, response: &MountResponse<'_>) -> Action {
        if response.status == StatusCode::UNAUTHORIZED {
            return self.refused(response);
        }
        if self.statuses.contains(&response.status) {
            return upload(Reason::Mended);
        }
        Action::PassOn
    }

    /// A client that only lacks a scope must get the challenge. For one that would get it again,
    /// `mount.source_denied` applies.
    fn refused(&self, response: &MountResponse<'_>) -> Action {
        let Some(request) = response.request else {
            return Action::PassOn;
        };
        let (target, source) = (&request.target.repository, &request.source);
        // A registry reports a missing scope only for a token that it has verified. Of an
        // unverified one the user name may be false, so no challenge is recorded under it, or
        // looked up.
        let is_verified = finds_scope_insufficient(response.headers);
        let credentials = response.credentials;
        match self.refusals.word(target, source, credentials, is_verified) {
            Denial::SourceDenied if self.source_denied == SourceDenied::Fallback => {
                upload(Reason::Denied)
            }
            Denial::SourceDenied => Action::PassOn,
            Denial::AsItCame(challenge) => {
                if let Some(challenge) = challenge.filter(|_| is_verified) {
                    self.refusals.was_challenged(challenge);
                }
                Action::PassOn
            }
        }
    }
}

fn upload(reason: Reason) -> Action {
    Action::Upload {
        reason,
        is_blob_missing: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Credentials;
    use crate::mount::MountRequest;
    use crate::oci::{BlobRef, Digest, RepositoryName};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use http::{HeaderMap, HeaderValue, header};

    const NARROW: &str =
        r#"Bearer realm="r",scope="repository:src:pull",error="insufficient_scope""#;
    const BARE: &str = r#"Bearer realm="r",scope="repository:src:pull""#;
    const INVALID: &str = r#"Bearer realm="r",error="invalid_token""#;

    fn rules(source_denied: SourceDenied) -> GenericRules {
        let statuses = vec![StatusCode::NOT_FOUND, StatusCode::FORBIDDEN];
        let settings = config::GenericConfig {
            statuses,
            source_denied,
            discovery: None,
            time_budget: std::time::Duration::ZERO,
        };
        GenericRules::new(&settings, false).unwrap()
    }

    fn next(
        rules: &GenericRules,
        status: u16,
        challenge: &str,
        authorization: Option<&str>,
    ) -> Action {
        let request = MountRequest {
            target: BlobRef {
                repository: RepositoryName::parse("dst").unwrap(),
                digest: Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
            },
            source: RepositoryName::parse("src").unwrap(),
        };
        let value = authorization.map(|text| HeaderValue::from_str(text).unwrap());
        let credentials = Credentials::new(value.as_ref());
        let mut headers = HeaderMap::new();
        let challenge = HeaderValue::from_str(challenge).unwrap();
        headers.insert(header::WWW_AUTHENTICATE, challenge);
        rules.action(&MountResponse {
            request: Some(&request),
            credentials: &credentials,
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            body: Some(b""),
        })
    }

    fn token(access: &str) -> String {
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"alice","access":{access}}}"#));
        format!("Bearer e30.{claims}.c2ln")
    }

    #[test]
    fn the_listed_statuses_are_replaced_and_no_other() {
        let rules = rules(SourceDenied::Fallback);
        for (status, expected) in [
            (404, upload(Reason::Mended)),
            (403, upload(Reason::Mended)),
            (400, Action::PassOn),
            (201, Action::PassOn),
            (202, Action::PassOn),
            (429, Action::PassOn),
            (500, Action::PassOn),
        ] {
            assert_eq!(next(&rules, status, NARROW, None), expected, "{status}");
        }
    }

    #[test]
    fn a_client_that_only_lacks_a_scope_gets_the_challenge_once_in_a_minute() {
        let rules = rules(SourceDenied::Fallback);
        let other = r#"[{"type":"repository","name":"dst","actions":["push"]}]"#;
        for unverified in [INVALID, BARE, INVALID, BARE] {
            let answer = next(&rules, 401, unverified, Some(&token(other)));
            assert_eq!(answer, Action::PassOn);
        }
        assert_eq!(
            next(&rules, 401, NARROW, Some(&token(other))),
            Action::PassOn
        );
        assert_eq!(
            next(&rules, 401, NARROW, Some(&token("[]"))),
            upload(Reason::Denied)
        );
        // A token that a client made up in her name does not show that she got a challenge.
        let made_up = next(&rules, 401, BARE, Some(&token("[]")));
        assert_eq!(made_up, Action::PassOn);
    }

    #[test]
    fn a_client_whose_token_lacks_the_requested_source_gets_an_upload() {
        let refused = r#"[{"type":"repository","name":"src","actions":[]}]"#;
        let granted = r#"[{"type":"repository","name":"src","actions":["pull"]}]"#;
        let (fallback, challenge) = (
            rules(SourceDenied::Fallback),
            rules(SourceDenied::Challenge),
        );
        for (credentials, expected) in [
            (Some(token(refused)), upload(Reason::Denied)),
            (Some("Basic YTpi".to_owned()), upload(Reason::Denied)),
            (Some(token(granted)), Action::PassOn),
            (None, Action::PassOn),
        ] {
            let credentials = credentials.as_deref();
            assert_eq!(next(&fallback, 401, NARROW, credentials), expected);
            assert_eq!(next(&challenge, 401, NARROW, credentials), Action::PassOn);
        }
    }
}

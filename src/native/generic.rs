//! What any other registry may mean by its answer to a mount.

use http::StatusCode;

use super::{Answered, Next};
use crate::access::{Refusal, Refusals};
use crate::config::{self, SourceDenied};
use crate::memory::NoRandomness;
use crate::oci::{asks_for_token, finds_token_invalid};
use crate::outcome::Reason;

/// The rules of the configuration.
#[derive(Debug)]
pub struct Generic {
    statuses: Vec<StatusCode>,
    source_denied: SourceDenied,
    refusals: Refusals,
}

impl Generic {
    /// By `mend.statuses` and `mount.source_denied`.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn new(settings: &config::Generic) -> Result<Self, NoRandomness> {
        Ok(Self {
            statuses: settings.statuses.clone(),
            source_denied: settings.source_denied,
            refusals: Refusals::new()?,
        })
    }

    pub(super) fn next(&self, answered: &Answered<'_>) -> Next {
        if answered.status == StatusCode::UNAUTHORIZED {
            return self.refused(answered);
        }
        if self.statuses.contains(&answered.status) {
            return upload(Reason::Mended);
        }
        Next::PassOn
    }

    /// A client that only lacks a scope must see the challenge; one for whom asking again is no
    /// help gets what `mount.source_denied` says.
    fn refused(&self, answered: &Answered<'_>) -> Next {
        let Some(request) = answered.request else {
            return Next::PassOn;
        };
        let (target, source) = (&request.target, &request.source);
        match self.refusals.word(target, source, answered.credentials) {
            Refusal::SourceDenied if self.source_denied == SourceDenied::Fallback => {
                upload(Reason::Denied)
            }
            Refusal::SourceDenied => Next::PassOn,
            Refusal::AsItCame(challenge) => {
                let headers = answered.headers;
                // Many registries do not say whether a token was only too narrow.
                let is_challenge = asks_for_token(headers) && !finds_token_invalid(headers);
                if let Some(challenge) = challenge.filter(|_| is_challenge) {
                    self.refusals.was_challenged(challenge);
                }
                Next::PassOn
            }
        }
    }
}

fn upload(reason: Reason) -> Next {
    Next::Upload {
        reason,
        is_blob_missing: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Credentials;
    use crate::mount::MountRequest;
    use crate::oci::{Digest, RepositoryName};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use http::{HeaderMap, HeaderValue, header};

    const NARROW: &str = r#"Bearer realm="r",scope="repository:dst:push repository:src:pull""#;
    const INVALID: &str = r#"Bearer realm="r",error="invalid_token""#;

    fn rules(source_denied: SourceDenied) -> Generic {
        let statuses = vec![StatusCode::NOT_FOUND, StatusCode::FORBIDDEN];
        let settings = config::Generic {
            statuses,
            source_denied,
        };
        Generic::new(&settings).unwrap()
    }

    fn next(rules: &Generic, status: u16, challenge: &str, authorization: Option<&str>) -> Next {
        let request = MountRequest {
            target: RepositoryName::parse("dst").unwrap(),
            source: RepositoryName::parse("src").unwrap(),
            digest: Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
        };
        let value = authorization.map(|text| HeaderValue::from_str(text).unwrap());
        let credentials = Credentials::new(value.as_ref());
        let mut headers = HeaderMap::new();
        let challenge = HeaderValue::from_str(challenge).unwrap();
        headers.insert(header::WWW_AUTHENTICATE, challenge);
        rules.next(&Answered {
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
            (400, Next::PassOn),
            (201, Next::PassOn),
            (202, Next::PassOn),
            (429, Next::PassOn),
            (500, Next::PassOn),
        ] {
            assert_eq!(next(&rules, status, NARROW, None), expected, "{status}");
        }
    }

    #[test]
    fn who_only_lacks_a_scope_is_told_so_once_in_a_minute() {
        let rules = rules(SourceDenied::Fallback);
        let other = r#"[{"type":"repository","name":"dst","actions":["push"]}]"#;
        assert_eq!(
            next(&rules, 401, INVALID, Some(&token(other))),
            Next::PassOn
        );
        assert_eq!(next(&rules, 401, NARROW, Some(&token(other))), Next::PassOn);
        assert_eq!(
            next(&rules, 401, NARROW, Some(&token("[]"))),
            upload(Reason::Denied)
        );
    }

    #[test]
    fn who_asked_for_the_source_and_did_not_get_it_gets_an_upload() {
        let refused = r#"[{"type":"repository","name":"src","actions":[]}]"#;
        let granted = r#"[{"type":"repository","name":"src","actions":["pull"]}]"#;
        let (fallback, challenge) = (
            rules(SourceDenied::Fallback),
            rules(SourceDenied::Challenge),
        );
        for (credentials, expected) in [
            (Some(token(refused)), upload(Reason::Denied)),
            (Some("Basic YTpi".to_owned()), upload(Reason::Denied)),
            (Some(token(granted)), Next::PassOn),
            (None, Next::PassOn),
        ] {
            let credentials = credentials.as_deref();
            assert_eq!(next(&fallback, 401, NARROW, credentials), expected);
            assert_eq!(next(&challenge, 401, NARROW, credentials), Next::PassOn);
        }
    }
}

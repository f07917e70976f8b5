//! Reads the challenge of a 401 (RFC 6750, section 3).

use http::{HeaderMap, header};

/// Whether the token itself was refused, rather than its scope.
pub(crate) fn refuses_token(headers: &HeaderMap) -> bool {
    has_error(headers, "Bearer ") && !finds_scope_insufficient(headers)
}

/// Whether the token is verified and lacks a scope.
pub(crate) fn finds_scope_insufficient(headers: &HeaderMap) -> bool {
    has_error(headers, "error=\"insufficient_scope\"")
}

fn has_error(headers: &HeaderMap, what: &str) -> bool {
    let mut challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
    challenges.any(|value| value.to_str().is_ok_and(|text| text.contains(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_refused_token_and_one_that_lacks_a_scope_are_distinguished() {
        let narrow = r#"Bearer realm="r",scope="repository:a:pull",error="insufficient_scope""#;
        for (challenge, refuses, narrows) in [
            (narrow, false, true),
            (r#"Bearer realm="r",error="invalid_token""#, true, false),
            (r#"Bearer realm="r""#, true, false),
            (r#"Basic realm="r""#, false, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
            assert_eq!(refuses_token(&headers), refuses, "{challenge}");
            assert_eq!(finds_scope_insufficient(&headers), narrows, "{challenge}");
        }
        assert!(!refuses_token(&HeaderMap::new()));
    }
}

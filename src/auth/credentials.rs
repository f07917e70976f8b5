//! The credentials of a request.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::auth::claims::UnverifiedClaims;

/// The value of a request's Authorization header, which is never logged.
#[derive(Clone, Default)]
pub(crate) struct Credentials(Option<HeaderValue>);

/// The scheme of credentials, as far as crossmount knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialScheme<'a> {
    /// No credentials.
    None,
    /// A bearer token, with everything behind the scheme's one space.
    Bearer(&'a str),
    /// A user's name and password, still encoded.
    Basic(&'a str),
    /// Any other scheme.
    Other,
}

/// A user's name and password.
pub(crate) struct Login {
    pub user: Vec<u8>,
    pub password: Zeroizing<Vec<u8>>,
}

/// Decodes as Go does: padded, and without regard to trailing bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

impl Credentials {
    pub(crate) fn new(authorization: Option<&HeaderValue>) -> Self {
        Self(
            authorization
                .filter(|value| !value.is_empty())
                .map(|value| {
                    let mut value = value.clone();
                    value.set_sensitive(true);
                    value
                }),
        )
    }

    /// Takes the one header; `None` if there are several: another reader may take another one.
    pub(crate) fn from_single_header(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let first = all.next();
        all.next().is_none().then(|| Self::new(first))
    }

    /// The header's value as it came.
    pub(crate) fn header(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    /// Whether there are no credentials, or a login without a name.
    pub(crate) fn is_anonymous(&self) -> bool {
        match self.scheme() {
            CredentialScheme::None => true,
            CredentialScheme::Basic(login) => {
                Login::read(login).is_none_or(|login| login.user.is_empty())
            }
            CredentialScheme::Bearer(_) | CredentialScheme::Other => false,
        }
    }

    /// Whether they are a user's name and password.
    pub(crate) fn is_login(&self) -> bool {
        matches!(self.scheme(), CredentialScheme::Basic(_)) && !self.is_anonymous()
    }

    pub(crate) fn is_token(&self) -> bool {
        matches!(self.scheme(), CredentialScheme::Bearer(_))
    }

    pub(crate) fn scheme(&self) -> CredentialScheme<'_> {
        let Some(value) = &self.0 else {
            return CredentialScheme::None;
        };
        let text = value.to_str().unwrap_or_default();
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                CredentialScheme::Bearer(token)
            }
            Some((scheme, login)) if scheme.eq_ignore_ascii_case("basic") => {
                CredentialScheme::Basic(login)
            }
            _ => CredentialScheme::Other,
        }
    }

    /// The user name in the credentials, unverified.
    pub(crate) fn claimed_user(&self) -> Option<String> {
        match self.scheme() {
            CredentialScheme::Bearer(token) => UnverifiedClaims::read(token).subject,
            CredentialScheme::Basic(login) => {
                let login = Login::read(login)?;
                Some(String::from_utf8_lossy(&login.user).into_owned())
            }
            CredentialScheme::None | CredentialScheme::Other => None,
        }
    }
}

impl Login {
    /// Parses as Go's `net/http` does (`BasicAuth`); `None` for what that rejects.
    pub(crate) fn read(encoded: &str) -> Option<Self> {
        let mut user = BASE64.decode(encoded).ok()?;
        let colon = user.iter().position(|byte| *byte == b':')?;
        let password = Zeroizing::new(user.split_off(colon + 1));
        user.pop();
        Some(Self { user, password })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme() {
            CredentialScheme::None => "no credentials",
            CredentialScheme::Bearer(_) => "a bearer token",
            CredentialScheme::Basic(_) | CredentialScheme::Other => "credentials",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_distinguished_and_nothing_is_shown() {
        for (text, scheme, shown) in [
            ("", CredentialScheme::None, "no credentials"),
            (
                "Bearer abc",
                CredentialScheme::Bearer("abc"),
                "a bearer token",
            ),
            (
                "bearer abc",
                CredentialScheme::Bearer("abc"),
                "a bearer token",
            ),
            (
                "Bearer  abc",
                CredentialScheme::Bearer(" abc"),
                "a bearer token",
            ),
            ("Basic YWJj", CredentialScheme::Basic("YWJj"), "credentials"),
            ("Negotiate YWJj", CredentialScheme::Other, "credentials"),
            ("Bearerabc", CredentialScheme::Other, "credentials"),
        ] {
            let credentials = Credentials::new(Some(&HeaderValue::from_static(text)));
            assert_eq!(credentials.scheme(), scheme);
            assert_eq!(format!("{credentials:?}"), shown);
        }
        assert_eq!(Credentials::new(None).scheme(), CredentialScheme::None);
    }

    #[test]
    fn a_login_is_read_as_go_reads_it() {
        let read =
            |text: &str| Login::read(text).map(|login| (login.user, login.password.to_vec()));
        let pair = |user: &str, password: &str| Some((user.into(), password.into()));
        assert_eq!(read("YWxpY2U6c2VjcmV0"), pair("alice", "secret"));
        assert_eq!(read("YTpiOmM="), pair("a", "b:c"));
        assert_eq!(read("YTpiOmN="), pair("a", "b:c"));
        assert_eq!(read("Og=="), pair("", ""));
        for wrong in ["YTpiOmM", "YWxpY2U=", "YTpi OmM=", " YTpiOmM=", "!!!", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

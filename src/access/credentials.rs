//! What a caller shows.

use std::fmt;

use http::HeaderValue;

/// The value of a request's Authorization header, which no log ever shows.
#[derive(Clone, Default)]
pub struct Credentials(Option<HeaderValue>);

/// The scheme of credentials, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme<'a> {
    /// None at all.
    None,
    /// A bearer token.
    Bearer(&'a str),
    /// A user's name and password, or a scheme that is not known here.
    Other,
}

impl Credentials {
    /// Takes the header's value, if there is one.
    #[must_use]
    pub fn new(authorization: Option<&HeaderValue>) -> Self {
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

    /// The header's value as it came.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    pub(super) fn scheme(&self) -> Scheme<'_> {
        let Some(value) = &self.0 else {
            return Scheme::None;
        };
        let text = value.to_str().unwrap_or_default();
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Scheme::Bearer(token.trim())
            }
            _ => Scheme::Other,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme() {
            Scheme::None => "no credentials",
            Scheme::Bearer(_) => "a bearer token",
            Scheme::Other => "credentials",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_apart_and_nothing_is_shown() {
        for (text, scheme, shown) in [
            ("", Scheme::None, "no credentials"),
            ("Bearer abc", Scheme::Bearer("abc"), "a bearer token"),
            ("bearer abc", Scheme::Bearer("abc"), "a bearer token"),
            ("Basic YWJj", Scheme::Other, "credentials"),
            ("Bearerabc", Scheme::Other, "credentials"),
        ] {
            let credentials = Credentials::new(Some(&HeaderValue::from_static(text)));
            assert_eq!(credentials.scheme(), scheme);
            assert_eq!(format!("{credentials:?}"), shown);
        }
        assert_eq!(Credentials::new(None).scheme(), Scheme::None);
    }
}

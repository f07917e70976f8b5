//! The identifier of one request, in the log, at the registry and in events.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The longest identifier that is accepted from a client.
const LONGEST: usize = 128;

/// The identifier of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    /// Makes a random one.
    pub(crate) fn new() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// Accepts what a client or a proxy chose; `None` for what is not one word on a log line.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_word = text.bytes().all(|byte| byte.is_ascii_graphic());
        (is_word && (1..=LONGEST).contains(&text.len())).then(|| Self(text.into()))
    }

    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_identifier_is_kept_and_anything_else_is_not() {
        for word in ["1", "4bf92f3577b34da6", "a/b+c=;d", &"x".repeat(LONGEST)] {
            assert_eq!(RequestId::parse(word).unwrap().as_str(), word);
        }
        for odd in ["", "two words", "a\tb", "a\u{e9}", &"x".repeat(LONGEST + 1)] {
            assert_eq!(RequestId::parse(odd), None, "{odd}");
        }
        assert_ne!(RequestId::new(), RequestId::new());
    }
}

//! The name of one request, in the log here and wherever it goes on to.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The longest name that is taken from a client.
const LONGEST: usize = 128;

/// Names a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Makes a new one.
    pub fn new() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// Takes what a client or a proxy before us chose; `None` for what does not fit on a line of a
    /// log as one word.
    pub fn parse(text: &str) -> Option<Self> {
        let is_word = text.bytes().all(|byte| byte.is_ascii_graphic());
        (is_word && (1..=LONGEST).contains(&text.len())).then(|| Self(text.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
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
    fn a_clients_word_is_kept_and_anything_else_is_not() {
        for word in ["1", "4bf92f3577b34da6", "a/b+c=;d", &"x".repeat(LONGEST)] {
            assert_eq!(RequestId::parse(word).unwrap().as_str(), word);
        }
        for odd in ["", "two words", "a\tb", "a\u{e9}", &"x".repeat(LONGEST + 1)] {
            assert_eq!(RequestId::parse(odd), None, "{odd}");
        }
        assert_ne!(RequestId::new(), RequestId::new());
    }
}

//! Which bytes of a request's body were seen, if the request is sent more than once.

use bytes::Bytes;

/// The bytes of a body that passed.
#[derive(Debug, Default)]
pub(crate) struct BodyProgress {
    /// On the current connection.
    sent: u64,
    /// On any connection.
    seen: u64,
}

impl BodyProgress {
    /// The body is sent from its beginning again.
    pub(crate) fn begin_again(&mut self) {
        self.sent = 0;
    }

    /// The part of the body's next piece that was not seen on an earlier connection.
    pub(crate) fn unseen(&mut self, piece: &Bytes) -> Bytes {
        let already = usize::try_from(self.seen - self.sent).unwrap_or(usize::MAX);
        let unseen = piece.slice(already.min(piece.len())..);
        self.sent += piece.len() as u64;
        self.seen = self.seen.max(self.sent);
        unseen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_sent_again_is_seen_once() {
        let mut body = BodyProgress::default();
        let whole = Bytes::from_static(b"0123456789");
        assert_eq!(body.unseen(&whole.slice(..3)), "012");
        assert_eq!(body.unseen(&whole.slice(3..6)), "345");
        body.begin_again();
        assert_eq!(body.unseen(&whole.slice(..4)), "");
        assert_eq!(body.unseen(&whole.slice(4..8)), "67");
        assert_eq!(body.unseen(&whole.slice(8..)), "89");
        body.begin_again();
        assert_eq!(body.unseen(&whole), "");
    }
}

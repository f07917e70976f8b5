//! Finds the digests that a manifest names, while its body passes.

use std::collections::HashSet;

use crate::oci::Digest;

/// The beginning of a digest.
const PREFIX: &[u8] = b"sha256:";
/// The bytes of a digest.
const LENGTH: usize = PREFIX.len() + 64;
/// The most layers of one manifest that are kept: images have at most 127.
const MOST_LAYERS: usize = 1024;

/// The layers for which HEADs wait and that a manifest names.
///
/// The body itself is not kept: a client that may not push can send it, too, and slowly.
#[derive(Debug, Default)]
pub(super) struct NamedLayers {
    /// The last bytes, which may begin a digest.
    rest: Vec<u8>,
    layers: HashSet<[u8; 32]>,
}

impl NamedLayers {
    /// The digests in the next piece of the body. One that began in the last piece is among them.
    pub(super) fn digests_in(&mut self, piece: &[u8]) -> Vec<Digest> {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(piece);
        let named = text
            .windows(LENGTH)
            .filter(|bytes| bytes.starts_with(PREFIX));
        let digests =
            named.filter_map(|bytes| Digest::parse(std::str::from_utf8(bytes).ok()?).ok());
        let digests = digests.collect();
        let rest = text.len().saturating_sub(LENGTH - 1);
        self.rest = text.split_off(rest);
        // Without the room of the piece.
        self.rest.shrink_to_fit();
        digests
    }

    /// Keeps a layer for which HEADs wait.
    pub(super) fn keep(&mut self, digest: &Digest) {
        if self.layers.len() < MOST_LAYERS {
            self.layers.insert(digest.bytes());
        }
    }

    /// The layers that were kept.
    pub(super) fn into_layers(self) -> impl Iterator<Item = Digest> {
        self.layers.into_iter().map(|hash| Digest::of_hash(&hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_found_once_however_the_body_is_cut() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let body = format!(
            r#"{{"a":"{one}","b":"sha256:{}","c":"{two}"}}"#,
            "g".repeat(64)
        );
        for size in [1, 7, 70, 71, 72, 1000] {
            let mut named = NamedLayers::default();
            let pieces = body.as_bytes().chunks(size);
            let found: Vec<_> = pieces.flat_map(|piece| named.digests_in(piece)).collect();
            assert_eq!(found, [one.clone(), two.clone()], "{size}");
        }
    }

    #[test]
    fn a_body_is_not_kept() {
        let mut named = NamedLayers::default();
        for number in 0..2000_u32 {
            let digest = Digest::of(&number.to_le_bytes());
            for found in named.digests_in(format!("{digest:>60000}").as_bytes()) {
                named.keep(&found);
            }
        }
        assert!(named.rest.capacity() < LENGTH);
        assert_eq!(named.into_layers().count(), MOST_LAYERS);
    }
}

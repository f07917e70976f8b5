//! The digests of all links, 32 bytes each.

use crate::oci::Digest;

/// In rows by their first byte, because blobs are scanned so, and so that none is large.
#[derive(Debug)]
pub(crate) struct LinkRows(Vec<Vec<[u8; 32]>>);

/// The links of one row, sorted.
#[derive(Debug)]
pub(crate) struct Row(std::iter::Peekable<std::vec::IntoIter<[u8; 32]>>);

impl Default for LinkRows {
    fn default() -> Self {
        Self(vec![Vec::new(); 256])
    }
}

impl LinkRows {
    pub(crate) fn add(&mut self, digest: &Digest) {
        let bytes = digest.bytes();
        self.0[usize::from(bytes[0])].push(bytes);
    }

    /// Takes a row out, sorted.
    pub(crate) fn row(&mut self, first: u8) -> Row {
        let mut row = std::mem::take(&mut self.0[usize::from(first)]);
        row.sort_unstable();
        Row(row.into_iter().peekable())
    }
}

impl Row {
    /// The number of links to this digest; digests must come in order.
    pub(crate) fn count(&mut self, digest: &Digest) -> u64 {
        let wanted = digest.bytes();
        while self.0.next_if(|link| *link < wanted).is_some() {}
        let mut count = 0;
        while self.0.next_if(|link| *link == wanted).is_some() {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(start: &str) -> Digest {
        Digest::parse(&format!("sha256:{start}{}", "0".repeat(64 - start.len()))).unwrap()
    }

    #[test]
    fn links_are_counted_by_digest() {
        let mut links = LinkRows::default();
        for start in ["ab2", "ab1", "ac", "ab2", "ab0"] {
            links.add(&digest(start));
        }
        let mut row = links.row(0xab);
        for (start, count) in [("ab", 1), ("ab1", 1), ("ab15", 0), ("ab2", 2), ("ab3", 0)] {
            assert_eq!(row.count(&digest(start)), count, "{start}");
        }
        assert_eq!(links.row(0xac).count(&digest("ac")), 1);
        assert_eq!(links.row(0xad).count(&digest("ad")), 0);
    }
}

//! The scan of all blob data, in the order of digests.

use std::ops::ControlFlow;

use crate::oci::Digest;
use crate::store::layout;
use crate::store::open::{OpenStore, StoreError};

/// What a scan finds in a blob's directory.
#[derive(Debug)]
pub enum ScannedBlob<'a> {
    /// The data file, not empty unless the digest is that of no bytes.
    Whole { digest: &'a Digest, size: u64 },
    /// No data file, or an empty one though the digest names bytes.
    Absent(&'a Digest),
    /// The filesystem returned an error.
    Unreadable(&'a StoreError),
}

impl OpenStore<'_> {
    /// Visits all blobs whose digest begins with the byte `first`, until `visit` breaks off.
    pub fn blobs(
        &self,
        first: u8,
        visit: &mut dyn FnMut(ScannedBlob<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let names = match self.entries(&layout::blobs_beginning_with(first)) {
            Ok(names) => names,
            Err(error) => return visit(ScannedBlob::Unreadable(&error)),
        };
        for name in names {
            let Ok(digest) = Digest::parse(&format!("sha256:{name}")) else {
                continue;
            };
            match self.data_size(&digest) {
                Ok(Some(size)) => visit(ScannedBlob::Whole {
                    digest: &digest,
                    size,
                })?,
                Ok(None) => visit(ScannedBlob::Absent(&digest))?,
                Err(error) => visit(ScannedBlob::Unreadable(&error))?,
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{Fixture, digest};
    use std::fs;

    #[test]
    fn blobs_come_in_order_with_their_size() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        let directory = |rest: char| {
            let path = fixture.path(&format!(
                "blobs/sha256/ab/ab{}",
                rest.to_string().repeat(62)
            ));
            fs::create_dir_all(&path).unwrap();
            path
        };
        directory('0');
        fs::write(directory('f').join("data"), "").unwrap();
        fs::create_dir_all(fixture.path("blobs/sha256/ab/odd")).unwrap();
        let mut seen = Vec::new();
        let mut visit = |blob: ScannedBlob<'_>| {
            seen.push(match blob {
                ScannedBlob::Whole { digest, size } => format!("{} {size}", &digest.hex()[..3]),
                ScannedBlob::Absent(digest) => digest.hex()[..3].to_owned(),
                ScannedBlob::Unreadable(error) => error.to_string(),
            });
            ControlFlow::Continue(())
        };
        let ended = fixture
            .store
            .on_open(|store| Ok(store.blobs(0xab, &mut visit)));
        assert!(ended.unwrap().unwrap().is_continue());
        assert_eq!(seen, ["ab0", &format!("{} 5", &digest().hex()[..3]), "abf"]);
        let none = fixture
            .store
            .on_open(|store| Ok(store.blobs(1, &mut |_| unreachable!())));
        assert!(none.unwrap().unwrap().is_continue());
    }
}

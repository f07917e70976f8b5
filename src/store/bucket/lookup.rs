//! Looks up whether the source links the digest, and whether the blob's data exists.

use tokio::time::Instant;

use crate::oci::{Digest, RepositoryName};
use crate::store::bucket::{Bucket, BucketError, Entry};
use crate::store::layout;

/// What the bucket holds of a source's link and its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketLookup {
    /// The source links the digest, and the blob's data exists.
    Here {
        /// The blob's length in bytes.
        size: u64,
    },
    /// The source has no link.
    SourceMissing,
    /// The link exists, but the data does not, or is empty though the digest names bytes.
    BlobMissing,
}

/// Objects of a link's or a blob's directory that are read: the registry writes one.
const BESIDE: usize = 10;

impl Bucket {
    /// Looks up the source's link and the blob's data, by two calls at once, whatever either finds.
    pub(crate) async fn look_up(
        &self,
        source: &RepositoryName,
        digest: &Digest,
        deadline: Instant,
    ) -> Result<BucketLookup, BucketError> {
        let link = layout::layer_link(source, digest);
        let data = layout::blob_data(digest);
        let (link, data) = tokio::join!(self.find(&link, deadline), self.find(&data, deadline));
        // Only the length of the link is known. The registry writes a link in one call, and
        // always with the digest that is in its key.
        if link?.is_none_or(|link| link.size != digest.as_str().len() as u64) {
            return Ok(BucketLookup::SourceMissing);
        }
        Ok(match data? {
            Some(Entry { size, .. }) if size > 0 || digest.names_nothing() => {
                BucketLookup::Here { size }
            }
            Some(_) | None => BucketLookup::BlobMissing,
        })
    }

    /// The object with exactly this key, by a list of its directory.
    async fn find(&self, key: &str, deadline: Instant) -> Result<Option<Entry>, BucketError> {
        let directory = key.rfind('/').map_or("", |at| &key[..=at]);
        let page = self.page(directory, BESIDE, deadline).await?;
        Ok(page.entries.into_iter().find(|entry| entry.key == key))
    }
}

//! All keys with a prefix, page by page.
//!
//! A listing keeps its place when a call fails: the next call asks for the same page again.

use tokio::time::Instant;

use crate::oci::{Digest, RepositoryName};
use crate::store::bucket::{Bucket, BucketError, Entry, PAGE_LIMIT, Wanted};
use crate::store::layout;

/// Keys that a page holds at most, which is as many as S3 gives.
const PAGE: usize = 1000;

/// A listing in progress.
#[derive(Debug)]
pub(crate) struct Listing {
    prefix: &'static str,
    place: Place,
    calls: u64,
}

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Start,
    Page(String),
    After(String),
    End,
}

impl Listing {
    /// Of all that repositories hold.
    pub(crate) fn of_repositories() -> Self {
        Self::of("repositories/")
    }

    /// Of the data of all blobs.
    pub(crate) fn of_blobs() -> Self {
        Self::of("blobs/sha256/")
    }

    fn of(prefix: &'static str) -> Self {
        Self {
            prefix,
            place: Place::Start,
            calls: 0,
        }
    }

    /// How many calls were made, with those that failed.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// The next page, which may be empty; `None` at the end. After an error the next call asks for
    /// the same page again; a page with a key that no registry writes is passed over.
    pub(crate) async fn next_page(
        &mut self,
        bucket: &Bucket,
    ) -> Result<Option<Vec<Entry>>, BucketError> {
        let (page, after) = match &self.place {
            Place::Start => (None, None),
            Place::Page(token) => (Some(token.clone()), None),
            Place::After(key) => (None, Some(key.clone())),
            Place::End => return Ok(None),
        };
        let wanted = Wanted {
            prefix: self.prefix,
            most: PAGE,
            page,
            after,
        };
        self.calls += 1;
        match bucket.list(wanted, Instant::now() + PAGE_LIMIT).await {
            Ok(page) => {
                self.place = page.next.map_or(Place::End, Place::Page);
                Ok(Some(page.entries))
            }
            Err(error) => {
                if let BucketError::Key(key) = &error {
                    self.place = Place::After(key.clone());
                }
                Err(error)
            }
        }
    }
}

/// What a key below `repositories/` links, if it is a layer link.
pub(crate) fn link_of_key(key: &str) -> Option<(RepositoryName, Digest)> {
    let path = key.strip_prefix("repositories/")?.strip_suffix("/link")?;
    let (name, hex) = path.rsplit_once("/_layers/sha256/")?;
    let digest = Digest::parse(&format!("sha256:{hex}")).ok()?;
    Some((RepositoryName::parse(name).ok()?, digest))
}

/// Which blob's data a key below `blobs/` is.
pub(crate) fn blob_of_key(key: &str) -> Option<Digest> {
    let path = key.strip_suffix("/data")?;
    let (_, hex) = path.rsplit_once('/')?;
    let digest = Digest::parse(&format!("sha256:{hex}")).ok()?;
    (layout::blob_data(&digest) == key).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_layer_links_and_data_are_known_by_their_keys() {
        let hex = "ab".repeat(32);
        let link = format!("repositories/org/a/_layers/sha256/{hex}/link");
        let (name, digest) = link_of_key(&link).unwrap();
        assert_eq!((name.as_str(), digest.hex()), ("org/a", &*hex));
        assert_eq!(link, layout::layer_link(&name, &digest));
        for other in [
            format!("repositories/org/a/_manifests/revisions/sha256/{hex}/link"),
            format!("repositories/org/a/_layers/sha512/{hex}/link"),
            format!("repositories/org/a/_layers/sha256/{hex}/link.tmp"),
            format!("repositories/_layers/sha256/{hex}/link"),
            format!("repositories/Org/_layers/sha256/{hex}/link"),
            "repositories/a/_uploads/x/data".to_owned(),
        ] {
            assert!(link_of_key(&other).is_none(), "{other}");
        }
        let data = format!("blobs/sha256/ab/{hex}/data");
        assert_eq!(blob_of_key(&data).unwrap(), digest);
        assert!(blob_of_key(&format!("blobs/sha256/cd/{hex}/data")).is_none());
        assert!(blob_of_key(&format!("blobs/sha256/ab/{hex}/other")).is_none());
    }
}

//! The registry's filesystem store: where links and data are, and how a link is written.
//!
//! | file | what |
//! |---|---|
//! | `open` | opens the store's root directory for each job, and its errors |
//! | `layout` | the paths of links and data |
//! | `lookup` | reads the source's link and the blob's data |
//! | `listing` | lists directories, and says when they changed |
//! | `link` | writes the target's link, and makes it durable |
//! | `new_link` | the link's file before it has the link's name |
//! | `commit_order` | whether one sync commits all that was done before it |
//! | `dirs`, `unsynced_dirs` | create and sync the directories above a link |
//! | `scan`, `blobs` | visit every link, and every blob |
//! | `permissions` | checks that this user may write here |
//! | `bucket` | lists an object store, in which crossmount never writes |
//!
//! Everything here but `bucket` blocks, and so runs on a
//! [`BlockingPool`](crate::util::blocking_pool::BlockingPool). Permissions of clients and HTTP are
//! not here: [`OpenStore::link`] takes a [`Grant`](crate::auth::Grant) as the proof of the first.

mod blobs;
pub(crate) mod bucket;
mod commit_order;
mod dirs;
#[cfg(test)]
pub(crate) mod fixture;
mod layout;
mod link;
mod listing;
mod lookup;
mod new_link;
mod open;
mod permissions;
mod scan;
mod unsynced_dirs;

pub(crate) use blobs::ScannedBlob;
pub use link::LinkResult;
pub(crate) use listing::DirectoryListing;
pub(crate) use lookup::{BlobData, Lookup};
pub use open::{Filesystem, OpenStore, StoreError};
pub(crate) use permissions::{StorePermissionError, check_owner, check_writable};
pub(crate) use scan::{ScanEvent, StaleTempFiles};

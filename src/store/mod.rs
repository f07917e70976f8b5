//! The registry's filesystem store: where links and data are, and how a link is written.
//!
//! `layout` knows the paths, `filesystem` opens the store, `locate` reads it, `link`
//! writes it, `directories` makes and syncs the directories of a link, `walk` comes by every link and
//! `blobs` by every blob, and `ownership` says whether this user may write here. Everything blocks: it is called on
//! [`BlockingPool`](crate::util::blocking_pool::BlockingPool). Nothing here decides who may do what, and nothing
//! knows HTTP: [`OpenStore::link`] takes a [`Grant`](crate::auth::Grant) as the proof of that.

mod blobs;
mod dirs;
#[cfg(test)]
mod fixture;
mod layout;
mod link;
mod lookup;
mod open;
mod permissions;
mod scan;
mod unsynced_dirs;

pub use blobs::ScannedBlob;
pub use link::LinkResult;
pub use lookup::{BlobData, Lookup};
pub use open::{Filesystem, OpenStore, StoreError};
pub use permissions::{StorePermissionError, check_owner, check_writable};
pub use scan::{ScanEvent, StaleTempFiles};

//! The registry's filesystem store: where links and data are, and how a link is written.
//!
//! `layout` knows the paths, `filesystem` opens the store, `locate` reads it, `link`
//! writes it, `folders` makes and syncs the folders of a link, `walk` comes by every link and
//! `blobs` by every blob, and `ownership` says whether this user may write here. Everything blocks: it is called on
//! [`Workers`](crate::workers::Workers). Nothing here decides who may do what, and nothing
//! knows HTTP: [`OpenStore::link`] takes a [`Grant`](crate::access::Grant) as the proof of that.

mod blobs;
mod filesystem;
#[cfg(test)]
mod fixture;
mod folders;
mod layout;
mod link;
mod locate;
mod ownership;
mod unsynced;
mod walk;

pub use blobs::ScannedBlob;
pub use filesystem::{Filesystem, OpenStore, StoreError};
pub use link::LinkResult;
pub use locate::{BlobData, Lookup};
pub use ownership::{StorePermissionError, check_owner, prove_writable};
pub use walk::{ScanEvent, StaleTempFiles, Visitor};

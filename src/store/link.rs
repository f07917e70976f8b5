//! Writes a layer link: whole, as durable as configured, never visible half-written.
//!
//! With durability `full` a link is made in this order. Each step rests on the one before it.
//!
//! 1. The directories above it are created.
//! 2. Its bytes are written into a file that is not visible as a link ([`new_link`]).
//! 3. The bytes are written to the disk. So no crash leaves a link that is visible and empty.
//! 4. The file gets the link's name.
//! 5. The link's directory is synced, and with it the name. Where the filesystem commits changes in
//!    their order ([`commit_order`]), that commits the directories of step 1 as well, and the inode
//!    of step 2: step 3 then does without a commit of its own. Elsewhere each directory that is not
//!    synced yet is synced ([`dirs`](crate::store::dirs)).
//!
//! [`new_link`]: crate::store::new_link
//! [`commit_order`]: crate::store::commit_order

use std::time::SystemTime;

use rustix::io::retry_on_intr;

use crate::auth::Grant;
use crate::config::Durability;
use crate::oci::Digest;
use crate::store::new_link::{LinkDirectory, NewLink, Published};
use crate::store::open::{OpenStore, StoreError, StoredLink};
use crate::store::unsynced_dirs::SETTLED;
use crate::store::{commit_order, layout};

/// How the writing of a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkResult {
    /// crossmount wrote the link.
    Written,
    /// The link existed and was left as it is.
    AlreadyLinked,
    /// The link is in place, but the blob's data disappeared meanwhile, so no mount is confirmed.
    BlobGone,
    /// Nothing was written or confirmed: permission was revoked before the link was visible.
    Revoked,
}

impl OpenStore<'_> {
    /// Links `digest` into the grant's target.
    ///
    /// `still_allowed` is checked just before the link becomes visible, or an existing one is
    /// confirmed. The blob's data is checked again once the link is in place. A link is never
    /// removed again.
    ///
    /// After a [`StoreError`] nothing is left behind but directories.
    pub fn link(
        &self,
        grant: &Grant,
        digest: &Digest,
        still_allowed: &dyn Fn() -> bool,
    ) -> Result<LinkResult, StoreError> {
        let directory = layout::link_directory(grant.target(), digest);
        let path = layout::layer_link(grant.target(), digest);
        let linked = match self.existing_link(&path, digest)? {
            Some(link) => self.confirm_durable(&directory, &link, still_allowed)?,
            // An empty or torn link of a crashed writer is replaced like a missing one.
            None => self.write(&directory, digest, still_allowed)?,
        };
        match linked {
            LinkResult::Written | LinkResult::AlreadyLinked
                if self.data_size(digest)?.is_none() =>
            {
                Ok(LinkResult::BlobGone)
            }
            linked => Ok(linked),
        }
    }

    fn write(
        &self,
        path: &str,
        digest: &Digest,
        still_allowed: &dyn Fn() -> bool,
    ) -> Result<LinkResult, StoreError> {
        self.create_directories(path)?;
        let directory = self.link_directory(path)?;
        let is_ordered = self.filesystem.durability == Durability::Full
            && commit_order::is_kept_by(&directory.descriptor);
        let mut new = NewLink::create(&directory, digest)?;
        let written = self
            .write_out(&new, &directory, is_ordered)
            .and_then(|()| self.publish(&mut new, &directory, digest, is_ordered, still_allowed));
        new.discard(&directory);
        if self.filesystem.durability == Durability::Full
            && matches!(written, Ok(LinkResult::Written))
        {
            self.sync_name(&directory, is_ordered)?;
        }
        written
    }

    /// Writes the bytes of a new link to the disk, as far as configured.
    fn write_out(
        &self,
        new: &NewLink,
        directory: &LinkDirectory<'_>,
        is_ordered: bool,
    ) -> Result<(), StoreError> {
        match self.filesystem.durability {
            Durability::None => Ok(()),
            Durability::Full if is_ordered => new.write_out(directory),
            Durability::Full | Durability::File => new.sync(directory),
        }
    }

    fn publish(
        &self,
        new: &mut NewLink,
        directory: &LinkDirectory<'_>,
        digest: &Digest,
        is_ordered: bool,
        still_allowed: &dyn Fn() -> bool,
    ) -> Result<LinkResult, StoreError> {
        if !still_allowed() {
            return Ok(LinkResult::Revoked);
        }
        let link = format!("{}/{}", directory.path, layout::LINK);
        let published = match new.publish(directory) {
            Ok(Published::Visible) => Ok(()),
            Ok(Published::Unnameable) => {
                *new = NewLink::create_with_name(directory, digest)?;
                self.write_out(new, directory, is_ordered)?;
                return self.publish(new, directory, digest, is_ordered, still_allowed);
            }
            // Another mount may have written the link meanwhile.
            Ok(Published::Occupied) => match self.existing_link(&link, digest)? {
                Some(found) => {
                    return self.confirm_durable(directory.path, &found, still_allowed);
                }
                // That look may have taken a while.
                None if !still_allowed() => return Ok(LinkResult::Revoked),
                None => new.replace(directory),
            },
            Err(error) => Err(error),
        };
        match published {
            Ok(()) => Ok(LinkResult::Written),
            // NFS may send a rename twice, and the first did the work. Or the directory was removed
            // and made anew, with another mount's link: that one may not be durable yet.
            Err(error) if error.is_absence() => match self.existing_link(&link, digest)? {
                Some(found) => self.confirm_durable(directory.path, &found, still_allowed),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Syncs the name of a link, and those of the directories above it.
    fn sync_name(&self, directory: &LinkDirectory<'_>, is_ordered: bool) -> Result<(), StoreError> {
        let path = directory.path;
        let sync = || {
            retry_on_intr(|| rustix::fs::fsync(&directory.descriptor))
                .map_err(StoreError::call("fsync", path))
        };
        if is_ordered {
            return self.commit_made(path, sync);
        }
        sync()?;
        self.sync_made(path)
    }

    /// The link at a path, if it holds the digest.
    fn existing_link(&self, path: &str, digest: &Digest) -> Result<Option<StoredLink>, StoreError> {
        let link = self.read_link(path)?;
        Ok(link.filter(|link| link.content == digest.as_str().as_bytes()))
    }

    /// Confirms a link that exists already, once it is durable.
    fn confirm_durable(
        &self,
        directory: &str,
        link: &StoredLink,
        still_allowed: &dyn Fn() -> bool,
    ) -> Result<LinkResult, StoreError> {
        self.settle(directory, link)?;
        // The sync may have outlasted the time budget.
        Ok(if still_allowed() {
            LinkResult::AlreadyLinked
        } else {
            LinkResult::Revoked
        })
    }

    /// Makes an existing link as durable as one of crossmount's own before it is confirmed.
    ///
    /// Another mount may have written it and not synced it yet, or crashed before it could.
    fn settle(&self, directory: &str, link: &StoredLink) -> Result<(), StoreError> {
        let age = link
            .written
            .and_then(|written| SystemTime::now().duration_since(written).ok());
        let durability = self.filesystem.durability;
        if durability == Durability::None || age.is_some_and(|age| age > SETTLED) {
            return Ok(());
        }
        retry_on_intr(|| rustix::fs::fsync(&link.file))
            .map_err(StoreError::call("fsync", directory))?;
        match durability {
            // One sync of the directory commits all names. The file's own sync does not: with
            // `fast_commit`, ext4 then logs the name and not the creation of a file that had none.
            Durability::Full if commit_order::is_kept_by(&link.file) => {
                self.sync_directory(directory)
            }
            Durability::Full => self.sync_ancestry(directory),
            Durability::File | Durability::None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{Fixture, digest, grant};
    use std::cell::Cell;
    use std::os::unix::fs::MetadataExt;

    const TARGET: &str = "org/target";

    fn link(fixture: &Fixture, allowed: bool) -> LinkResult {
        fixture
            .store
            .on_open(|store| store.link(&grant(TARGET), &digest(), &|| allowed))
            .unwrap()
            .unwrap()
    }

    fn entries(fixture: &Fixture) -> Vec<String> {
        std::fs::read_dir(fixture.link_path(TARGET).parent().unwrap())
            .map(|entries| {
                entries
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default()
    }

    #[test]
    fn a_link_holds_seventy_one_bytes_and_nothing_stays_beside_it() {
        for durability in [Durability::Full, Durability::File, Durability::None] {
            let fixture = Fixture::with(durability);
            fixture.write_blob(b"layer");
            assert_eq!(link(&fixture, true), LinkResult::Written);
            let content = std::fs::read(fixture.link_path(TARGET)).unwrap();
            assert_eq!(content, digest().as_str().as_bytes());
            assert_eq!(entries(&fixture), ["link"]);
        }
    }

    #[test]
    fn an_existing_link_is_left_as_it_is() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link(TARGET, digest().as_str());
        let before = std::fs::metadata(fixture.link_path(TARGET)).unwrap();
        assert_eq!(link(&fixture, true), LinkResult::AlreadyLinked);
        let after = std::fs::metadata(fixture.link_path(TARGET)).unwrap();
        assert_eq!(before.ino(), after.ino());
        assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    }

    #[test]
    fn an_empty_link_of_a_crashed_writer_is_replaced() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link(TARGET, "");
        assert_eq!(link(&fixture, true), LinkResult::Written);
        let content = std::fs::read(fixture.link_path(TARGET)).unwrap();
        assert_eq!(content, digest().as_str().as_bytes());
    }

    #[test]
    fn a_torn_link_is_not_replaced_when_that_is_no_longer_allowed() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link(TARGET, "to");
        let asked = Cell::new(0);
        let until_the_name_is_found_taken = || asked.replace(asked.get() + 1) == 0;
        let linked = fixture
            .store
            .on_open(|store| store.link(&grant(TARGET), &digest(), &until_the_name_is_found_taken));
        assert_eq!(linked.unwrap().unwrap(), LinkResult::Revoked);
        assert_eq!(std::fs::read(fixture.link_path(TARGET)).unwrap(), b"to");
        assert_eq!(entries(&fixture), ["link"]);
    }

    #[test]
    fn what_is_no_longer_allowed_becomes_no_link() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        assert_eq!(link(&fixture, false), LinkResult::Revoked);
        assert!(entries(&fixture).is_empty());
    }

    #[test]
    fn an_existing_link_is_not_confirmed_when_that_is_no_longer_allowed() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        fixture.write_link(TARGET, digest().as_str());
        assert_eq!(link(&fixture, false), LinkResult::Revoked);
        assert_eq!(entries(&fixture), ["link"]);
        assert_eq!(link(&fixture, true), LinkResult::AlreadyLinked);
    }

    #[test]
    fn a_link_in_a_directory_that_was_made_anew_is_synced_before_it_is_confirmed() {
        let fixture = Fixture::new();
        fixture.write_link(TARGET, digest().as_str());
        let place = fixture.link_path(TARGET).parent().unwrap().to_owned();
        let linked = fixture.store.on_open(|store| {
            let path = layout::link_directory(grant(TARGET).target(), &digest());
            let directory = store.link_directory(&path)?;
            let mut new = NewLink::create(&directory, &digest())?;
            std::fs::remove_dir_all(&place).unwrap();
            fixture.write_link(TARGET, digest().as_str());
            store.publish(&mut new, &directory, &digest(), false, &|| true)
        });
        // The link is another mount's, so it is settled first.
        assert_eq!(linked.unwrap().unwrap(), LinkResult::AlreadyLinked);
    }

    #[test]
    fn vanished_data_is_reported_and_the_link_stays() {
        let fixture = Fixture::new();
        assert_eq!(link(&fixture, true), LinkResult::BlobGone);
        assert_eq!(entries(&fixture), ["link"]);
    }

    #[test]
    fn many_writers_of_one_link_all_succeed() {
        let fixture = Fixture::new();
        fixture.write_blob(b"layer");
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    assert!(matches!(
                        link(&fixture, true),
                        LinkResult::Written | LinkResult::AlreadyLinked
                    ));
                });
            }
        });
        assert_eq!(entries(&fixture), ["link"]);
    }
}

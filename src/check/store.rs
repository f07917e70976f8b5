//! Checks the registry's directory, with this user's permissions, and the filesystem that it is on.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::blob_copy::ArtifactStore;
use crate::check::findings::Findings;
use crate::config::StoreConfig;
use crate::store::{check_owner, check_writable};

pub(crate) fn check_store(root: &Path, findings: &mut Findings) {
    identity(root, findings);
    check_volume(root, findings);
    if let Err(fault) = check_owner(root) {
        return findings.error(fault.to_string());
    }
    match check_writable(root) {
        Err(fault) => findings.error(fault.to_string()),
        Ok(directory) if directory == root => findings.warn(format!(
            "{} is readable and writable, but holds no registry: if the registry has had a push, correct store.filesystem.rootdirectory",
            root.display()
        )),
        Ok(directory) => findings.ok(format!(
            "the store's directory {} is readable and writable as this user",
            directory.display()
        )),
    }
}

/// Says which blobs are mounted, if not all are.
pub(crate) fn check_verify(store: &StoreConfig, findings: &mut Findings) {
    if let Some(verify) = store.verify {
        findings.ok(format!(
            "store.verify is sha256: crossmount answers mounts only for blobs that it has hashed, at most {} bytes a second",
            verify.rate
        ));
    }
}

pub(crate) fn check_artifacts(root: &Path, findings: &mut Findings) {
    match ArtifactStore::open(root) {
        Ok(_) => findings.ok(format!(
            "Pulp's artifacts below {} are readable",
            root.display()
        )),
        Err(fault) => findings.error(fault.to_string()),
    }
}

/// Compares the owner of the directory with this process's user.
fn identity(root: &Path, findings: &mut Findings) {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let (user, group) = (user.as_raw(), group.as_raw());
    let groups = rustix::process::getgroups().unwrap_or_default();
    let groups: Vec<_> = groups
        .iter()
        .map(|group| group.as_raw().to_string())
        .collect();
    let Ok(about) = std::fs::metadata(root) else {
        // Whether the directory exists is checked next.
        return;
    };
    findings.ok(format!(
        "this process is user {user}, group {group} (and {}); {} belongs to user {}, group {}, with mode {:04o}",
        if groups.is_empty() { "no other".to_owned() } else { groups.join(", ") },
        root.display(),
        about.uid(),
        about.gid(),
        about.mode() & 0o7777,
    ));
}

/// The list of mounted filesystems (proc(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

/// One mounted filesystem.
#[derive(Debug, PartialEq, Eq)]
struct Volume {
    place: PathBuf,
    kind: String,
    /// The options of the mount and of the filesystem.
    options: String,
}

/// Names the filesystem, and warns of one on which links become visible late.
fn check_volume(root: &Path, findings: &mut Findings) {
    let (Ok(root), Ok(mounts)) = (root.canonicalize(), std::fs::read_to_string(MOUNTS)) else {
        return;
    };
    let Some(volume) = holding(&root, &mounts) else {
        return;
    };
    let (kind, place) = (&volume.kind, volume.place.display());
    let text = format!(
        "{} is on {kind}, mounted at {place} with {}",
        root.display(),
        volume.options
    );
    if volume.is_late() {
        findings.warn(format!(
            "{text}: links that another node writes stay invisible for up to 30 seconds; mount it with lookupcache=positive"
        ));
    } else {
        findings.ok(text);
    }
}

/// The filesystem that holds a path: the nearest one mounted above it, and of several the last.
fn holding(path: &Path, mounts: &str) -> Option<Volume> {
    let volumes = mounts.lines().filter_map(Volume::parse);
    let above = volumes.filter(|volume| path.starts_with(&volume.place));
    above.max_by_key(|volume| volume.place.components().count())
}

impl Volume {
    /// `id parent device root place options optional… - kind source options`
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mount: Vec<_> = mount.split(' ').collect();
        let filesystem: Vec<_> = filesystem.split(' ').collect();
        Some(Self {
            place: unescaped(mount.get(4)?).into(),
            kind: (*filesystem.first()?).to_owned(),
            options: format!("{},{}", mount.get(5)?, filesystem.get(2)?),
        })
    }

    /// Whether the filesystem caches absence, so that a new link is not visible at once (nfs(5)).
    fn is_late(&self) -> bool {
        let remembers = |option: &str| {
            matches!(
                option,
                "lookupcache=pos" | "lookupcache=positive" | "lookupcache=none" | "noac"
            )
        };
        matches!(&*self.kind, "nfs" | "nfs4") && !self.options.split(',').any(remembers)
    }
}

/// Decodes spaces and the like, which are written as three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut found = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).map(|code| u8::from_str_radix(code, 8));
        if let Some(Ok(code)) = code {
            found.push(char::from(code));
            found.push_str(&part[3..]);
        } else {
            found.push('\\');
            found.push_str(part);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTED: &str = "\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /srv rw,relatime - nfs4 host:/a rw,vers=4.2,hard
24 23 0:22 / /srv/late\\040er rw - nfs4 host:/b rw,vers=4.2,lookupcache=pos
25 22 0:23 / /s rw - tmpfs tmpfs rw
26 22 0:24 / /over rw - tmpfs tmpfs rw
27 26 0:25 / /over rw - nfs host:/c rw,noac
";

    #[test]
    fn the_nearest_filesystem_above_a_path_holds_it() {
        for (path, kind, place, is_late) in [
            ("/var/lib", "ext4", "/", false),
            ("/srv/registry", "nfs4", "/srv", true),
            ("/srv/late er/x", "nfs4", "/srv/late er", false),
            ("/over/x", "nfs", "/over", false),
        ] {
            let volume = holding(Path::new(path), MOUNTED).unwrap();
            assert_eq!((&*volume.kind, &*volume.place), (kind, Path::new(place)));
            assert_eq!(volume.is_late(), is_late, "{path}");
        }
    }
}

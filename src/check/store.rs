//! Checks the registry's directory, with this user's permissions.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::blob_copy::ArtifactStore;
use crate::check::findings::Findings;
use crate::check::volume;
use crate::config::StoreConfig;
use crate::store::{check_owner, check_writable};

pub(crate) fn check_store(root: &Path, findings: &mut Findings) {
    identity(root, findings);
    volume::check(root, findings);
    if let Err(fault) = check_owner(root) {
        return findings.error(fault.to_string());
    }
    match check_writable(root) {
        Err(fault) => findings.error(fault.to_string()),
        Ok(directory) if directory == root => findings.warn(format!(
            "{} is readable and writable, and holds no registry yet: it must be the registry's rootdirectory",
            root.display()
        )),
        Ok(directory) => findings.ok(format!(
            "the store's folder {} is readable and writable as this user",
            directory.display()
        )),
    }
}

/// Says which blobs are mounted, if not all are.
pub(crate) fn check_verify(store: &StoreConfig, findings: &mut Findings) {
    if let Some(verify) = store.verify {
        findings.ok(format!(
            "store.verify is sha256: a mount is answered once the blob's bytes were hashed, at most {} bytes a second",
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

//! The repositories to which a login began to push a short while ago.
//!
//! A layer that one runner uploads is in its repository alone. Another runner of the same login can
//! wait for it only if its own token lets it pull from there.

use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use crate::auth::Credentials;
use crate::oci::RepositoryName;
use crate::util::{Fingerprint, Fingerprints, NoRandomness};

/// The most logins that are tracked: those that began a push last.
const LOGINS: usize = 1024;
/// The most repositories of one login: the last ones.
const REPOSITORIES: usize = 24;
/// How long after its token request a push counts: a slow one may last so long.
const LASTS: Duration = Duration::from_secs(10 * 60);

/// Pushes of the last minutes, by login.
#[derive(Debug)]
pub(super) struct ConcurrentPushes {
    fingerprints: Fingerprints,
    of_login: Mutex<LruCache<Fingerprint, Vec<(RepositoryName, Instant)>>>,
}

impl ConcurrentPushes {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            fingerprints: Fingerprints::new()?,
            of_login: Mutex::new(LruCache::unbounded()),
        })
    }

    /// Records that a login asks for a token to push with. Returns the other repositories that the
    /// very same credentials asked for, the last first. So no caller learns a name from it.
    pub(super) fn begin(
        &self,
        credentials: &Credentials,
        target: &RepositoryName,
    ) -> Vec<RepositoryName> {
        let header = credentials.header().map(http::HeaderValue::as_bytes);
        let login = self.fingerprints.fingerprint(&[header.unwrap_or_default()]);
        let mut of_login = self.of_login.lock();
        let pushes = of_login.get_or_insert_mut(login, Vec::new);
        pushes.retain(|(name, since)| name != target && since.elapsed() < LASTS);
        let others = pushes.iter().rev().map(|(name, _)| name.clone()).collect();
        if pushes.len() >= REPOSITORIES {
            pushes.remove(0);
        }
        pushes.push((target.clone(), Instant::now()));
        if of_login.len() > LOGINS {
            of_login.pop_lru();
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(pushes: &ConcurrentPushes, login: &str, target: &str) -> Vec<String> {
        let header = http::HeaderValue::from_str(login).unwrap();
        let target = RepositoryName::parse(target).unwrap();
        let others = pushes.begin(&Credentials::new(Some(&header)), &target);
        others.iter().map(|it| it.as_str().to_owned()).collect()
    }

    #[test]
    fn a_login_sees_its_own_pushes_and_no_others() {
        let pushes = ConcurrentPushes::new().unwrap();
        assert!(begin(&pushes, "Basic alice", "a").is_empty());
        assert!(begin(&pushes, "Basic bob", "b").is_empty());
        assert_eq!(begin(&pushes, "Basic alice", "c"), ["a"]);
        assert_eq!(begin(&pushes, "Basic alice", "a"), ["c"]);
        assert_eq!(begin(&pushes, "Basic alice", "d"), ["a", "c"]);
    }

    #[test]
    fn few_pushes_are_kept() {
        let pushes = ConcurrentPushes::new().unwrap();
        for number in 0..100 {
            begin(&pushes, "Basic alice", &format!("r{number}"));
        }
        let kept = begin(&pushes, "Basic alice", "x");
        assert_eq!((kept.len(), &*kept[0]), (REPOSITORIES, "r99"));
    }
}

//! Which repositories a caller may be tried to pull from. It narrows what is tried, by what the
//! caller's own credentials say or have done; it proves nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Credentials;
use super::credentials::Scheme;
use super::unverified::Unverified;
use crate::memory::{Fingerprints, Kept, Memory, NoRandomness};
use crate::oci::RepositoryName;

/// Logins whose repositories are remembered.
const LOGINS: u64 = 4096;
/// Repositories that are remembered of one login: those it used last.
const REPOSITORIES: usize = 256;
/// For how long after the last use.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// The repositories from which something is tried for a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pullable {
    /// Every user may pull everything.
    Everything,
    /// These.
    These(HashSet<String>),
}

impl Pullable {
    /// Whether it is tried.
    #[must_use]
    pub fn includes(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::Everything => true,
            Self::These(names) => names.contains(repository.as_str()),
        }
    }

    #[cfg(test)]
    pub(crate) fn these<const N: usize>(names: [&str; N]) -> Self {
        Self::These(names.map(str::to_owned).into())
    }
}

/// What logins were seen to use with success.
#[derive(Debug)]
pub struct Used {
    fingerprints: Fingerprints,
    logins: Memory<Arc<Mutex<VecDeque<String>>>>,
}

impl Used {
    /// Has seen nothing yet.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            fingerprints: Fingerprints::new()?,
            logins: Memory::new(LOGINS),
        })
    }

    /// The registry let these credentials pull from or push to a repository.
    ///
    /// A token's own claims say more than that, so only other credentials are remembered.
    pub async fn learn(&self, credentials: &Credentials, repository: &RepositoryName) {
        let (Scheme::Basic(_) | Scheme::Other, Some(header)) =
            (credentials.scheme(), credentials.header())
        else {
            return;
        };
        let login = self.fingerprints.of(&[header.as_bytes()]);
        let known = self.logins.get(&login).await.unwrap_or_default();
        {
            // No code panics while it holds this lock, and each change is whole in itself.
            let mut names = known.lock().unwrap_or_else(PoisonError::into_inner);
            if names.back().is_some_and(|last| last == repository.as_str()) {
                return;
            }
            names.retain(|name| name != repository.as_str());
            if names.len() >= REPOSITORIES {
                names.pop_front();
            }
            names.push_back(repository.as_str().to_owned());
        }
        let kept = Kept {
            answer: known,
            lifetime: REMEMBERED_FOR,
        };
        self.logins.insert(login, kept).await;
    }

    /// What a bearer token names, and else what this very credential was seen to use.
    pub async fn by(&self, credentials: &Credentials) -> Pullable {
        let names = match credentials.scheme() {
            Scheme::None => HashSet::new(),
            Scheme::Bearer(token) => Unverified::read(token).pulls(),
            Scheme::Basic(_) | Scheme::Other => {
                let header = credentials.header().map(http::HeaderValue::as_bytes);
                let login = self.fingerprints.of(&[header.unwrap_or_default()]);
                let known = self.logins.get(&login).await.unwrap_or_default();
                let names = known.lock().unwrap_or_else(PoisonError::into_inner);
                names.iter().cloned().collect()
            }
        };
        Pullable::These(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn login(text: &'static str) -> Credentials {
        Credentials::new(Some(&HeaderValue::from_static(text)))
    }

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_login_is_tried_where_it_was_used_and_nobody_elses() {
        let used = Used::new().unwrap();
        let (alice, bob) = (login("Basic YTpi"), login("Basic Yjpi"));
        used.learn(&alice, &name("a")).await;
        used.learn(&alice, &name("b")).await;
        assert_eq!(used.by(&alice).await, Pullable::these(["a", "b"]));
        assert_eq!(used.by(&bob).await, Pullable::these([]));
        let nobody = Credentials::new(None);
        used.learn(&nobody, &name("a")).await;
        assert_eq!(used.by(&nobody).await, Pullable::these([]));
    }

    #[tokio::test]
    async fn of_many_repositories_the_last_are_remembered() {
        let (used, alice) = (Used::new().unwrap(), login("Basic YTpi"));
        for number in 0..=REPOSITORIES {
            used.learn(&alice, &name(&format!("r{number}"))).await;
        }
        let pullable = used.by(&alice).await;
        assert!(!pullable.includes(&name("r0")));
        assert!(pullable.includes(&name("r1")));
        assert!(pullable.includes(&name(&format!("r{REPOSITORIES}"))));
    }

    #[tokio::test]
    async fn a_token_is_tried_where_it_names_pull_itself() {
        // {"access":[{"type":"repository","name":"a","actions":["pull"]},
        //            {"type":"repository","name":"b","actions":["push"]}]}
        let token = "Bearer e30.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6ImEiLCJhY3Rpb25zIjpbInB1bGwiXX0seyJ0eXBlIjoicmVwb3NpdG9yeSIsIm5hbWUiOiJiIiwiYWN0aW9ucyI6WyJwdXNoIl19XX0.c2ln";
        let used = Used::new().unwrap();
        used.learn(&login(token), &name("c")).await;
        assert_eq!(used.by(&login(token)).await, Pullable::these(["a"]));
    }
}

//! Looks in the store itself for repositories that hold a layer, likeliest first.
//!
//! Only repositories that the caller may pull are looked at, and all of them until the limits are
//! reached. So a caller who may pull no holder causes the same calls whether there is one or not.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::auth::PullScope;
use crate::config::Sources;
use crate::discovery::candidates::{self, CallerRights};
use crate::discovery::{Discovery, SharedSources};
use crate::oci::{BlobRef, RepositoryName};
use crate::store::{DirectoryListing, OpenStore, StoreError};
use crate::telemetry::labels::SearchResult;

/// How many of the repositories used last are looked at before those of the disk.
const MOST_RECENT: usize = 64;

/// A search for one request.
#[derive(Debug, Clone)]
pub(crate) struct StoreSearch {
    pub(crate) target: BlobRef,
    /// The repositories that the caller may pull, as far as it is known.
    pub(crate) pullable: PullScope,
    /// Repositories that were tried already.
    pub(crate) tried: Vec<RepositoryName>,
}

/// The repositories that a search found, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SearchOutcome {
    pub(crate) found: Vec<RepositoryName>,
    pub(crate) result: SearchResult,
}

/// A search in progress.
struct Running<'a> {
    search: &'a StoreSearch,
    discovery: &'a Discovery,
    store: &'a OpenStore<'a>,
    until: Instant,
    /// So many repositories may still be looked at.
    left: u32,
    /// Holders beyond so many are not looked for.
    most_found: usize,
    looked_at: HashSet<RepositoryName>,
    found: Vec<RepositoryName>,
}

/// Why a search ends before all repositories were looked at.
enum Stop {
    /// Enough holders are found.
    Found,
    /// The operator's limits are reached.
    Limit,
    Failed(StoreError),
}

impl StoreSearch {
    /// Whether there is anything to look at for this caller.
    pub(crate) fn is_worthwhile(&self, discovery: &Discovery) -> bool {
        let settings = discovery.settings();
        let is_on = settings.search_repositories > 0;
        let may_pull_something = match &self.pullable {
            PullScope::Everything => true,
            PullScope::These(names) => {
                let target = self.target.repository.as_str();
                names.iter().any(|name| name != target)
            }
        };
        is_on && (may_pull_something || !settings.shared.is_empty())
    }

    /// Looks for holders of the layer. Blocks.
    pub(crate) fn run(
        &self,
        discovery: &Discovery,
        store: &OpenStore<'_>,
    ) -> Result<SearchOutcome, StoreError> {
        let mut running = Running {
            search: self,
            discovery,
            store,
            until: Instant::now() + discovery.settings().search_time,
            left: discovery.settings().search_repositories,
            most_found: match self.pullable {
                // No such caller is refused a source.
                PullScope::Everything => 1,
                PullScope::These(_) => candidates::MOST,
            },
            looked_at: self.tried.iter().cloned().collect(),
            found: Vec::new(),
        };
        let stop = running.look_everywhere();
        let result = match stop {
            Err(Stop::Failed(error)) => return Err(error),
            _ if !running.found.is_empty() => SearchResult::Found,
            Err(Stop::Limit) => SearchResult::Limit,
            Ok(()) | Err(Stop::Found) => SearchResult::NotFound,
        };
        Ok(SearchOutcome {
            found: running.found,
            result,
        })
    }
}

impl Running<'_> {
    fn look_everywhere(&mut self) -> Result<(), Stop> {
        let settings = self.discovery.settings();
        match &self.search.pullable {
            PullScope::Everything => {
                // Such a caller may know which blobs exist. The existence of a blob that others
                // hold must not change what any other caller causes.
                if self.blob_is_missing()? {
                    return Ok(());
                }
                let recent = self.discovery.active.latest(MOST_RECENT, |_| true);
                self.look_at_each(recent)?;
                if let Some(namespace) = self.search.target.repository.namespace() {
                    self.look_below(namespace, None)?;
                }
            }
            PullScope::These(names) => {
                let names = names
                    .iter()
                    .filter_map(|name| RepositoryName::parse(name).ok());
                let mut names: Vec<_> = names.collect();
                names.sort_by_cached_key(|name| {
                    let is_far = !name.is_beside(&self.search.target.repository);
                    (is_far, name.as_str().to_owned())
                });
                self.look_at_each(names)?;
            }
        }
        for pattern in settings.shared.texts() {
            let (start, depth) = start_of(pattern);
            match RepositoryName::parse(pattern) {
                Ok(name) => self.look_at(name)?,
                Err(_) => self.look_below(start, depth)?,
            }
        }
        if self.search.pullable == PullScope::Everything && settings.sources == Sources::Any {
            self.look_below("", None)?;
        }
        Ok(())
    }

    fn blob_is_missing(&self) -> Result<bool, Stop> {
        let data = self.store.data(&self.search.target.digest);
        Ok(data.map_err(Stop::Failed)?.is_none())
    }

    fn look_at_each(&mut self, names: Vec<RepositoryName>) -> Result<(), Stop> {
        names.into_iter().try_for_each(|name| self.look_at(name))
    }

    /// Looks at all repositories below a directory, the upper ones first, and at most so many
    /// levels of them.
    fn look_below(&mut self, start: &str, depth: Option<usize>) -> Result<(), Stop> {
        let mut directories = VecDeque::from([(start.to_owned(), 0)]);
        while let Some((directory, level)) = directories.pop_front() {
            if depth.is_some_and(|depth| level >= depth) {
                continue;
            }
            self.check_time()?;
            for part in &self.list(&directory)?.parts {
                let below = if directory.is_empty() {
                    part.clone()
                } else {
                    format!("{directory}/{part}")
                };
                if let Ok(name) = RepositoryName::parse(&below) {
                    self.look_at(name)?;
                    directories.push_back((below, level + 1));
                }
            }
        }
        Ok(())
    }

    /// Looks whether a repository holds the layer, if it may be a source for the caller.
    fn look_at(&mut self, name: RepositoryName) -> Result<(), Stop> {
        let (settings, target) = (self.discovery.settings(), &self.search.target);
        let rights = CallerRights {
            pullable: &self.search.pullable,
            shared: SharedSources::IsEnough,
        };
        let may_try = candidates::may_try(settings, &target.repository, &name, rights);
        if !may_try || !name.is_mountable() || self.looked_at.contains(&name) {
            return Ok(());
        }
        if self.left == 0 {
            return Err(Stop::Limit);
        }
        self.left -= 1;
        self.check_time()?;
        let has_link = match self.store.has_link(&name, &target.digest) {
            Err(error) if error.is_stale() => return Err(Stop::Failed(error)),
            looked => looked.unwrap_or(false),
        };
        self.looked_at.insert(name.clone());
        if has_link {
            self.found.push(name);
        }
        if self.found.len() >= self.most_found {
            return Err(Stop::Found);
        }
        Ok(())
    }

    /// The directory as it is; empty if it cannot be read.
    fn list(&self, directory: &str) -> Result<Arc<DirectoryListing>, Stop> {
        match self.discovery.directories.list(self.store, directory) {
            Err(error) if error.is_stale() => Err(Stop::Failed(error)),
            listed => Ok(listed.unwrap_or_else(|_| DirectoryListing::empty().into())),
        }
    }

    fn check_time(&self) -> Result<(), Stop> {
        if Instant::now() < self.until {
            Ok(())
        } else {
            Err(Stop::Limit)
        }
    }
}

/// The directory below which all repositories are that match a pattern, and how many levels of
/// them there are; `None` if any number.
fn start_of(pattern: &str) -> (&str, Option<usize>) {
    let fixed = pattern.find('*').map_or(pattern, |star| &pattern[..star]);
    let start = fixed.rfind('/').map_or("", |slash| &fixed[..slash]);
    let below = pattern[start.len()..].trim_start_matches('/');
    let depth = (!below.contains("**")).then(|| below.split('/').count());
    (start, depth)
}

#[cfg(test)]
mod tests;

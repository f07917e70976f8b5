//! Layers that the registry has, and mounts elsewhere only after a manifest names them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use crate::discovery::uploads::Login;
use crate::discovery::uploads::leader::{Leader, LeaderId, Progress, Stage};
use crate::discovery::uploads::table::{Asking, UploadTable};
use crate::oci::{Digest, RepositoryName};

/// From at least so many pushes on, those that have ended are dropped.
const MANY_PUSHES: usize = 1024;
/// The most clients that are looked at to find out whether two would wait for each other.
const MOST_LOOKED_AT: usize = 256;

/// What is known of pushes whose layers may still need their manifest.
#[derive(Debug, Default)]
pub(in crate::discovery::uploads) struct Pushes {
    /// What shows whether a push goes on: its requests and its uploaded layers hold it.
    progress: HashMap<Login, Weak<Progress>>,
    /// From so many pushes on, those that have ended are dropped.
    many: usize,
    /// The layers of each repository that no manifest names yet.
    uploaded: HashMap<RepositoryName, Vec<([u8; 32], LeaderId)>>,
    /// The layers for which HEADs of a push are held.
    waiting: HashMap<Login, Vec<[u8; 32]>>,
}

impl Pushes {
    /// What shows whether a push goes on.
    pub(in crate::discovery::uploads) fn progress(&mut self, login: Login) -> Arc<Progress> {
        if let Some(progress) = self.current(&login) {
            return progress;
        }
        if self.progress.len() >= self.many.max(MANY_PUSHES) {
            self.progress
                .retain(|_, progress| progress.strong_count() > 0);
            // Many connections may be open: not each new push looks at all of them.
            self.many = 2 * self.progress.len();
        }
        let progress = Progress::begin();
        self.progress.insert(login, Arc::downgrade(&progress));
        progress
    }

    /// The same, if the push has a request in flight or an uploaded layer.
    pub(super) fn current(&self, login: &Login) -> Option<Arc<Progress>> {
        self.progress.get(login).and_then(Weak::upgrade)
    }

    pub(in crate::discovery::uploads) fn begin_wait(&mut self, login: Login, digest: [u8; 32]) {
        self.waiting.entry(login).or_default().push(digest);
    }

    pub(in crate::discovery::uploads) fn end_wait(&mut self, login: &Login, digest: &[u8; 32]) {
        if let Some(waiting) = self.waiting.get_mut(login) {
            if let Some(place) = waiting.iter().position(|it| it == digest) {
                waiting.swap_remove(place);
            }
            if waiting.is_empty() {
                self.waiting.remove(login);
            }
        }
    }

    pub(super) fn forget_uploaded(&mut self, repository: &RepositoryName, id: LeaderId) {
        if let Some(layers) = self.uploaded.get_mut(repository) {
            layers.retain(|(_, uploaded)| *uploaded != id);
            if layers.is_empty() {
                self.uploaded.remove(repository);
            }
        }
    }
}

impl UploadTable {
    /// The registry has a layer, and shows it in this repository. It mounts the layer elsewhere once
    /// a manifest names it.
    pub(in crate::discovery::uploads) fn uploaded(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
    ) {
        let digest = digest.bytes();
        let Some(flight) = self.layers.get_mut(&digest) else {
            return;
        };
        let leaders = flight.leaders.iter_mut();
        let of_it = leaders.filter(|it| it.pusher.repository == *repository);
        for leader in of_it {
            let Stage::Uploading(upload) = &leader.stage else {
                continue;
            };
            self.sessions.remove(&upload.session);
            let time = upload.began.elapsed();
            self.rates.record(upload.progress.received(), time);
            let progress = self.pushes.progress(leader.pusher.login());
            progress.add(0);
            leader.stage = Stage::Uploaded(progress);
            let layers = self.pushes.uploaded.entry(repository.clone()).or_default();
            layers.push((digest, leader.id));
        }
        flight.changed.send_replace(());
    }

    /// Whether a repository has layers that no manifest names yet.
    pub(in crate::discovery::uploads) fn has_uploaded_layers(
        &self,
        repository: &RepositoryName,
    ) -> bool {
        self.pushes.uploaded.contains_key(repository)
    }

    /// Whether no manifest names a layer of a repository yet.
    pub(in crate::discovery::uploads) fn waits_for_manifest(
        &self,
        repository: &RepositoryName,
        digest: &[u8; 32],
    ) -> bool {
        let flight = self.layers.get(digest);
        let mut leaders = flight.into_iter().flat_map(|flight| &flight.leaders);
        leaders.any(|it| it.is_uploaded() && it.pusher.repository == *repository)
    }

    /// The registry refused a manifest: the client's layers are likely never named by one.
    pub(in crate::discovery::uploads) fn manifest_refused(&mut self, login: &Login) {
        let layers = self.pushes.uploaded.get(&login.repository).cloned();
        for (digest, id) in layers.unwrap_or_default() {
            let leader = self.leader(&digest, id);
            if leader.is_some_and(|leader| leader.pusher.login() == *login) {
                self.remove(&digest, id);
            }
        }
    }

    /// Whether the HEAD would wait for a client whose manifest waits for the HEAD's own client,
    /// directly or through other clients. Neither would go on.
    pub(super) fn closes_circle(&self, asking: &Asking<'_>) -> bool {
        let own = asking.pusher.login();
        let logins = |digest: &[u8; 32]| {
            let flight = self.layers.get(digest);
            let leaders = flight.map_or(&[][..], |flight| &flight.leaders);
            let alive = leaders.iter().filter(|leader| !leader.is_dead());
            alive
                .map(|it: &Leader| it.pusher.login())
                .collect::<Vec<_>>()
        };
        let mut next = logins(&asking.digest);
        // A layer comes into the client's own repository without a manifest.
        next.retain(|login| *login != own);
        let mut seen = HashSet::new();
        while let Some(login) = next.pop() {
            if login == own || seen.len() >= MOST_LOOKED_AT {
                return true;
            }
            // Many of its layers may be waited for: what it waits for is looked at once.
            if !seen.insert(login.clone()) {
                continue;
            }
            let waiting = self.pushes.waiting.get(&login);
            for digest in waiting.into_iter().flatten() {
                next.extend(logins(digest).into_iter().filter(|it| !seen.contains(it)));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_that_go_on_are_looked_at_now_and_then_only() {
        let mut pushes = Pushes::default();
        let login = |number: usize| Login {
            repository: RepositoryName::parse(&format!("r{number}")).unwrap(),
            credential: None,
        };
        let open: Vec<_> = (0..=MANY_PUSHES)
            .map(|it| pushes.progress(login(it)))
            .collect();
        assert_eq!(pushes.many, 2 * MANY_PUSHES);
        drop(open);
        for number in 0..4 * MANY_PUSHES {
            pushes.progress(login(number));
            assert!(pushes.progress.len() <= 2 * MANY_PUSHES);
        }
        assert_eq!(pushes.many, 0);
    }
}

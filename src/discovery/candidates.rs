//! Picks the holders that are suggested to a caller, and their order.

use crate::auth::PullScope;
use crate::config::DiscoveryConfig;
use crate::discovery::index::SharedName;
use crate::oci::RepositoryName;

/// The most sources that are tried for one request, or requested with one token.
pub(crate) const MOST: usize = 8;

/// Whether a shared repository may be tried for a caller who is not known to pull it otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedSources {
    /// Yes: the declaration suffices, or the registry itself decides by the caller's identity.
    IsEnough,
    /// No: the registry decides by the token alone.
    MustBeNamed,
}

/// The repositories that may be tried for a caller.
#[derive(Debug, Clone, Copy)]
pub struct CallerRights<'a> {
    /// The repositories that the caller is known to pull.
    pub pullable: &'a PullScope,
    /// Whether shared ones are tried besides.
    pub shared: SharedSources,
}

/// The holders that the operator and the caller's permissions allow. Those in the target's
/// namespace come first, then shared ones, then the rest.
pub(crate) fn select_candidates(
    settings: &DiscoveryConfig,
    target: &RepositoryName,
    holders: &[SharedName],
    rights: CallerRights<'_>,
) -> Vec<RepositoryName> {
    let (mut near, mut shared, mut far) = (Vec::new(), Vec::new(), Vec::new());
    for holder in holders {
        let is_shared = settings.shared.matches(holder);
        let is_near = holder.is_beside(target);
        if !may_try(settings, target, holder, rights) {
            continue;
        }
        let place = match (is_near, is_shared) {
            (true, _) => &mut near,
            (false, true) => &mut shared,
            (false, false) => &mut far,
        };
        if place.len() < MOST {
            place.push((**holder).clone());
        }
    }
    let mut all: Vec<_> = near.into_iter().chain(shared).chain(far).collect();
    all.truncate(MOST);
    all
}

/// Whether a repository may be tried: the operator allows it, and the caller may likely pull it.
pub(crate) fn may_try(
    settings: &DiscoveryConfig,
    target: &RepositoryName,
    source: &RepositoryName,
    rights: CallerRights<'_>,
) -> bool {
    let counts_as_shared =
        || rights.shared == SharedSources::IsEnough && settings.shared.matches(source);
    source != target
        && settings.allows(target, source)
        && (rights.pullable.includes(source) || counts_as_shared())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::oci::Patterns;
    use std::sync::Arc;

    fn picked(sources: Sources, pullable: &PullScope, holders: &[&str]) -> Vec<String> {
        let shared = SharedSources::IsEnough;
        picked_with(sources, CallerRights { pullable, shared }, holders)
    }

    fn picked_with(sources: Sources, rights: CallerRights<'_>, holders: &[&str]) -> Vec<String> {
        let settings = DiscoveryConfig {
            on_head: true,
            new_repositories: true,
            sources,
            shared: Patterns::parse(["base/*"]).unwrap(),
            ..DiscoveryConfig::default()
        };
        let name = |text: &&str| Arc::new(RepositoryName::parse(text).unwrap());
        let holders: Vec<_> = holders.iter().map(name).collect();
        let target = RepositoryName::parse("team/app").unwrap();
        select_candidates(&settings, &target, &holders, rights)
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect()
    }

    const HOLDERS: &[&str] = &[
        "other/x", "base/os", "team/app", "team/lib", "base/a/b", "team",
    ];

    #[test]
    fn the_operators_setting_decides_about_sources() {
        let all = PullScope::Everything;
        assert_eq!(picked(Sources::Shared, &all, HOLDERS), ["base/os"]);
        assert_eq!(
            picked(Sources::Namespace, &all, HOLDERS),
            ["team/lib", "base/os"]
        );
        assert_eq!(
            picked(Sources::Any, &all, HOLDERS),
            ["team/lib", "base/os", "other/x", "base/a/b", "team"]
        );
    }

    #[test]
    fn what_a_caller_may_not_pull_is_not_tried() {
        let some = PullScope::these(["other/x"]);
        assert_eq!(picked(Sources::Any, &some, HOLDERS), ["base/os", "other/x"]);
        let none = PullScope::these([]);
        assert_eq!(picked(Sources::Any, &none, HOLDERS), ["base/os"]);
        assert!(picked(Sources::Any, &none, &["other/x", "team/lib"]).is_empty());
        let by_token = |pullable| {
            let shared = SharedSources::MustBeNamed;
            picked_with(Sources::Any, CallerRights { pullable, shared }, HOLDERS)
        };
        assert!(by_token(&none).is_empty());
        assert_eq!(by_token(&some), ["other/x"]);
    }

    #[test]
    fn eight_are_tried_at_most_and_the_nearest_first() {
        let names: Vec<_> = (0..20).map(|n| format!("far/{n}")).collect();
        let mut holders: Vec<&str> = names.iter().map(String::as_str).collect();
        holders.extend(["base/one", "team/last"]);
        let picked = picked(Sources::Any, &PullScope::Everything, &holders);
        assert_eq!(picked.len(), 8);
        assert_eq!(picked[..3], ["team/last", "base/one", "far/0"]);
    }
}

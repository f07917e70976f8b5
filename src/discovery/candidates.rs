//! Which holders are suggested to whom, and in which order.

use super::index::Name;
use crate::access::Pullable;
use crate::config::{Discovery, Sources};
use crate::oci::RepositoryName;

/// As many are tried for one request.
const MOST: usize = 8;

/// Those that the operator and the caller's own rights leave: the target's namespace first, then
/// what is declared shared, then the rest.
pub(super) fn pick(
    settings: &Discovery,
    target: &RepositoryName,
    holders: &[Name],
    pullable: &Pullable,
) -> Vec<RepositoryName> {
    let (mut near, mut shared, mut far) = (Vec::new(), Vec::new(), Vec::new());
    for holder in holders {
        let is_shared = settings.shared.matches(holder);
        let is_near = holder.namespace() == target.namespace();
        let is_allowed = match settings.sources {
            Sources::Shared => is_shared,
            Sources::Namespace => is_shared || is_near,
            Sources::Any => true,
        };
        if **holder == *target || !is_allowed || !(is_shared || pullable.includes(holder)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Patterns;
    use std::sync::Arc;

    fn picked(sources: Sources, pullable: &Pullable, holders: &[&str]) -> Vec<String> {
        let settings = Discovery {
            on_head: true,
            sources,
            shared: Patterns::parse(["base/*"]).unwrap(),
            widen_scopes: false,
        };
        let name = |text: &&str| Arc::new(RepositoryName::parse(text).unwrap());
        let holders: Vec<_> = holders.iter().map(name).collect();
        let target = RepositoryName::parse("team/app").unwrap();
        pick(&settings, &target, &holders, pullable)
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect()
    }

    const HOLDERS: &[&str] = &[
        "other/x", "base/os", "team/app", "team/lib", "base/a/b", "team",
    ];

    #[test]
    fn the_operators_word_decides_from_where() {
        let all = Pullable::Everything;
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
        let some = Pullable::these(["other/x"]);
        assert_eq!(picked(Sources::Any, &some, HOLDERS), ["base/os", "other/x"]);
        let none = Pullable::these([]);
        assert_eq!(picked(Sources::Any, &none, HOLDERS), ["base/os"]);
        assert!(picked(Sources::Any, &none, &["other/x", "team/lib"]).is_empty());
    }

    #[test]
    fn eight_are_tried_at_most_and_the_nearest_first() {
        let names: Vec<_> = (0..20).map(|n| format!("far/{n}")).collect();
        let mut holders: Vec<&str> = names.iter().map(String::as_str).collect();
        holders.extend(["base/one", "team/last"]);
        let picked = picked(Sources::Any, &Pullable::Everything, &holders);
        assert_eq!(picked.len(), 8);
        assert_eq!(picked[..3], ["team/last", "base/one", "far/0"]);
    }
}

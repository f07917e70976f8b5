//! The scope of a token request.

use crate::auth::UnverifiedClaims;

/// Actions on one resource.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Scope {
    /// Parses `type:name:action,action`; a name may hold colons.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions = actions.split(',').map(str::to_owned);
        Some(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions: actions.filter(|action| !action.is_empty()).collect(),
        })
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn asks_for(&self, action: &str) -> bool {
        self.actions.iter().any(|requested| requested == action)
    }

    /// Whether a token lists every requested action.
    pub(crate) fn is_granted_by(&self, token: &UnverifiedClaims) -> bool {
        let is_listed = |action: &String| token.list_scope(&self.kind, &self.name, action);
        self.actions.iter().all(is_listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_three_parts() {
        let scope = Scope::parse("repository:host:5000/a/b:pull,push").unwrap();
        assert_eq!(scope.kind, "repository");
        assert_eq!(scope.name, "host:5000/a/b");
        assert_eq!(scope.actions, ["pull", "push"]);
        assert_eq!(Scope::parse("repository:a"), None);
        assert_eq!(Scope::parse(""), None);
    }
}

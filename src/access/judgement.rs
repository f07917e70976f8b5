//! What is said of credentials here.

use crate::workers::Unfinished;

/// What credentials give, as far as can be told here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Everything that is wished for; with the user's name.
    Allowed(Option<String>),
    /// Not everything that is wished for.
    Denied,
    /// Only the registry can tell.
    Unknown,
    /// It was not found out in time.
    Unfinished(Unfinished),
}

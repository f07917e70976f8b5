//! What the registry behind is, and that nothing is set which belongs to another kind.

use crate::config::ConfigError;
use crate::config::kind::Kind;
use crate::config::schema::File;
use crate::config::validate::single::{choice, invalid};
use crate::config::validate::{distribution, others};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Distribution,
    Pulp,
    Generic,
}

pub(crate) fn validate(file: &File, warnings: &mut Vec<String>) -> Result<Kind, ConfigError> {
    let words = [
        ("distribution", Word::Distribution),
        ("pulp", Word::Pulp),
        ("generic", Word::Generic),
    ];
    let word = choice(
        "upstream.kind",
        file.upstream.kind.as_deref(),
        &words,
        Word::Distribution,
    )?;
    refuse_others_settings(file, word)?;
    Ok(match word {
        Word::Distribution => Kind::Distribution(distribution::validate(file, warnings)?),
        Word::Pulp => Kind::Pulp(others::pulp(file)?),
        Word::Generic => Kind::Generic(others::generic(file)?),
    })
}

/// A setting without effect would promise what is not done.
fn refuse_others_settings(file: &File, word: Word) -> Result<(), ConfigError> {
    let (upstream, store, access) = (&file.upstream, &file.store, &file.access);
    let (filesystem, mount) = (store.filesystem.as_ref(), &file.mount);
    let is_access_set = access.mode.is_some()
        || access.decision_ttl.is_some()
        || access.token.is_some()
        || access.htpasswd.is_some();
    let says_more = upstream.external_url.is_some()
        || upstream.relative_urls.is_some()
        || !upstream.response_headers.is_empty();
    let discovers = file.discovery.enabled == Some(true);
    let distributions = [
        ("upstream.version", upstream.version.is_some()),
        (
            "upstream.external_url, relative_urls and response_headers",
            says_more,
        ),
        ("store.filesystem", filesystem.is_some()),
        ("store.durability", store.durability.is_some()),
        ("store.verify", store.verify.is_some()),
        ("store.verify_rate", store.verify_rate.is_some()),
        ("access", is_access_set),
        ("mount.dry_run", mount.dry_run == Some(true)),
        (
            "notifications.endpoints",
            !file.notifications.endpoints.is_empty(),
        ),
        (
            "mount.time_budget",
            mount.time_budget.is_some() && !discovers,
        ),
    ];
    let is_distribution = word == Word::Distribution;
    let found = distributions.into_iter().find(|(_, is_set)| *is_set);
    if let Some((setting, _)) = found.filter(|_| !is_distribution) {
        let reason = "is of use only with upstream.kind: distribution, where links are written";
        return Err(invalid(setting, reason));
    }
    if store.artifacts.is_some() && word != Word::Pulp {
        let reason = "is of use only with upstream.kind: pulp";
        return Err(invalid("store.artifacts", reason));
    }
    if file.mend.statuses.is_some() && word != Word::Generic {
        let reason = "is of use only with upstream.kind: generic";
        return Err(invalid("mend.statuses", reason));
    }
    if mount.source_denied.is_some() && word == Word::Pulp {
        let reason = "is of no use with upstream.kind: pulp, whose refusals stay as they are";
        return Err(invalid("mount.source_denied", reason));
    }
    Ok(())
}

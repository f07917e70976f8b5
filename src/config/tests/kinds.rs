//! What belongs to one kind of registry.

use super::*;

#[test]
fn a_registry_of_version_3_may_have_a_key_set() {
    let text = "upstream: {url: 'http://a', version: 3}\n\
                store: {filesystem: {rootdirectory: /r}}\n\
                access: {mode: token, token: {issuer: i, service: s, jwks: /j, \
                signingalgorithms: [RS256, HS256]}}\n";
    let config = load(text).unwrap();
    let AccessMode::Token(rules) = &distribution(&config).access.mode else {
        panic!("{:?}", distribution(&config).access.mode);
    };
    assert_eq!(rules.version, DistributionVersion::Three);
    assert_eq!(rules.jwks.as_deref(), Some(Path::new("/j")));
    assert_eq!(rules.algorithms, ["RS256", "HS256"]);
    assert!(config.warnings[0].contains("shared secret"));
}

#[test]
fn pulp_needs_no_store() {
    let config = load(PULP).unwrap();
    assert!(matches!(&config.kind, RegistryKind::Pulp(pulp) if pulp.artifacts.is_none()));
    assert!(config.token_endpoint.is_none());
    let artifacts = "store: {artifacts: {rootdirectory: /var/lib/pulp/media}}\n";
    let config = load(&format!("{PULP}{artifacts}")).unwrap();
    let RegistryKind::Pulp(PulpConfig {
        artifacts: Some(artifacts),
        ..
    }) = &config.kind
    else {
        panic!("{config:?}")
    };
    assert_eq!(artifacts.max_size, 512 * 1024 * 1024);
    assert_eq!(artifacts.concurrency, 2);
    assert_eq!(artifacts.deadline, Duration::from_secs(10));
}

#[test]
fn tokens_are_cached_if_configured() {
    let config = load(&format!(
        "{PULP}token_endpoint: {{cache: {{enabled: true}}}}\n"
    ))
    .unwrap();
    let cache = config.token_endpoint.unwrap();
    assert_eq!(cache.path, "/token/");
    assert_eq!(cache.remembered_for, Some(Duration::from_secs(30)));
    let elsewhere = "token_endpoint: {path: /jwt/auth, cache: {enabled: true, ttl: 5s}}\n";
    for upstream in [GENERIC, MINIMAL] {
        let cache = load(&format!("{upstream}{elsewhere}"))
            .unwrap()
            .token_endpoint;
        let cache = cache.unwrap();
        assert_eq!(
            (&*cache.path, cache.remembered_for),
            ("/jwt/auth", Some(Duration::from_secs(5)))
        );
    }
}

#[test]
fn responses_of_four_statuses_are_mended_by_default() {
    let statuses = |text: &str| match load(text).unwrap().kind {
        RegistryKind::Generic(generic) => generic
            .statuses
            .iter()
            .map(http::StatusCode::as_u16)
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(statuses(GENERIC), [400, 403, 404, 405]);
    assert!(statuses(&format!("{GENERIC}mend: {{statuses: []}}\n")).is_empty());
    let more = format!("{GENERIC}mend: {{statuses: [404, 422]}}\n");
    assert_eq!(statuses(&more), [404, 422]);
}

#[test]
fn a_setting_of_another_kind_or_out_of_bounds_is_named() {
    for (upstream, addition, setting) in [
        (PULP, "access: {mode: none}", "access"),
        (
            PULP,
            "store: {filesystem: {rootdirectory: /x}}",
            "store.filesystem",
        ),
        (PULP, "store: {durability: full}", "store.durability"),
        (PULP, "store: {verify: sha256}", "store.verify"),
        (GENERIC, "store: {verify_rate: 1MiB}", "store.verify_rate"),
        (PULP, "mount: {dry_run: true}", "mount.dry_run"),
        (GENERIC, "mount: {time_budget: 1s}", "mount.time_budget"),
        (
            PULP,
            "mount: {source_denied: challenge}",
            "mount.source_denied",
        ),
        (PULP, "mend: {statuses: [404]}", "mend.statuses"),
        (MINIMAL, "mend: {statuses: [404]}", "mend.statuses"),
        (
            GENERIC,
            "store: {artifacts: {rootdirectory: /x}}",
            "store.artifacts",
        ),
        (GENERIC, "mend: {statuses: [401]}", "mend.statuses"),
        (GENERIC, "mend: {statuses: [429]}", "mend.statuses"),
        (GENERIC, "mend: {statuses: [503]}", "mend.statuses"),
        (GENERIC, "mend: {statuses: [202]}", "mend.statuses"),
        (
            PULP,
            "store: {artifacts: {}}",
            "store.artifacts.rootdirectory",
        ),
        (
            PULP,
            "store: {artifacts: {rootdirectory: x}}",
            "store.artifacts.rootdirectory",
        ),
        (
            PULP,
            "store: {artifacts: {rootdirectory: /x, max_size: big}}",
            "store.artifacts.max_size",
        ),
        (
            PULP,
            "store: {artifacts: {rootdirectory: /x, concurrency: 0}}",
            "store.artifacts.concurrency",
        ),
        (
            PULP,
            "store: {artifacts: {rootdirectory: /x, deadline: 0s}}",
            "store.artifacts.deadline",
        ),
        (
            PULP,
            "store: {artifacts: {rootdirectory: /x, pull_through: [A]}}",
            "store.artifacts.pull_through",
        ),
        (
            PULP,
            "token_endpoint: {cache: {enabled: true, ttl: 61s}}",
            "token_endpoint.cache.ttl",
        ),
        (
            GENERIC,
            "token_endpoint: {cache: {enabled: true}}",
            "token_endpoint.path",
        ),
        (
            GENERIC,
            "token_endpoint: {path: token}",
            "token_endpoint.path",
        ),
        (
            GENERIC,
            "token_endpoint: {path: '/t?x'}",
            "token_endpoint.path",
        ),
    ] {
        let text = error(&format!("{upstream}{addition}\n"));
        assert!(
            text.starts_with(&format!("{setting}: ")),
            "{addition}: {text}"
        );
    }
}

use super::*;

const MINIMAL: &str = "
upstream: {url: 'http://127.0.0.1:5010'}
store: {filesystem: {rootdirectory: /srv/registry}}
";

/// The part of a configuration that belongs to distribution.
fn distribution(config: &Config) -> &Distribution {
    match &config.kind {
        Kind::Distribution(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &[], Overrides::default())
}

fn load_with(text: &str, env: &[(&str, &str)], flags: Overrides) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crossmount.yaml");
    std::fs::write(&path, text).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&path), env, flags)
}

fn error(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn two_settings_are_enough() {
    let config = load(MINIMAL).unwrap();
    assert!(matches!(
        distribution(&config).access.mode,
        AccessMode::Upstream
    ));
    assert_eq!(
        distribution(&config).access.decision_ttl,
        Duration::from_secs(10)
    );
    assert_eq!(distribution(&config).store.durability, Durability::Full);
    assert_eq!(
        distribution(&config).mount.source_denied,
        SourceDenied::Fallback
    );
    assert_eq!(
        distribution(&config).mount.time_budget,
        Duration::from_secs(2)
    );
    assert_eq!(config.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.admin.to_string(), "127.0.0.1:9500");
    assert_eq!(config.upstream.prefix, "/");
    assert!(config.warnings.is_empty());
}

#[test]
fn no_file_is_needed_where_environment_and_flags_say_all() {
    let env = [(
        "CROSSMOUNT_UPSTREAM_URL".to_owned(),
        "http://r:5000".to_owned(),
    )];
    let flags = Overrides {
        root: Some("/srv/registry".to_owned()),
        ..Overrides::default()
    };
    let config = Config::load(None, env, flags).unwrap();
    assert_eq!(config.upstream.url.to_string(), "http://r:5000");
    assert_eq!(distribution(&config).store.root, Path::new("/srv/registry"));
}

#[test]
fn flags_win_over_environment_and_environment_over_the_file() {
    let env = [
        ("CROSSMOUNT_UPSTREAM_URL", "http://env:1"),
        ("CROSSMOUNT_MOUNT_DRY_RUN", "true"),
        ("CROSSMOUNT_STORE_FILESYSTEM_ROOTDIRECTORY", "/env"),
        ("CROSSMOUNT_UPSTREAM_VERSION", "3"),
    ];
    let flags = Overrides {
        upstream: Some("http://flag:1".to_owned()),
        ..Overrides::default()
    };
    let config = load_with(MINIMAL, &env, flags).unwrap();
    assert_eq!(config.upstream.url.to_string(), "http://flag:1");
    assert_eq!(distribution(&config).store.root, Path::new("/env"));
    assert!(distribution(&config).mount.dry_run);
}

#[test]
fn an_unknown_variable_is_one_warning_and_others_programs_variables_are_none() {
    let env = [
        ("CROSSMOUNT_PORT", "tcp://10.0.0.1:5000"),
        ("REGISTRY_HTTP_ADDR", "x"),
    ];
    let config = load_with(MINIMAL, &env, Overrides::default()).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("CROSSMOUNT_PORT"));
}

#[test]
fn a_variable_without_a_value_is_as_if_it_were_not_there() {
    let env = [("CROSSMOUNT_LOG_LEVEL", ""), ("CROSSMOUNT_NO_SETTING", "")];
    let config = load_with(MINIMAL, &env, Overrides::default()).unwrap();
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert!(config.warnings.is_empty());
}

#[test]
fn the_folder_below_the_root_is_not_taken_for_the_root() {
    let text = MINIMAL.replace("/srv/registry", "/srv/registry/docker/registry/v2/");
    let message = error(&text);
    assert!(
        message.starts_with("store.filesystem.rootdirectory"),
        "{message}"
    );
}

#[test]
fn a_variable_of_the_wrong_kind_is_named() {
    let env = [("CROSSMOUNT_MOUNT_DRY_RUN", "yes")];
    let text = load_with(MINIMAL, &env, Overrides::default())
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "CROSSMOUNT_MOUNT_DRY_RUN: \"yes\" is not true or false"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let text = error("listen:\n  address: :5000\n  addres: :5001\n");
    assert!(
        text.contains("`addres`") && text.contains("line 3"),
        "{text}"
    );
    let text = error("listen: {}\nlog: {}\nlisten: {}\n");
    assert!(text.contains("duplicate field `listen`"), "{text}");
    let text = error("lisen: {}\n");
    assert!(
        text.contains("`lisen`") && text.contains("line 1"),
        "{text}"
    );
}

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    let later = MINIMAL.replace("store: {", "store: {verify: sha256, ");
    assert_ne!(later, MINIMAL);
    assert_eq!(
        error(&later),
        "store.verify: sha256: not supported in this version"
    );
    assert!(load(&format!("{MINIMAL}discovery: {{enabled: false}}\n")).is_ok());
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_what_would_be_right() {
    for (text, setting) in [
        ("", "upstream.url"),
        (
            "upstream: {url: 'http://a'}",
            "store.filesystem.rootdirectory",
        ),
        ("upstream: {url: nonsense}", "upstream.url"),
        ("upstream: {url: 'http://a', kind: harbor}", "upstream.kind"),
        (
            "upstream: {url: 'http://a', version: 4}",
            "upstream.version",
        ),
        (
            "upstream: {url: 'http://a', prefix: pfx}",
            "upstream.prefix",
        ),
        (
            "upstream: {url: 'http://a', ca_certificate: /x}",
            "upstream.ca_certificate",
        ),
        (
            "upstream: {url: 'http://a', external_url: '/x'}",
            "upstream.external_url",
        ),
        (
            "upstream: {url: 'http://a', timeouts: {read: '0s'}}",
            "upstream.timeouts.read",
        ),
        (
            "upstream: {url: 'http://a', trusted_proxies: [x]}",
            "upstream.trusted_proxies",
        ),
        (
            "upstream: {url: 'http://a', response_headers: {Location: [x]}}",
            "upstream.response_headers",
        ),
        ("mount: {time_budget: fast}", "mount.time_budget"),
        ("mount: {time_budget: 5}", "mount.time_budget"),
        ("mount: {time_budget: 25h}", "mount.time_budget"),
        (
            "upstream: {url: 'http://a', external_url: 'https://u:p@h'}",
            "upstream.external_url",
        ),
        (
            "upstream: {url: 'http://a', external_url: 'https://h/#f'}",
            "upstream.external_url",
        ),
        (
            "upstream: {url: 'https://a', ca_certificate: ''}",
            "upstream.ca_certificate",
        ),
        ("mount: {source_denied: no}", "mount.source_denied"),
        ("listen: {address: nowhere}", "listen.address"),
        ("listen: {tls: {key: /k}}", "listen.tls"),
        ("shutdown: {drain_delay: 30s}", "shutdown.timeout"),
        ("log: {level: loud}", "log.level"),
        ("access: {mode: ldap}", "access.mode"),
        ("access: {decision_ttl: 2m}", "access.decision_ttl"),
        ("access: {token: {issuer: a}}", "access.token"),
        (
            "access: {mode: none, htpasswd: {path: /p}}",
            "access.htpasswd",
        ),
        ("access: {mode: htpasswd}", "access.htpasswd.path"),
        ("access: {mode: token}", "access.token.issuer"),
        (
            "access: {mode: token, token: {issuer: a}}",
            "access.token.service",
        ),
        (
            "access: {mode: token, token: {issuer: a, service: b}}",
            "access.token.rootcertbundle",
        ),
        (
            "access: {mode: token, token: {issuer: a, service: b, jwks: /j}}",
            "access.token.jwks",
        ),
        (
            "access: {mode: token, token: {issuer: a, service: b, rootcertbundle: /c, signingalgorithms: [none]}}",
            "access.token.signingalgorithms",
        ),
    ] {
        let base = if text.starts_with("upstream") || text.is_empty() {
            String::new()
        } else {
            MINIMAL.to_owned()
        };
        let message = error(&format!("{base}{text}\n"));
        assert!(message.starts_with(setting), "{text}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

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

const PULP: &str = "upstream: {url: 'http://127.0.0.1:24817', kind: pulp}\n";
const GENERIC: &str = "upstream: {url: 'http://127.0.0.1:8080', kind: generic}\n";

#[test]
fn pulp_needs_no_store() {
    let config = load(PULP).unwrap();
    assert!(matches!(&config.kind, Kind::Pulp(pulp) if pulp.artifacts.is_none()));
    assert!(config.token_endpoint.is_none());
    let artifacts = "store: {artifacts: {rootdirectory: /var/lib/pulp/media}}\n";
    let config = load(&format!("{PULP}{artifacts}")).unwrap();
    let Kind::Pulp(Pulp {
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
fn tokens_are_remembered_where_that_is_said() {
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
fn answers_of_four_statuses_are_mended_where_nothing_is_said() {
    let statuses = |text: &str| match load(text).unwrap().kind {
        Kind::Generic(generic) => generic
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

#[test]
fn discovery_says_from_where_layers_may_come() {
    let shared = "discovery: {enabled: true, on_head: true, shared_sources: ['base/**']}\n";
    let config = load(&format!("{MINIMAL}{shared}")).unwrap();
    let discovery = distribution(&config).discovery.as_ref().unwrap();
    assert!(discovery.on_head);
    assert_eq!(discovery.sources, Sources::Shared);
    let name = crate::oci::RepositoryName::parse("base/a/b").unwrap();
    assert!(discovery.shared.matches(&name));
    let off = "discovery: {enabled: false, sources: any}\n";
    let config = load(&format!("{MINIMAL}{off}")).unwrap();
    assert!(distribution(&config).discovery.is_none());
    let open = format!("{MINIMAL}access: {{mode: none}}\n");
    let any = "discovery: {enabled: true, sources: any}\n";
    assert!(load(&format!("{open}{any}")).is_ok());
    for (text, setting) in [
        (
            format!("{MINIMAL}discovery: {{enabled: true}}"),
            "discovery.shared_sources",
        ),
        (
            format!("{MINIMAL}discovery: {{on_head: true}}"),
            "discovery.on_head",
        ),
        (
            format!("{PULP}discovery: {{widen_scopes: true}}"),
            "discovery.widen_scopes",
        ),
        (
            format!("{GENERIC}discovery: {{enabled: true, sources: any, widen_scopes: true}}"),
            "token_endpoint.path",
        ),
        (
            format!("{MINIMAL}discovery: {{enabled: true, shared_sources: ['A/*']}}"),
            "discovery.shared_sources",
        ),
        (
            format!("{MINIMAL}discovery: {{enabled: true, sources: some}}"),
            "discovery.sources",
        ),
        (
            format!("{open}discovery: {{enabled: true, sources: namespace}}"),
            "discovery.sources",
        ),
        (format!("{open}{shared}"), "discovery.sources"),
    ] {
        let text = error(&text);
        assert!(text.starts_with(&format!("{setting}: ")), "{text}");
    }
}

#[test]
fn discovery_in_front_of_other_registries_has_a_time_budget_too() {
    let any =
        "discovery: {enabled: true, sources: any, widen_scopes: true}\nmount: {time_budget: 1s}\n";
    let config = load(&format!("{PULP}{any}")).unwrap();
    let Kind::Pulp(pulp) = &config.kind else {
        panic!("{config:?}")
    };
    assert!(pulp.discovery.is_some());
    assert_eq!(pulp.time_budget, Duration::from_secs(1));
    let endpoint = config.token_endpoint.unwrap();
    assert!(endpoint.widens_scopes && endpoint.remembered_for.is_none());
    assert_eq!(endpoint.path, "/token/");
}

#[test]
fn endpoints_are_written_as_in_the_registrys_own_configuration() {
    let endpoint = |rest: &str| {
        format!(
            "{MINIMAL}notifications: {{endpoints: [{{name: a, url: 'https://u/e?x=y'{rest}}}]}}\n"
        )
    };
    let loaded = |text: &str| match load(text).unwrap().kind {
        Kind::Distribution(mut settings) => settings.endpoints.remove(0),
        _ => panic!("not distribution"),
    };
    let plain = loaded(&endpoint(""));
    let second = Duration::from_secs(1);
    assert_eq!(
        (plain.timeout, plain.threshold, plain.backoff),
        (second, 10, second)
    );
    let full = loaded(&endpoint(
        ", headers: {Authorization: [Bearer s3cret]}, timeout: 2s, threshold: 3, backoff: 5m",
    ));
    assert_eq!(
        (full.threshold, full.backoff),
        (3, Duration::from_secs(300))
    );
    assert_eq!(full.headers["authorization"], "Bearer s3cret");
    assert!(!format!("{full:?}").contains("s3cret"));
    for (text, word) in [
        (
            endpoint(", headers: {'a b': [c]}"),
            "a: \"a b\" is no header",
        ),
        (
            endpoint(", headers: {a: [\"s3cret\\n\"]}"),
            "a: the value of a is none of a header",
        ),
        (
            endpoint(", threshold: 0"),
            "a: threshold must be at least 1",
        ),
        (
            endpoint(", timeout: 0s"),
            "a: timeout must be longer than nothing",
        ),
        (
            endpoint("}, {name: a, url: 'http://b'"),
            "two are called \"a\"",
        ),
        (endpoint("}, {url: 'http://b'"), "number 2 has no name"),
        (
            endpoint("}, {name: b, url: 'http://s3cret@b'"),
            "b: url is not",
        ),
        (endpoint("}, {name: b, url: 'ftp://b'"), "b: url is not"),
        (
            endpoint("}, {name: b, url: 'http://1.2.3.400/'"),
            "b: url is not",
        ),
        (
            endpoint("}, {name: b, url: 'http://b:99999/s3cret'"),
            "b: url is not",
        ),
        (
            endpoint(", headers: {Authorization: Bearer s3cret}"),
            "invalid type: a text, expected a sequence",
        ),
        (endpoint(", ignore: {}"), "unknown field `ignore`"),
    ] {
        let error = error(&text);
        assert!(error.contains(word) && !error.contains("s3cret"), "{error}");
    }
    let others = "upstream: {url: 'http://a', kind: pulp}\nnotifications: {endpoints: [{name: a, url: 'http://b'}]}\n";
    assert!(error(others).contains("notifications.endpoints: is of use only"));
}

#[test]
fn a_registry_at_the_own_port_is_refused() {
    let with = |listen: &str, url: &str| {
        let text = format!(
            "listen: {{address: '{listen}'}}\nupstream: {{url: '{url}'}}\nstore: {{filesystem: {{rootdirectory: /x}}}}\n"
        );
        load(&text).map(drop).map_err(|error| error.to_string())
    };
    for (listen, url) in [
        (":5000", "http://127.0.0.1:5000"),
        ("0.0.0.0:5000", "http://localhost:5000"),
        ("[::]:5000", "http://[::1]:5000"),
        ("192.0.2.1:80", "http://192.0.2.1"),
    ] {
        let error = with(listen, url).unwrap_err();
        assert!(
            error.contains("its own registry"),
            "{listen} {url}: {error}"
        );
    }
    for (listen, url) in [
        (":5000", "http://127.0.0.1:5001"),
        (":5000", "http://registry:5000"),
        ("127.0.0.1:5000", "http://192.0.2.1:5000"),
        (":5000", "unix:/run/registry.sock"),
    ] {
        assert_eq!(with(listen, url), Ok(()), "{listen} {url}");
    }
}

#[test]
fn no_error_quotes_what_may_be_a_secret() {
    for (text, word) in [
        (
            "upstream: {url: 'http://u:s3cret@h'}\n",
            "upstream.url: must name a host and no user",
        ),
        (
            "upstream: {url: 'http://s3cret h'}\n",
            "upstream.url: is not a URL",
        ),
        (
            "upstream: {url: 'http://h', response_headers: {X-Key: \"a \\\" s3cret\"}}\n",
            "a text, expected a sequence",
        ),
        ("log: \"s3cret\"\n", "a text, expected"),
    ] {
        let error = error(text);
        assert!(error.contains(word) && !error.contains("s3cret"), "{error}");
    }
}

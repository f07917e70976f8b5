//! Where settings come from: the file, the environment, flags.

use super::*;

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
    assert_eq!(config.listen.address.to_string(), "0.0.0.0:5000");
    assert_eq!(config.listen.header_timeout, Duration::from_secs(60));
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9500");
    assert_eq!(config.upstream.prefix, "/");
    assert!(config.warnings.is_empty());
}

#[test]
fn blobs_are_hashed_if_configured() {
    let verify = |env: &[(&str, &str)]| {
        let config = load_with(MINIMAL, env, Overrides::default()).unwrap();
        distribution(&config).store.verify.map(|verify| verify.rate)
    };
    assert_eq!(verify(&[]), None);
    assert_eq!(verify(&[("CROSSMOUNT_STORE_VERIFY", "none")]), None);
    let on = ("CROSSMOUNT_STORE_VERIFY", "sha256");
    assert_eq!(verify(&[on]), Some(64 * 1024 * 1024));
    let rate = ("CROSSMOUNT_STORE_VERIFY_RATE", "5kB");
    assert_eq!(verify(&[on, rate]), Some(5000));
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
fn a_value_that_a_variable_replaces_is_not_looked_at() {
    let text = format!("{MINIMAL}mount: {{time_budget: '{{{{ budget }}}}'}}\n");
    let env = [("CROSSMOUNT_MOUNT_TIME_BUDGET", "3s")];
    let config = load_with(&text, &env, Overrides::default()).unwrap();
    let budget = distribution(&config).mount.time_budget;
    assert_eq!(budget, Duration::from_secs(3));
    assert!(error(&text).starts_with("mount.time_budget: \"{{ budget }}\" is not a duration"));
}

#[test]
fn a_text_that_looks_like_a_number_stays_as_it_was_written() {
    let token = "{issuer: 0x10, service: 1.10, rootcertbundle: 007}";
    let text = format!("{MINIMAL}access: {{mode: token, token: {token}}}\n");
    let env = [("CROSSMOUNT_LOG_LEVEL", "debug")];
    let config = load_with(&text, &env, Overrides::default()).unwrap();
    let AccessMode::Token(rules) = &distribution(&config).access.mode else {
        panic!("{config:?}")
    };
    assert_eq!((&*rules.issuer, &*rules.service), ("0x10", "1.10"));
    assert_eq!(rules.root_certificates.as_deref(), Some(Path::new("007")));
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
fn networks_of_mapped_addresses_are_of_ipv4() {
    for (given, meant) in [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:127.0.0.1", "127.0.0.1/32"),
        ("::ffff:a00:1/128", "10.0.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:0:0/95", "::ffff:0.0.0.0/95"),
        ("::/0", "::/0"),
        ("::1", "::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ] {
        let text = MINIMAL.replace("5010'", &format!("5010', trusted_proxies: ['{given}']"));
        let trusted = load(&text).unwrap().upstream.trusted_proxies;
        assert_eq!(trusted, [meant.parse().unwrap()], "{given}");
    }
}

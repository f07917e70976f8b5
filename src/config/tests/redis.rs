//! What replicas share.

use super::*;

fn with(redis: &str) -> String {
    format!("{GENERIC}discovery: {{enabled: true, sources: any, redis: {{{redis}}}}}\n")
}

fn redis(config: &Config) -> &RedisConfig {
    let RegistryKind::Generic(settings) = &config.kind else {
        panic!("{config:?}");
    };
    let discovery = settings.discovery.as_ref().unwrap();
    discovery.redis.as_ref().unwrap()
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn only_the_address_must_be_set() {
    let config = load(&with("url: 'redis://cache'")).unwrap();
    let redis = redis(&config);
    assert_eq!(redis.prefix, "crossmount:");
    assert_eq!(redis.timeout, Duration::from_millis(50));
    assert!(redis.ca_certificate.is_none() && redis.fingerprint_key.is_none());
}

#[test]
fn secrets_come_from_the_environment_too() {
    let env = [
        ("CROSSMOUNT_DISCOVERY_REDIS_URL", "redis://:hunter2@cache"),
        ("CROSSMOUNT_DISCOVERY_REDIS_FINGERPRINT_KEY", KEY),
    ];
    let text = format!("{GENERIC}discovery: {{enabled: true, sources: any}}\n");
    let config = load_with(&text, &env, Overrides::default()).unwrap();
    let redis = redis(&config);
    let login = redis.url.login.as_ref().unwrap().expose();
    assert_eq!(login.password, "hunter2");
    assert_eq!(redis.fingerprint_key.as_ref().unwrap().expose(), KEY);
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter") && !shown.contains(KEY), "{shown}");
}

#[test]
fn what_cannot_be_used_is_named_without_a_secret() {
    let url = "url: 'redis://:hunter2@cache'";
    let long = "x".repeat(65);
    for (settings, setting) in [
        ("prefix: x".to_owned(), "url"),
        ("url: ''".to_owned(), "url"),
        ("url: 'redis://hunter2@cache'".to_owned(), "url"),
        (format!("{url}, prefix: ''"), "prefix"),
        (format!("{url}, prefix: 'a b'"), "prefix"),
        (format!("{url}, prefix: 'a{{b}}'"), "prefix"),
        (format!("{url}, prefix: '{long}'"), "prefix"),
        (format!("{url}, timeout: 0s"), "timeout"),
        (format!("{url}, timeout: 2s"), "timeout"),
        (format!("{url}, timeout: soon"), "timeout"),
        (format!("{url}, ca_certificate: /ca.crt"), "ca_certificate"),
        (
            "url: 'rediss://cache', ca_certificate: ''".to_owned(),
            "ca_certificate",
        ),
        (
            format!("{url}, fingerprint_key: hunter2-is-too-short"),
            "fingerprint_key",
        ),
    ] {
        let text = error(&with(&settings));
        assert!(
            text.starts_with(&format!("discovery.redis.{setting}: ")),
            "{text}"
        );
        assert!(!text.contains("hunter"), "{text}");
    }
    let text = error(&format!(
        "{MINIMAL}discovery: {{redis: {{url: 'redis://a'}}}}"
    ));
    assert!(text.starts_with("discovery.redis: "), "{text}");
}

//! Who writes the links of mounts.

use super::*;

const WRITER: &str = "upstream: {url: 'http://127.0.0.1:5010'}\nmount: {writer: registry}\n";

fn written_by_registry(text: &str) -> RegistryWriterConfig {
    match load(text).unwrap().kind {
        RegistryKind::RegistryWriter(settings) => settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_registry_that_mounts_itself_needs_no_store() {
    let settings = written_by_registry(WRITER);
    assert_eq!(settings.access, AccessName::Upstream);
    assert!(settings.generic.discovery.is_none());
    for (name, access) in [
        ("none", AccessName::None),
        ("htpasswd", AccessName::Htpasswd),
        ("token", AccessName::Token),
    ] {
        let text = format!("{WRITER}access: {{mode: {name}}}\n");
        assert_eq!(written_by_registry(&text).access, access);
    }
}

#[test]
fn by_default_crossmount_writes_the_links() {
    let text = format!("{MINIMAL}mount: {{writer: store}}\n");
    assert_eq!(load(&text).unwrap(), load(MINIMAL).unwrap());
}

#[test]
fn what_only_a_writer_of_links_uses_is_refused() {
    for (addition, setting) in [
        (
            "store: {filesystem: {rootdirectory: /x}}",
            "store.filesystem",
        ),
        ("store: {durability: full}", "store.durability"),
        ("store: {verify: sha256}", "store.verify"),
        ("access: {htpasswd: {path: /x}}", "access.htpasswd"),
        ("access: {decision_ttl: 1s}", "access.decision_ttl"),
        ("access: {mode: token, token: {issuer: i}}", "access.token"),
        (
            "notifications: {endpoints: [{name: a, url: 'http://b'}]}",
            "notifications.endpoints",
        ),
    ] {
        let text = error(&format!("{WRITER}{addition}\n"));
        assert!(text.starts_with(&format!("{setting}: ")), "{text}");
        assert!(text.contains("mount.writer: store"), "{text}");
    }
}

#[test]
fn only_distribution_lets_crossmount_write() {
    for kind in [PULP, GENERIC] {
        load(&format!("{kind}mount: {{writer: registry}}\n")).unwrap();
        let text = error(&format!("{kind}mount: {{writer: store}}\n"));
        assert!(text.starts_with("mount.writer: "), "{text}");
    }
}

#[test]
fn an_open_registry_shares_all_its_repositories_or_none() {
    let open = format!("{WRITER}access: {{mode: none}}\n");
    let text = error(&format!(
        "{open}discovery: {{enabled: true, shared_sources: [a]}}\n"
    ));
    assert!(text.starts_with("discovery.sources: "), "{text}");
    let all = format!("{open}discovery: {{enabled: true, sources: any}}\n");
    assert!(written_by_registry(&all).generic.discovery.is_some());
}

#[test]
fn the_configuration_in_effect_says_who_writes() {
    let text =
        format!("{WRITER}access: {{mode: htpasswd}}\ndiscovery: {{enabled: true, sources: any}}\n");
    let config = load(&text).unwrap();
    let shown = effective(&config);
    assert!(shown.contains("writer: registry"), "{shown}");
    assert!(shown.contains("mode: htpasswd"), "{shown}");
    assert_eq!(load(&shown).unwrap(), config);
}

#[test]
fn the_bucket_of_such_a_registry_may_come_from_file_and_environment() {
    let text = format!("{WRITER}store: {{s3: {{region: r, encrypt: true}}}}\n");
    let env = [
        ("CROSSMOUNT_STORE_S3_BUCKET", "b"),
        ("CROSSMOUNT_STORE_S3_ACCESSKEY", "1e3"),
        ("CROSSMOUNT_STORE_S3_SECRETKEY", "s"),
        ("CROSSMOUNT_STORE_S3_SKIPVERIFY", "true"),
    ];
    let config = load_with(&text, &env, Overrides::default()).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let RegistryKind::RegistryWriter(RegistryWriterConfig {
        bucket: Some(BucketConfig::S3(s3)),
        ..
    }) = config.kind
    else {
        panic!("{config:?}")
    };
    assert!(s3.skipverify);
    assert_eq!(s3.accesskey.unwrap().expose(), "1e3");
}

#[test]
fn a_bucket_belongs_to_a_registry_that_writes_its_own_links() {
    let bucket = "store: {s3: {bucket: b, region: r}}\n";
    let store = "upstream: {url: 'http://127.0.0.1:5010'}\n";
    for (kind, reason) in [
        (PULP, "upstream.kind: distribution"),
        (GENERIC, "upstream.kind: distribution"),
        (store, "mount.writer: registry"),
    ] {
        let text = error(&format!("{kind}{bucket}"));
        assert!(
            text.starts_with("store.s3: ") && text.contains(reason),
            "{text}"
        );
    }
    let text = error(&format!(
        "{WRITER}store: {{s3: {{bucket: b, region: r, buket: c}}}}\n"
    ));
    assert!(text.contains("unknown field `buket`"), "{text}");
    let versioned = "upstream: {url: 'http://a', version: 3}\nmount: {writer: registry}\n";
    assert!(load(&format!("{versioned}{bucket}")).is_ok());
    assert!(error(versioned).starts_with("upstream.version: "));
}

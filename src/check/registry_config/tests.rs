use super::*;
use crate::config::Overrides;

/// The relevant part of the configuration in Debian's package.
const THEIRS: &str = "
version: 0.1
storage:
  filesystem: {rootdirectory: /var/lib/docker-registry}
  delete: {enabled: true}
http:
  addr: :5000
  headers: {X-Content-Type-Options: [nosniff]}
auth:
  htpasswd: {realm: basic-realm, path: /etc/docker/registry}
";
const OURS: &str = "
upstream: {url: 'http://127.0.0.1:5010', response_headers: {x-content-type-options: [nosniff]}}
store: {filesystem: {rootdirectory: /var/lib/docker-registry}}
access: {mode: htpasswd, htpasswd: {path: /etc/docker/registry}}
";

fn found(theirs: &str, ours: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let own = write("crossmount.yaml", ours);
    let config = Config::load(Some(&own), [], Overrides::default()).unwrap();
    let mut findings = Findings::default();
    compare(&config, &write("config.yml", theirs), &mut findings);
    let lines = findings.lines().iter();
    let differing = lines.filter(|line| !line.starts_with("ok: "));
    differing.cloned().collect()
}

#[test]
fn matching_files_are_reported_as_such() {
    assert_eq!(found(THEIRS, OURS), [""; 0]);
    let bare = "version: 0.1\nstorage: {filesystem: {}}\n";
    let ours = "
upstream: {url: 'http://a'}
store: {filesystem: {rootdirectory: /var/lib/registry}}
access: {mode: none}
";
    assert_eq!(found(bare, ours), [""; 0]);
}

#[test]
fn each_difference_is_named() {
    let theirs = |old: &str, new: &str| {
        let changed = THEIRS.replace(old, new);
        assert_ne!(changed, THEIRS, "{old}");
        (changed, OURS.to_owned())
    };
    let ours = |old: &str, new: &str| {
        let changed = OURS.replace(old, new);
        assert_ne!(changed, OURS, "{old}");
        (THEIRS.to_owned(), changed)
    };
    let http = "addr: :5000";
    for ((theirs, ours), line) in [
        (
            theirs("filesystem:", "s3:"),
            "fault: the registry stores in s3",
        ),
        (
            ours("/var/lib/docker-registry", "/srv"),
            "warning: storage.filesystem.rootdirectory is /var/lib/docker-registry",
        ),
        (
            theirs(
                "delete:",
                "maintenance: {readonly: {enabled: true}}\n  delete:",
            ),
            "warning: the registry is read-only",
        ),
        (
            theirs("version: 0.1", "proxy: {remoteurl: 'https://a'}"),
            "fault: the registry is a pull-through cache",
        ),
        (
            theirs(http, "host: https://hub.example"),
            "fault: http.host is https://hub.example in the registry's file, but upstream.external_url is not set",
        ),
        (
            theirs(http, "relativeurls: true"),
            "fault: http.relativeurls is true",
        ),
        (theirs(http, "prefix: /hub/"), "fault: http.prefix is /hub/"),
        (
            theirs(http, "tls: {certificate: /a}"),
            "fault: the registry speaks TLS",
        ),
        (
            theirs("[nosniff]", "[other]"),
            "warning: the registry sends X-Content-Type-Options",
        ),
        (
            ours("{x-content", "{x-more: [a], x-content"),
            "warning: upstream.response_headers has x-more",
        ),
        (
            theirs("path: /etc/docker/registry", "path: /a"),
            "warning: auth.htpasswd.path is /a",
        ),
        (
            theirs("htpasswd: {", "token: {"),
            "fault: access.mode is htpasswd, but the registry's auth is token",
        ),
        (
            theirs("auth:", "none:"),
            "fault: access.mode is htpasswd, but the registry's auth is none",
        ),
        (
            ours(
                "mode: htpasswd, htpasswd: {path: /etc/docker/registry}",
                "mode: none",
            ),
            "fault: the registry has auth.htpasswd",
        ),
        (
            theirs("version: 0.1", "notifications: {endpoints: [{name: a}]}"),
            "warning: the registry has notifications.endpoints",
        ),
        (theirs("version: 0.1", "version: [0.1"), "fault: "),
    ] {
        let found = found(&theirs, &ours);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(line), "{line}: {found:?}");
    }
}

#[test]
fn what_turns_tls_on_does_so_here_too() {
    let https = OURS.replace("http://", "https://");
    let with_certificate = https.replace(
        "5010',",
        "5010', client_certificate: /c.crt, client_key: /c.key,",
    );
    let third = https.replace("5010',", "5010', version: 3,");
    assert_ne!(with_certificate, https);
    let speaks = "fault: the registry speaks TLS (http.tls), but upstream.url is http:";
    let is_plain = "fault: the registry does not speak TLS (http.tls), but upstream.url is https:";
    let demands = "warning: the registry demands a client certificate (http.tls.clientcas): set \
                   upstream.client_certificate";
    for (tls, ours, line) in [
        (
            "letsencrypt: {cachefile: /a, hosts: [h]}",
            OURS,
            Some(speaks),
        ),
        ("letsencrypt: {cachefile: /a, email: e}", &https, None),
        ("letsencrypt: {email: e}", OURS, None),
        (
            "letsencrypt: {email: e, hosts: [h]}",
            &https,
            Some(is_plain),
        ),
        ("key: /k, clientcas: [/ca]", OURS, None),
        ("certificate: /c, clientcas: [/ca]", &https, Some(demands)),
        ("certificate: /c, clientcas: [/ca]", &with_certificate, None),
        ("certificate: /c, clientcas: []", &https, None),
        (
            "certificate: /c, clientcas: [/ca], clientauth: request-client-cert",
            &https,
            Some(demands),
        ),
        (
            "certificate: /c, clientcas: [/ca], clientauth: request-client-cert",
            &third,
            None,
        ),
        (
            "certificate: /c, clientcas: [/ca], clientauth: verify-client-cert-if-given",
            &third,
            None,
        ),
        (
            "certificate: /c, clientcas: [/ca], clientauth: require-any-client-cert",
            &third,
            Some(demands),
        ),
        (
            "letsencrypt: {cachefile: /a}, clientcas: [/ca]",
            &third,
            Some(demands),
        ),
    ] {
        let theirs = THEIRS.replace("addr: :5000", &format!("tls: {{{tls}}}"));
        let found = found(&theirs, ours);
        assert_eq!(found.len(), usize::from(line.is_some()), "{tls}: {found:?}");
        for (line, found) in line.iter().zip(&found) {
            assert!(found.starts_with(line), "{tls}: {found}");
        }
    }
}

#[test]
fn odd_files_are_read_as_the_registry_reads_them() {
    let theirs = |old: &str, new: &str| {
        let changed = THEIRS.replace(old, new);
        assert_ne!(changed, THEIRS, "{old}");
        changed
    };
    let http = "addr: :5000";
    for (theirs, line) in [
        (
            theirs(
                "filesystem: {rootdirectory: /var/lib/docker-registry}",
                "s3aws: {}",
            ),
            "fault: the registry stores in s3aws",
        ),
        (
            theirs("storage:", "storage: inmemory\nother:"),
            "fault: the registry stores in inmemory",
        ),
        (theirs("storage:", "stores:"), "fault: "),
        (
            theirs(http, "relativeurls: yes"),
            "fault: http.relativeurls is true",
        ),
        (
            theirs(http, "<<: {prefix: /hub/}"),
            "fault: http.prefix is /hub/",
        ),
        (
            theirs(http, "host: 'https://u:s3cret@h'"),
            "fault: http.host is https://(masked)@h",
        ),
        (
            theirs("auth:", "auth: silly\nother:"),
            "fault: access.mode is htpasswd, but the registry's auth is silly",
        ),
    ] {
        let found = found(&theirs, OURS);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(line), "{line}: {found:?}");
        assert!(!found[0].contains("s3cret"), "{found:?}");
    }
    let templated = THEIRS.replace(http, "tls: {certificate: ''}\n  debug: {}");
    assert_eq!(found(&templated, OURS), [""; 0]);
    let untold = "notifications: {endpoints: [{name: a, disabled: true}, {name: b, ignoredmediatypes: [a], ignore: {actions: [mount]}}]}";
    assert_eq!(found(&theirs("version: 0.1", untold), OURS), [""; 0]);
    let numbers = THEIRS.replace("[nosniff]", "[1]");
    let own = OURS.replace("[nosniff]", "['1']");
    assert_eq!(found(&numbers, &own), [""; 0]);
}

#[test]
fn the_rules_for_tokens_are_compared() {
    let theirs = "
storage: {filesystem: {rootdirectory: /srv}}
auth:
  token: {realm: r, issuer: a, service: b, rootcertbundle: /c, signingalgorithms: [RS256, ES256]}
";
    let ours = "
upstream: {url: 'http://a'}
store: {filesystem: {rootdirectory: /srv}}
access: {mode: token, token: {issuer: a, service: b, rootcertbundle: /c, signingalgorithms: [ES256, RS256]}}
";
    assert_eq!(found(theirs, ours), [""; 0]);
    for (old, new, line) in [
        ("issuer: a", "issuer: x", "fault: auth.token.issuer is x"),
        ("service: b", "service: x", "fault: auth.token.service is x"),
        ("/c", "/x", "warning: auth.token.rootcertbundle is /x"),
        (
            "[RS256, ES256]",
            "[RS256]",
            "fault: auth.token.signingalgorithms is RS256",
        ),
    ] {
        let found = found(&theirs.replace(old, new), ours);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(line), "{line}: {found:?}");
    }
}

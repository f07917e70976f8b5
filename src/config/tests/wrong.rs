//! What cannot be used, and how it is named.

use super::*;

#[test]
fn a_directory_below_the_root_is_not_taken_for_the_root() {
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
fn hash_settings_are_refused_without_verification() {
    for (said, message) in [
        (
            "verify: sha512",
            "store.verify: \"sha512\" is not one of: none, sha256",
        ),
        (
            "verify_rate: 1MiB",
            "store.verify_rate: has an effect only with store.verify: sha256: remove it, or set that",
        ),
        (
            "verify: none, verify_rate: 1MiB",
            "store.verify_rate: has an effect only with store.verify: sha256: remove it, or set that",
        ),
        (
            "verify: sha256, verify_rate: fast",
            "store.verify_rate: \"fast\" is not a size such as 512MiB or 2GB",
        ),
        (
            "verify: sha256, verify_rate: '0'",
            "store.verify_rate: \"0\" is not a size such as 512MiB or 2GB",
        ),
    ] {
        let text = MINIMAL.replace("store: {", &format!("store: {{{said}, "));
        assert_ne!(text, MINIMAL);
        assert_eq!(error(&text), message);
    }
}

#[test]
fn an_error_is_one_line_whatever_a_key_holds() {
    let text = error("access: {\"mo\\nde\": none}\n");
    assert!(
        text.contains(r"`mo\nde`") && !text.contains('\n'),
        "{text:?}"
    );
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
        ("listen: {header_timeout: 0s}", "listen.header_timeout"),
        ("listen: {http2: true}", "listen.http2"),
        (
            "listen: {h2c: true, tls: {certificate: /c, key: /k}}",
            "listen.h2c",
        ),
        ("listen: {header_timeout: soon}", "listen.header_timeout"),
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
fn a_client_certificate_needs_both_files_and_an_https_registry() {
    for (text, message) in [
        (
            "upstream: {url: 'http://a', client_certificate: /x, client_key: /y}",
            "upstream.client_certificate: has an effect only with an https:// URL",
        ),
        (
            "upstream: {url: 'unix:/a', client_key: /y}",
            "upstream.client_key: has an effect only with an https:// URL",
        ),
        (
            "upstream: {url: 'https://a', client_certificate: /x}",
            "upstream.client_key: is missing",
        ),
        (
            "upstream: {url: 'https://a', client_key: /y}",
            "upstream.client_certificate: is missing",
        ),
        (
            "upstream: {url: 'https://a', client_certificate: /x, client_key: ''}",
            "upstream.client_key: is empty",
        ),
    ] {
        let error = error(text);
        assert!(error.starts_with(message), "{text}: {error}");
    }
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
        ("127.0.0.1:5000", "http://[::ffff:127.0.0.1]:5000"),
        ("[::ffff:127.0.0.1]:5000", "http://localhost:5000"),
        (":5000", "http://[::ffff:127.0.0.1]:5000"),
    ] {
        let error = with(listen, url).unwrap_err();
        assert!(
            error.contains("is the same as listen.address"),
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
            "upstream.url: must have a host and no user",
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

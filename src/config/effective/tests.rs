use std::path::Path;

use super::*;
use crate::config::{BucketConfig, Overrides};

fn load(text: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crossmount.yaml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), [], Overrides::default()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

const EVERYTHING: &str = "
listen: {address: ':5000', header_timeout: 7s, http2: true, tls: {certificate: /tls.crt, key: /tls.key}}
upstream:
  url: https://registry.example
  version: 3
  ca_certificate: /ca.crt
  client_certificate: /client.crt
  client_key: /client.key
  external_url: https://hub.example/path
  relative_urls: true
  prefix: /registry/
  response_headers: {X-Api-Key: [hunter2, hunter3], Empty: []}
  timeouts: {read: 1h30m, idle: 250ms}
  trusted_proxies: [10.0.0.0/8, '::1']
store: {filesystem: {rootdirectory: /srv/registry}, durability: file, verify: sha256, verify_rate: 3MB}
access:
  mode: token
  decision_ttl: 0s
  token: {issuer: 'https://robot:hunter4@auth.example/', service: hub, jwks: /keys.json, signingalgorithms: [RS256]}
mount: {source_denied: challenge, dry_run: true}
discovery: {enabled: true, on_head: true, new_repositories: false, sources: namespace, shared_sources: [base/**, tools/*], widen_scopes: true, scan_interval: 3h, search_repositories: 7, search_time: 9ms, deleted_for: 30m, redis: {url: 'rediss+sentinel://hunter12:hunter13@a,b:1/m/2', prefix: x, ca_certificate: /redis.crt, timeout: 7ms, fingerprint_key: hunter14-hunter14-hunter14-hunter14}}
token_endpoint: {path: /auth, cache: {enabled: true, ttl: 7s}}
notifications: {endpoints: [{name: audit, url: 'https://hooks.example/hunter5?x=y', headers: {Authorization: [hunter6]}, ignoredmediatypes: [text/plain], ignore: {mediatypes: [a/b], actions: [pull]}}, {name: off, disabled: true}]}
log: {level: debug, format: text}
";

const RELAYED: &str = "
upstream: {url: 'unix:/run/pulp.sock', kind: pulp}
store: {artifacts: {rootdirectory: /media, max_size: 3MB, pull_through: [docker.io]}}
";

const S3: &str = "s3: {bucket: b, region: r, regionendpoint: 'http://m', forcepathstyle: false, \
    rootdirectory: /x, secure: true, skipverify: true, accesskey: hunter7, secretkey: hunter8, \
    usedualstack: true, usefipsendpoint: true}";
const AZURE: &str = "azure: {accountname: a, accountkey: hunter9, container: c, realm: r, serviceurl: \
    'http://m', rootdirectory: x, skipverify: true, credentials: {type: client_secret, clientid: i, \
    tenantid: t, secret: hunter10}}";
const GCS: &str =
    "gcs: {bucket: b, keyfile: /k, credentials: {private_key: hunter11}, rootdirectory: x}";

/// A registry that writes its own links, with such a store.
fn in_bucket(store: &str) -> String {
    format!(
        "upstream: {{url: 'http://registry'}}\nmount: {{writer: registry}}\nstore: {{{store}}}\n\
         access: {{mode: htpasswd}}\ndiscovery: {{enabled: true, sources: any, scan_interval: 2h}}\n"
    )
}

#[test]
fn what_is_shown_is_a_configuration_with_the_same_effect() {
    let unmended = "
upstream: {url: 'http://registry', kind: generic}
mend: {statuses: []}
";
    let mut texts = [EVERYTHING, RELAYED, unmended].map(str::to_owned).to_vec();
    let old_azure = "azure: {accountname: a, accountkey: (masked), container: c}";
    texts.extend([S3, AZURE, GCS, old_azure].map(in_bucket));
    texts.extend(
        [
            "crossmount.yaml",
            "minimal.yaml",
            "htpasswd.yaml",
            "token.yaml",
            "pulp.yaml",
            "generic.yaml",
        ]
        .map(example),
    );
    for text in texts {
        let shown = effective(&load(&text));
        // A mask is too short for a key.
        let key = "fingerprint_key: (masked)";
        let again = load(&shown.replace(key, &key.replace("(masked)", &"k".repeat(32))));
        assert_eq!(effective(&again), shown);
        // What cannot be compared by text is compared by its form for debugging; a mask is
        // neither a header nor a name of the original.
        let mut original = load(&text);
        original.upstream.response_headers = again.upstream.response_headers.clone();
        if !text.contains("hunter") {
            assert_eq!(format!("{again:?}"), format!("{original:?}"), "{shown}");
        }
    }
}

#[test]
fn no_secret_is_shown_and_paths_are() {
    for store in [S3, AZURE, GCS] {
        let shown = effective(&load(&in_bucket(store)));
        assert!(!shown.contains("hunter"), "{shown}");
    }
    let shown = effective(&load(EVERYTHING));
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(
        shown.contains("issuer: https://(masked)@auth.example/"),
        "{shown}"
    );
    assert!(
        shown.contains("X-Api-Key:\n    - (masked)\n    - (masked)\n"),
        "{shown}"
    );
    assert!(
        shown.contains("url: https://hooks.example/(masked)\n"),
        "{shown}"
    );
    assert!(
        shown.contains("url: rediss+sentinel://(masked):(masked)@a:26379,b:1/m/2\n"),
        "{shown}"
    );
    for path in [
        "/tls.key",
        "/ca.crt",
        "/client.crt",
        "/client.key",
        "/keys.json",
        "/srv/registry",
    ] {
        assert!(shown.contains(path), "{path} in {shown}");
    }
}

#[test]
fn defaults_and_the_environment_are_part_of_it() {
    let env = [("CROSSMOUNT_MOUNT_TIME_BUDGET", "90s")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Overrides {
        upstream: Some("http://registry".to_owned()),
        root: Some("/srv/registry".to_owned()),
        ..Overrides::default()
    };
    let shown = effective(&Config::load(None, env, flags).unwrap());
    for line in [
        "  url: http://registry:80\n",
        "  kind: distribution\n",
        "  time_budget: 1m 30s\n",
        "  mode: upstream\n",
        "  read: 1h\n",
        "  enabled: false\n",
        "  level: info\n",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    assert!(!shown.contains("null"), "{shown}");
}

/// The paths of all keys below which there is no other.
fn leaves(tree: &Value, path: &str, found: &mut Vec<String>) {
    match tree {
        Value::Mapping(mapping) if !mapping.is_empty() => {
            for (key, value) in mapping {
                leaves(value, &format!("{path}.{}", key.as_str().unwrap()), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn every_setting_of_this_version_is_shown_where_it_has_an_effect() {
    let mut shown = Vec::new();
    for text in [
        EVERYTHING,
        RELAYED,
        &in_bucket(S3),
        &in_bucket(AZURE),
        &in_bucket(GCS),
        &example("generic.yaml"),
        &example("htpasswd.yaml"),
        &example("token.yaml"),
    ] {
        let text = effective(&load(text));
        leaves(&serde_yaml::from_str(&text).unwrap(), "", &mut shown);
    }
    for (path, _) in FileShape::all() {
        let is_ignored = BucketConfig::IGNORED.iter().any(|(section, names)| {
            let name = path
                .strip_prefix(section)
                .and_then(|it| it.strip_prefix('.'));
            name.is_some_and(|name| names.contains(&name))
        });
        if is_ignored || path == "store.s3.v4auth" {
            continue;
        }
        let path = format!(".{path}");
        let is_shown = shown.iter().any(|shown| shown.starts_with(&path));
        assert!(is_shown, "{path} in {shown:?}");
    }
}

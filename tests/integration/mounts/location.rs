//! Where the 201 says that the blob is: what the registry would say to the same request.

use crate::{needs, support};
use serde_json::{Value, json};
use support::raw_http::Request;
use support::registry::Registry;
use support::sidecar::Sidecar;

/// What proxies in front of a registry add to a request.
const FORWARDED: &[&[(&str, &str)]] = &[
    &[],
    &[("X-Forwarded-Proto", "https")],
    &[("X-Forwarded-Host", "public.test")],
    &[
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "public.test:8443"),
    ],
    &[("X-Forwarded-Proto", "https,http")],
    &[("X-Forwarded-Proto", "https, http")],
    &[("X-Forwarded-Host", "first.test, second.test")],
    &[("X-Forwarded-Host", " first.test ,second.test")],
    &[("X-Forwarded-Proto", "HTTPS")],
    &[
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto", "http"),
    ],
    &[("X-Forwarded-Proto", "")],
    &[("X-Forwarded-Host", "")],
    &[("X-Forwarded-Port", "8443")],
    &[
        ("X-Forwarded-Host", "public.test"),
        ("X-Forwarded-Port", "8443"),
    ],
    &[("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "8443")],
    &[("X-Forwarded-Prefix", "/pfx")],
    &[("Forwarded", "proto=https;host=forwarded.test")],
    &[(
        "Forwarded",
        "for=192.0.2.1;Proto=https;HOST=\"forwarded.test:8443\"",
    )],
    &[("Forwarded", "host=forwarded.test")],
    &[("Forwarded", "proto=https")],
    &[("Forwarded", "host=first.test, host=second.test;proto=https")],
    &[("Forwarded", "for=192.0.2.1, host=second.test")],
    &[("Forwarded", "host=")],
    &[("Forwarded", "nonsense")],
    &[("Forwarded", "host=forwarded.test;proto=\"https\";by=_x")],
    &[("Forwarded", "host=forwarded.test;;proto=https")],
    &[("Forwarded", "host=forwarded.test;,proto=https")],
    &[("Forwarded", "host=forwarded.test;by=a\\b")],
    &[
        ("Forwarded", "host=forwarded.test;"),
        ("X-Forwarded-Proto", "https"),
    ],
    &[
        ("Forwarded", "host=forwarded.test"),
        ("X-Forwarded-Host", "public.test"),
        ("X-Forwarded-Proto", "https"),
    ],
    &[
        ("Forwarded", "proto=https"),
        ("X-Forwarded-Host", "public.test"),
    ],
];

const HOSTS: &[&str] = &["registry.test:5000", "[::1]"];

/// Mounts through the sidecar and then directly, and wants both to say the same.
fn alike(registry: &Registry, sidecar: &Sidecar, prefix: &str) {
    let mut differ = Vec::new();
    let mut number = 0;
    let digest = support::digest_of(b"proof of the place");
    for host in HOSTS {
        for headers in FORWARDED {
            number += 1;
            let path = support::registry_client::mount_target(&format!("b{number}"), &digest, "a");
            let request = headers
                .iter()
                .fold(
                    Request::new("POST", &(prefix.to_owned() + &path)),
                    |request, (name, value)| request.header(name, value),
                )
                .header("Host", host);
            let say = |port| {
                let answer = request.send(port).expect(201);
                answer.header("Location").unwrap().to_owned()
            };
            let (ours, theirs) = (say(sidecar.port), say(registry.port));
            if ours != theirs {
                differ.push(format!(
                    "{host} {headers:?}\n  registry: {theirs}\n  sidecar:  {ours}"
                ));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    // What is too odd to be sure of may be left to the registry, but not what proxies do send.
    let ours = sidecar.mounted();
    assert!(ours * 10 >= number * 9, "{ours} of {number}");
}

/// A registry and a sidecar configured alike, the store proved by an upload below `prefix`.
fn start(
    registry: impl FnOnce(&mut Value),
    sidecar: impl FnOnce(&mut Value),
    prefix: &str,
) -> (Registry, Sidecar) {
    let registry = Registry::with(registry);
    let sidecar = Sidecar::with(&registry, sidecar);
    let client = sidecar.client();
    let bytes = b"proof of the place";
    let opened = client
        .request("POST", &format!("{prefix}/v2/a/blobs/uploads/"))
        .send(client.port)
        .expect(202);
    // With relative URLs and with a host of its own the registry forgets its prefix.
    let path = support::registry_client::closing(&opened, &support::digest_of(bytes));
    let path = prefix.to_owned() + &path[path.find("/v2/").unwrap()..];
    let closing = client.request("PUT", &path).body(bytes);
    closing.send(client.port).expect(201);
    (registry, sidecar)
}

#[test]
fn the_location_follows_host_and_forwarding_headers() {
    needs!("docker-registry");
    let (registry, sidecar) = start(|_| (), |_| (), "");
    alike(&registry, &sidecar, "");
}

#[test]
fn the_location_is_absolute_and_names_the_host_that_the_client_used() {
    needs!("docker-registry");
    let (_registry, sidecar) = start(|_| (), |_| (), "");
    let digest = support::digest_of(b"proof of the place");
    let answer = sidecar.client().mount("b", &digest, "a").expect(201);
    let wanted = format!("http://127.0.0.1:{}/v2/b/blobs/{digest}", sidecar.port);
    assert_eq!(answer.header("Location"), Some(&*wanted));
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn an_external_url_wins() {
    needs!("docker-registry");
    for url in [
        "https://public.test",
        "http://public.test:8443",
        "https://public.test/",
        "https://public.test/below/",
        "https://public.test/beside",
    ] {
        let (registry, sidecar) = start(
            |config| config["http"]["host"] = json!(url),
            |config| config["upstream"]["external_url"] = json!(url),
            "",
        );
        alike(&registry, &sidecar, "");
    }
}

#[test]
fn relative_urls_are_relative() {
    needs!("docker-registry");
    let (registry, sidecar) = start(
        |config| config["http"]["relativeurls"] = json!(true),
        |config| config["upstream"]["relative_urls"] = json!(true),
        "",
    );
    alike(&registry, &sidecar, "");
}

#[test]
fn a_prefix_is_kept() {
    needs!("docker-registry");
    let (registry, sidecar) = start(
        |config| config["http"]["prefix"] = json!("/pfx/"),
        |config| config["upstream"]["prefix"] = json!("/pfx/"),
        "/pfx",
    );
    alike(&registry, &sidecar, "/pfx");
}

#[test]
fn a_prefix_goes_with_relative_urls_and_an_external_url() {
    needs!("docker-registry");
    let (registry, sidecar) = start(
        |config| {
            config["http"]["prefix"] = json!("/deep/er/");
            config["http"]["relativeurls"] = json!(true);
        },
        |config| {
            config["upstream"]["prefix"] = json!("/deep/er/");
            config["upstream"]["relative_urls"] = json!(true);
        },
        "/deep/er",
    );
    alike(&registry, &sidecar, "/deep/er");
    let (registry, sidecar) = start(
        |config| {
            config["http"]["prefix"] = json!("/pfx/");
            config["http"]["host"] = json!("https://public.test");
        },
        |config| {
            config["upstream"]["prefix"] = json!("/pfx/");
            config["upstream"]["external_url"] = json!("https://public.test");
        },
        "/pfx",
    );
    alike(&registry, &sidecar, "/pfx");
}

#[test]
fn outside_the_prefix_there_are_no_mounts() {
    needs!("docker-registry");
    let (registry, sidecar) = start(
        |config| config["http"]["prefix"] = json!("/pfx/"),
        |config| config["upstream"]["prefix"] = json!("/pfx/"),
        "/pfx",
    );
    let digest = support::digest_of(b"proof of the place");
    for port in [sidecar.port, registry.port] {
        let client = support::registry_client::Client::new(port);
        client.mount("b", &digest, "a").expect(404);
    }
    assert!(!registry.store.repository("b").exists());
    assert_eq!(sidecar.mounted(), 0);
}

#[test]
fn the_configured_headers_are_on_the_answer() {
    needs!("docker-registry");
    let headers = json!({
        "X-Content-Type-Options": ["nosniff"],
        "Access-Control-Allow-Origin": ["*"],
        "X-Twice": ["one", "two"],
        "Strict-Transport-Security": ["max-age=1"],
    });
    let (registry, sidecar) = start(
        |config| config["http"]["headers"] = headers.clone(),
        |config| config["upstream"]["response_headers"] = headers.clone(),
        "",
    );
    let digest = support::digest_of(b"proof of the place");
    let path = support::registry_client::mount_target("b", &digest, "a");
    let ask = |port| {
        let answer = Request::new("POST", &path)
            .header("Host", "registry.test")
            .send(port)
            .expect(201);
        support::compare::essence(&answer)
    };
    let ours = ask(sidecar.port);
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(ours, ask(registry.port));
}

#[test]
fn only_trusted_proxies_are_believed() {
    needs!("docker-registry");
    let lies: &[(&str, &str)] = &[
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.test"),
        ("Forwarded", "host=evil.test;proto=https"),
    ];
    for (trusted, scheme, host) in [
        ("127.0.0.0/8", "https", "evil.test"),
        ("192.0.2.0/24", "http", "registry.test"),
    ] {
        let (_registry, sidecar) = start(
            |_| (),
            |config| config["upstream"]["trusted_proxies"] = json!([trusted]),
            "",
        );
        let digest = support::digest_of(b"proof of the place");
        let ask = |path: &str| {
            let request = Request::new("POST", path).header("Host", "registry.test");
            let request = lies.iter().fold(request, |request, (name, value)| {
                request.header(name, value)
            });
            request
                .send(sidecar.port)
                .header("Location")
                .unwrap()
                .to_owned()
        };
        let ours = ask(&support::registry_client::mount_target("b", &digest, "a"));
        assert_eq!(ours, format!("{scheme}://{host}/v2/b/blobs/{digest}"));
        assert_eq!(sidecar.mounted(), 1);
        // The registry hears the same story, and says the same place for an upload.
        let theirs = ask("/v2/b/blobs/uploads/");
        assert!(
            theirs.starts_with(&format!("{scheme}://{host}/v2/b/blobs/uploads/")),
            "{theirs}"
        );
    }
}

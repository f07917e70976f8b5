//! A registry whose certificate is itself the trusted one, as `openssl req -x509` makes it.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::sidecar::{Sidecar, config};
use support::{digest_of, raw_http, tools};
use tempfile::TempDir;

const LOCALHOST: &str = "subjectAltName=DNS:localhost";

/// Makes `NAME.pem` and `NAME.key`, valid for these days of the past and the future.
fn make(home: &Path, name: &str, extensions: &[&str], (start, end): (&str, &str)) -> PathBuf {
    let run = |line: &str| {
        tools::run(
            Command::new("openssl")
                .args(line.split_whitespace())
                .current_dir(home),
        )
    };
    let settings = "[ca]\ndefault_ca=all\n[all]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\n\
         unique_subject=no\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n[made]\n";
    fs::write(
        home.join("settings"),
        settings.to_owned() + &extensions.join("\n"),
    )
    .unwrap();
    fs::write(home.join("index"), "").unwrap();
    run(&format!(
        "req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {name}.key -out {name}.csr"
    ));
    run(&format!(
        "ca -config settings -batch -notext -selfsign -keyfile {name}.key -in {name}.csr \
         -out {name}.pem -extensions made -startdate {start} -enddate {end}"
    ));
    home.join(format!("{name}.pem"))
}

const NOW: (&str, &str) = ("20200101000000Z", "20480101000000Z");
const PAST: (&str, &str) = ("20200101000000Z", "20210101000000Z");
const FUTURE: (&str, &str) = ("20470101000000Z", "20480101000000Z");
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE";

struct Case {
    registry: Registry,
    _home: TempDir,
}

/// A registry that shows the certificate `shown`, and a sidecar that trusts `trusted`.
fn sidecar(certificate: &Path, trusted: &Path, home: TempDir) -> (Case, Sidecar) {
    let registry = Registry::with(|config| {
        let key = certificate.with_extension("key");
        config["http"]["tls"] = json!({"certificate": certificate, "key": key});
    });
    let mut config = config(&registry.url(), &registry.store.root);
    config["upstream"]["url"] = json!(format!("https://localhost:{}", registry.port));
    config["upstream"]["ca_certificate"] = json!(trusted);
    discover_on_head(&mut config);
    fs::create_dir_all(&registry.store.root).unwrap();
    let command = support::sidecar::command(support::sidecar::BINARY);
    let sidecar = Sidecar::launch(command, &config);
    let case = Case {
        registry,
        _home: home,
    };
    (case, sidecar)
}

#[test]
fn a_certificate_that_signed_itself_is_taken_when_it_is_the_trusted_one() {
    needs!("docker-registry", "openssl");
    for kind in [AUTHORITY, "basicConstraints=CA:FALSE"] {
        let home = tempfile::tempdir().unwrap();
        let shown = make(home.path(), "shown", &[LOCALHOST, kind], NOW);
        let (case, sidecar) = sidecar(&shown, &shown, home);
        let client = sidecar.client();
        let bytes = support::bytes_from(kind, 3_000_000);
        let digest = client.upload("source", &bytes);
        client.mount("target", &digest, "source").expect(201);
        assert_eq!(sidecar.mounts("mounted", "none"), 1, "{kind}");
        assert_eq!(client.pull("target", &digest), bytes);
        client.head_blob("third", &digest).expect(200);
        assert_eq!(sidecar.mounted(), 2);
        assert!(case.registry.store.has_link("third", &digest));
        raw_http::get(sidecar.admin, "/readyz").expect(200);
    }
}

#[test]
fn no_other_certificate_is_taken_for_the_trusted_one() {
    needs!("docker-registry", "openssl");
    let elsewhere = "subjectAltName=DNS:elsewhere";
    let for_clients = "extendedKeyUsage=clientAuth";
    for (what, shown, trusted, time) in [
        (
            "another of the same name",
            None,
            &[LOCALHOST, AUTHORITY][..],
            NOW,
        ),
        (
            "of another host",
            Some(()),
            &[elsewhere, AUTHORITY][..],
            NOW,
        ),
        ("of no host", Some(()), &[AUTHORITY][..], NOW),
        ("expired", Some(()), &[LOCALHOST, AUTHORITY][..], PAST),
        (
            "not valid yet",
            Some(()),
            &[LOCALHOST, AUTHORITY][..],
            FUTURE,
        ),
        (
            "for clients",
            Some(()),
            &[LOCALHOST, AUTHORITY, for_clients][..],
            NOW,
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        let trusted = make(home.path(), "trusted", trusted, time);
        let shown = match shown {
            Some(()) => trusted.clone(),
            None => make(home.path(), "shown", &[LOCALHOST, AUTHORITY], NOW),
        };
        let (case, sidecar) = sidecar(&shown, &trusted, home);
        let client = sidecar.client();
        for answer in [
            client.get("/v2/"),
            client
                .request("POST", "/v2/a/blobs/uploads/")
                .send(client.port),
            client.head_blob("a", &digest_of(b"nothing")),
            client.get("/v2/"),
        ] {
            assert_eq!(answer.status, 503, "{what}");
        }
        let ready = raw_http::get(sidecar.admin, "/readyz").expect(503);
        assert!(
            ready.text().contains("certificate"),
            "{what}: {}",
            ready.text()
        );
        // Not a byte of a request came to it.
        let log = case.registry.log();
        assert!(!log.contains("http.request.method"), "{what}: {log}");
    }
}

/// An authority with the registry's own name may have signed the registry's certificate.
#[test]
fn an_authority_that_has_the_registrys_name_may_sign_its_certificate_now_and_later() {
    needs!("docker-registry", "openssl");
    let home = tempfile::tempdir().unwrap();
    support::token_issuer::signed(home.path());
    let at = |name: &str| home.path().join(name);
    let mut registry = Registry::with(|config| {
        config["http"]["tls"] = json!({"certificate": at("cert.pem"), "key": at("key.pem")});
    });
    let sidecar = Sidecar::with(&registry, |config| {
        config["upstream"]["url"] = json!(format!("https://localhost:{}", registry.port));
        config["upstream"]["ca_certificate"] = json!(at("ca.pem"));
    });
    let client = sidecar.client();
    // The first request of all has a body that is sent once.
    let digest = client.upload("source", b"some bytes");
    let tls = [("ca.pem", "ca-key.pem"), ("cert.pem", "key.pem")];
    for (certificate, key) in tls {
        registry.config["http"]["tls"] = json!({"certificate": at(certificate), "key": at(key)});
        registry.restart();
        support::wait_until("the registry answers", || client.get("/v2/").status == 200);
        assert_eq!(client.pull("source", &digest), b"some bytes");
    }
}

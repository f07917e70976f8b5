//! What is said in confidence is in no log line and in no metric, whatever the level.

use crate::{needs, support};
use support::access_control::{BLOB, behind_tokens, htpasswd_mode, upstream_mode};
use support::digest_of;
use support::raw_http::{Answer, Connection};
use support::registry::Registry;
use support::registry_client::{Client, closing};
use support::secret_search::{LOGS, STATE, Secrets, logging, nothing_is_said};
use support::sidecar::Sidecar;
use support::token_issuer::{Access, TokenIssuer};

/// Uploads in pieces, mounts, and pulls, with every right.
fn busy(secrets: &mut Secrets, client: &Client, digest: &str) {
    let bytes = format!("uploaded by {client:?}").into_bytes();
    let mut session = secrets.state(client.begin("target").expect(202));
    for piece in bytes.chunks(40) {
        let next = client.request("PATCH", &session.location_path());
        let answer = next.body(piece).send(client.port);
        session = secrets.state(answer.expect(202));
        client.get(&session.location_path()).expect(204);
    }
    let last = client.request("PUT", &closing(&session, &digest_of(&bytes)));
    last.send(client.port).expect(201);
    for _ in 0..2 {
        client.mount("target", digest, "source").expect(201);
    }
    assert_eq!(client.pull("target", digest), BLOB);
    let answer = client.mount("target", &digest_of(b"unheard of"), "source");
    let opened = secrets.state(answer.expect(202));
    let stale = opened.location_path().replace(STATE, "_state=x");
    let refused = client.request("PUT", &stale).send(client.port);
    assert!(refused.status >= 400, "{refused:?}");
    // A client that goes away in the middle of its upload.
    let piece = client
        .request("PATCH", &opened.location_path())
        .body(&bytes);
    let piece = piece.bytes(client.port);
    let mut connection = client.connect();
    connection.write(&piece[..piece.len() - 5]).unwrap();
}

/// What somebody tries who has no rights; the answers are anything but a yes.
fn refused(client: &Client, state: &Answer, digest: &str) {
    let digest_path = format!("/v2/source/blobs/{digest}");
    for (method, path) in [
        (
            "POST",
            support::registry_client::mount_target("target", digest, "source"),
        ),
        ("POST", "/v2/target/blobs/uploads/".to_owned()),
        ("GET", digest_path),
        ("PATCH", state.location_path()),
        ("PUT", closing(state, digest)),
        ("GET", "/v2/_catalog".to_owned()),
    ] {
        let answer = client.request(method, &path).send(client.port);
        assert!(answer.status >= 400, "{method} {path}: {answer:?}");
    }
}

/// Authorization values that no registry understands.
fn malformed(word: &str) -> Vec<String> {
    vec![
        format!("Basic {word}"),
        format!("Basic !!!{word}!!!"),
        format!("basic   {word}"),
        format!("Bearer {word}.{word}"),
        format!("Bearer {word}.{word}.{word}"),
        format!("Bearer Basic {word}"),
        format!("Digest username=\"{word}\", response=\"{word}\""),
        format!("Negotiate {word}"),
        format!("{word}\u{fc}"),
        word.to_owned(),
    ]
}

/// Heads that are no HTTP, with an Authorization in them.
fn garbled(secrets: &Secrets, sidecar: &Sidecar) {
    for secret in secrets.iter() {
        for head in [
            format!("GET /v2/ HTTP/1.1\r\nHost: h\r\nAuthorization {secret}\r\n\r\n"),
            format!("GET /v2/ HTTP/1.1\r\nHost: h\r\nAuthorization: {secret}\0\r\n\r\n"),
            format!("GET /v2/?{secret} y HTTP/1.1\r\nHost: h\r\n\r\n"),
            format!("POST /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: {secret}\r\n\r\n"),
            format!("POST /v2/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {secret}\r\n\r\n"),
            format!(
                "POST /v2/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n"
            ),
        ] {
            let mut connection = Connection::to(sidecar.port).unwrap();
            connection.write(head.as_bytes()).unwrap();
            let _ = connection.answer("POST");
        }
    }
}

/// What all of them do who come to a registry, and what they say when it is gone.
#[track_caller]
fn run(
    (mut registry, sidecar): (Registry, Sidecar),
    mut secrets: Secrets,
    good: &[Client],
    bad: &[Client],
    digest: &str,
) -> String {
    for client in good {
        busy(&mut secrets, client, digest);
    }
    let opened = secrets.state(good[0].begin("target").expect(202));
    for word in malformed("iAmNobodyButSecret0123456789") {
        let client = secrets.client(sidecar.port, &word);
        refused(&client, &opened, digest);
    }
    for client in bad {
        refused(client, &opened, digest);
    }
    garbled(&secrets, &sidecar);
    assert!(sidecar.mounted() > 0);
    registry.kill();
    // One request notices; from then on nothing that is remembered counts.
    assert!(good[0].get("/v2/").status >= 500);
    for client in good.iter().chain(bad) {
        refused(client, &opened, digest);
    }
    nothing_is_said(&sidecar, &secrets)
}

#[test]
fn no_password_and_no_upload_state_is_logged() {
    needs!("docker-registry", "htpasswd");
    for (kind, is_here) in LOGS.into_iter().zip([false, true]) {
        let users = [
            ("alice", "the-password-of-alice"),
            ("bob", "pa55:of.bob/+=="),
        ];
        let registry = Registry::with_htpasswd(&users);
        let mut secrets = Secrets::default();
        let owner = secrets.basic(registry.port, users[0].0, users[0].1);
        let digest = owner.upload("source", BLOB);
        let sidecar = Sidecar::with(&registry, |config| {
            logging(config, kind);
            if is_here {
                htpasswd_mode(&registry)(config);
            } else {
                upstream_mode(config);
            }
        });
        sidecar.verify_store_as(&owner);
        let port = sidecar.port;
        let good = users.map(|(user, password)| secrets.basic(port, user, password));
        let bad = [
            secrets.basic(port, "alice", "a wrong password of alice"),
            secrets.basic(port, "somebody-unknown", "another wrong password"),
        ];
        let log = run((registry, sidecar), secrets, &good, &bad, &digest);
        assert!(log.contains("layer link written"), "{log}");
        assert!(log.contains("upstream_unavailable"), "{log}");
    }
}

#[test]
fn no_part_of_a_token_is_logged() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    for (kind, is_here) in LOGS.into_iter().zip([true, false]) {
        let (registry, sidecar, digest) = behind_tokens(&tokens, |config| {
            logging(config, kind);
            if is_here {
                tokens.verify_here(config);
            } else {
                upstream_mode(config);
            }
        });
        let mut secrets = Secrets::default();
        let own: Access = ("target", &["pull", "push"]);
        let full: &[Access] = &[own, ("source", &["pull"])];
        let good = tokens.token("ci", full);
        let none = tokens.token("nobody", &[]);
        let bad = [
            tokens.expired("ci", full),
            TokenIssuer::new().token("ci", full),
            none.replace('.', ".."),
            format!("{none}.{none}"),
            none,
        ];
        let mut client = |token: &String| {
            let client = secrets.client(sidecar.port, &format!("Bearer {token}"));
            secrets.keep(token);
            client
        };
        let good = [client(&good)];
        let bad = bad.each_ref().map(client);
        let log = run((registry, sidecar), secrets, &good, &bad, &digest);
        assert!(log.contains("layer link written"), "{log}");
        assert!(log.contains("denied"), "{log}");
    }
}

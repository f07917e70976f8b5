//! Bodies that wait for the word of 100.

use crate::needs;
use crate::support::compare::RegistryPair;
use crate::support::digest_of;
use crate::support::misbehaving_upstream::{MisbehavingUpstream, Reply, answer, in_front_of, ok};
use crate::support::raw_http::Connection;
use crate::support::registry_client::closing;
use std::time::Duration;

#[test]
fn a_body_that_waits_for_100_continue_is_sent_after_the_registrys() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    let bytes = b"sent on a word";
    for (registry, port) in [
        (&pair.alone, pair.alone.port),
        (&pair.behind, pair.sidecar.port),
    ] {
        let opened = registry.client().begin("patient").expect(202);
        let mut connection = Connection::to(port).unwrap();
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            closing(&opened, &digest_of(bytes)),
            bytes.len(),
        );
        connection.write(head.as_bytes()).unwrap();
        // Without the word the body would never be sent.
        assert_eq!(connection.head().unwrap().status, 100);
        connection.write(bytes).unwrap();
        connection.answer("PUT").unwrap().expect(201);
    }
    // A registry that is slow to say it, and one that says no at once.
    let upstream = MisbehavingUpstream::start(|heard| {
        if heard.target == "/v2/no" {
            return Reply::AnswerAndClose(answer("413 Too Large", "no"));
        }
        Reply::Pieces(vec![ok("got it")], Duration::from_millis(1500))
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for (target, status) in [("/v2/no", 413), ("/v2/slow", 200)] {
        let mut connection = Connection::to(sidecar.port).unwrap();
        let head = format!(
            "PATCH {target} HTTP/1.1\r\nHost: registry.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        );
        connection.write(head.as_bytes()).unwrap();
        if status == 200 {
            // As a client does that has waited long enough.
            std::thread::sleep(Duration::from_millis(500));
            connection.write(b"abc").unwrap();
        }
        connection.answer("PATCH").unwrap().expect(status);
    }
}

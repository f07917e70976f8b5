//! A registry's broken answer is not quoted in the log: it may hold what only the client may know.

use crate::support;
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, in_front_of};
use support::secret_search::{LOGS, Secrets, logging, nothing_is_said};

#[test]
fn nothing_of_a_response_that_is_no_http_is_repeated() {
    let word = "aSecretOfTheRegistry0123456789";
    let upstream = MisbehavingUpstream::start(move |heard| {
        let end = match heard.target.rsplit('/').next() {
            Some("name") => format!("{word} {word}\r\n\r\n"),
            Some("length") => format!("Content-Length: {word}\r\n\r\n"),
            Some("chunk") => format!("Transfer-Encoding: chunked\r\n\r\n{word}\r\n{word}"),
            Some("size") => format!("Transfer-Encoding: chunked\r\n\r\n5\r\n{word}\r\n"),
            _ => format!("Content-Length: 2000\r\n\r\n{{\"token\":\"{word}\"}}"),
        };
        Reply::AnswerAndClose(
            format!(
                "HTTP/1.1 200 OK\r\nLocation: /v2/x?_state={word}\r\nSet-Cookie: s={word}\r\n\
                 Www-Authenticate: Bearer realm=\"{word}\"\r\n{end}"
            )
            .into_bytes(),
        )
    });
    for kind in LOGS {
        let (sidecar, _root) = in_front_of(&upstream, |config| logging(config, kind));
        let mut secrets = Secrets::default();
        secrets.keep(word);
        let client = secrets.basic(sidecar.port, "alice", "a password of alice");
        for method in ["GET", "POST", "PUT"] {
            for end in ["name", "length", "chunk", "size", "short"] {
                let request = client.request(method, &format!("/v2/{end}?_state={word}/{end}"));
                let _ = request.try_send(sidecar.port);
            }
        }
        let log = nothing_is_said(&sidecar, &secrets);
        assert!(log.contains("/v2/name"), "{log}");
    }
}

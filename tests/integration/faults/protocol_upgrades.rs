//! An upstream that switches protocols.

use crate::support::misbehaving_upstream::{
    MisbehavingUpstream, ReceivedRequest, Reply, in_front_of, ok,
};
use crate::support::raw_http::Connection;

#[test]
fn an_upstream_that_switches_protocols_gets_no_tunnel() {
    // The sample handshake of RFC 6455: what is a valid one may be treated in another way.
    let websocket =
        "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let upstream = MisbehavingUpstream::start(move |heard| {
        let to = heard.target.rsplit('/').next().unwrap();
        let switching = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
        Reply::AnswerAndClose([switching.as_bytes(), &ok("through")].concat())
    });
    let (mut sidecar, _root) = in_front_of(&upstream, |_| ());
    let cases = [
        ("GET", "/v2/x", "x"),
        ("POST", "/v2/x", "x"),
        ("GET", "/v2/websocket", websocket),
    ];
    for (method, target, to) in cases {
        let mut connection = Connection::to(sidecar.port).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: registry.test\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n"
        );
        connection.write(request.as_bytes()).unwrap();
        let answer = connection.head();
        let what = format!("{method} {target}: {answer:?}");
        assert!(!answer.is_ok_and(|head| head.status == 101), "{what}");
        let heard = upstream.heard();
        let is_it = |heard: &&ReceivedRequest| heard.method == method && heard.target == target;
        let mut heard = heard.iter().filter(is_it).peekable();
        assert!(heard.peek().is_some(), "refused: {what}");
        assert!(heard.all(|it| it.header("Upgrade").is_none()), "{what}");
    }
    assert!(sidecar.is_running());
}

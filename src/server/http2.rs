//! HTTP/2 on the client's side.
//!
//! Pingora terminates the protocol and speaks HTTP/1.1 to the registry. Each request of a
//! connection is served like any other. Two things Pingora does not do for HTTP/2. Interim
//! responses (`100 Continue`) do not reach the client. A client that falls silent in its body is
//! closed only with its connection.

use std::time::Duration;

use http::{HeaderValue, Version, header};
use pingora::Result;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::HttpProxy;

use crate::config::Http2;
use crate::proxy::RegistryProxy;

/// How long a connection without requests is kept, as for HTTP/1.1.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// What a client may send before it is read: as much as Go's server allows (`net/http`,
/// `h2_bundle.go`), so that the distance to the client does not slow an upload down.
const WINDOW: u32 = 1 << 20;
/// Streams in flight on one connection, as Go's server allows.
const STREAMS: u32 = 250;
/// The bytes of a request's headers, as Go's server allows.
const HEADERS: u32 = 1 << 20;

/// Enables HTTP/2, if the operator did.
pub(crate) fn allow_http2(proxy: &mut HttpProxy<RegistryProxy>, http2: Http2) {
    if http2 == Http2::Off {
        return;
    }
    let mut options = default_h2_options();
    options
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS);
    proxy.h2_options = Some(options);
    let mut server = HttpServerOptions::default();
    server.h2c = http2 == Http2::PriorKnowledge;
    server.h2_idle_timeout = Some(IDLE);
    proxy.server_options = Some(server);
}

/// Gives a request the head that it would have in HTTP/1.1: a Host, and one Cookie
/// (RFC 9113, 8.2.3 and 8.3.1).
pub(crate) fn as_http1(head: &mut RequestHeader) -> Result<()> {
    if head.version != Version::HTTP_2 {
        return Ok(());
    }
    if !head.headers.contains_key(header::HOST)
        && let Some(authority) = head.uri.authority().map(ToString::to_string)
    {
        head.insert_header(header::HOST, authority)?;
    }
    let cookies: Vec<_> = head.headers.get_all(header::COOKIE).iter().collect();
    if cookies.len() > 1 {
        let joined = cookies.iter().map(|cookie| cookie.as_bytes());
        let joined = joined.collect::<Vec<_>>().join(&b"; "[..]);
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            head.insert_header(header::COOKIE, joined)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_request_of_http_2_gets_a_host_and_one_cookie() {
        let request = Request::get("https://registry.test:5000/v2/?a=b")
            .version(Version::HTTP_2)
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .body(());
        let mut head = RequestHeader::from(request.unwrap().into_parts().0);
        as_http1(&mut head).unwrap();
        assert_eq!(head.headers.get("host").unwrap(), "registry.test:5000");
        let cookies: Vec<_> = head.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
        assert_eq!(head.raw_path(), b"/v2/?a=b");
    }

    #[test]
    fn a_request_of_http_1_stays_as_it_came() {
        let mut head = RequestHeader::build("GET", b"/v2/", None).unwrap();
        head.append_header("Cookie", "a=1").unwrap();
        head.append_header("Cookie", "b=2").unwrap();
        as_http1(&mut head).unwrap();
        assert_eq!(head.headers.get_all("cookie").iter().count(), 2);
        assert!(!head.headers.contains_key("host"));
    }
}

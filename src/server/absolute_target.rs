//! Absolute targets whose authority equals Host in meaning, but not in spelling.
//!
//! Pingora refuses a request whose Host is not, byte for byte, the authority of its target, before
//! any filter sees it. A registry takes the target's and ignores Host (RFC 9112, 3.2.2). If the two
//! mean the same, Host gets the target's spelling. If not, the request stays as it came and is
//! refused.

use http::header;

/// Whether the first bytes of a request have an absolute target.
pub(crate) fn starts_absolute(bytes: &[u8]) -> bool {
    let target = bytes.iter().position(|byte| *byte == b' ');
    target.is_some_and(|space| scheme(&bytes[space + 1..]).is_some())
}

/// The end of a head, its empty line included.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// A complete head with the target's spelling of Host, if the two mean the same.
pub(crate) fn reconciled(head: &[u8]) -> Option<Vec<u8>> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let target = line.split(|byte| *byte == b' ').nth(1)?;
    let scheme = scheme(target)?;
    let rest = &target[scheme.prefix.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let authority = &rest[..end.unwrap_or(rest.len())];
    let host = sole_host(head)?;
    let means = |authority: &[u8]| {
        let lower = authority.to_ascii_lowercase();
        let bare = lower.strip_suffix(scheme.port).unwrap_or(&lower);
        bare.to_vec()
    };
    let differs = head[host.clone()] != *authority;
    (differs && means(&head[host.clone()]) == means(authority)).then(|| {
        let mut head = head.to_vec();
        head.splice(host, authority.iter().copied());
        head
    })
}

struct TargetScheme {
    prefix: &'static [u8],
    /// The scheme's default port.
    port: &'static [u8],
}

fn scheme(target: &[u8]) -> Option<TargetScheme> {
    let schemes = [
        (&b"http://"[..], &b":80"[..]),
        (&b"https://"[..], &b":443"[..]),
    ];
    schemes.into_iter().find_map(|(prefix, port)| {
        let start = target.get(..prefix.len())?;
        let is_it = start.eq_ignore_ascii_case(prefix);
        is_it.then_some(TargetScheme { prefix, port })
    })
}

/// The range of Host's value, if there is exactly one.
fn sole_host(head: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    let mut found = None;
    for line in head.split(|byte| *byte == b'\n') {
        if let Some(colon) = line.iter().position(|byte| *byte == b':')
            && line[..colon].eq_ignore_ascii_case(header::HOST.as_str().as_bytes())
        {
            let value = &line[colon + 1..];
            let before = value.len() - value.trim_ascii_start().len();
            let begin = start + colon + 1 + before;
            let place = begin..begin + value.trim_ascii().len();
            if found.replace(place).is_some() {
                return None;
            }
        }
        start += line.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, hosts: &[&str]) -> String {
        let line = format!("GET {target} HTTP/1.1\r\nA: host: b\r\n");
        let hosts = hosts.iter().map(|host| format!("host: {host} \r\n"));
        let all: Vec<_> = std::iter::once(line).chain(hosts).collect();
        all.concat() + "B: c\r\n\r\n"
    }

    #[test]
    fn host_is_written_as_the_target_where_both_mean_the_same() {
        for (target, host, written) in [
            ("http://reg.example:80/v2/", "reg.example", "reg.example:80"),
            ("http://reg.example/v2/", "reg.example:80", "reg.example"),
            ("HTTP://Reg.Example?a", "reg.example", "Reg.Example"),
            ("https://reg.example:443", "REG.example", "reg.example:443"),
            ("http://[::1]:80/", "[::1]", "[::1]:80"),
        ] {
            assert!(
                starts_absolute(head(target, &[host]).as_bytes()),
                "{target}"
            );
            let rewritten = reconciled(head(target, &[host]).as_bytes()).unwrap();
            assert_eq!(
                String::from_utf8(rewritten).unwrap(),
                head(target, &[written])
            );
        }
    }

    #[test]
    fn everything_else_stays_as_it_came() {
        for (target, hosts) in [
            ("/v2/", &["reg.example"][..]),
            ("*", &["reg.example"]),
            ("ftp://reg.example:80/", &["reg.example"]),
            ("http://reg.example/v2/", &["reg.example"]),
            ("http://reg.example/v2/", &["other.example"]),
            ("http://reg.example:443/", &["reg.example"]),
            ("https://reg.example:80/", &["reg.example"]),
            ("http://reg.example:80/", &["reg.example:8080"]),
            ("http://a@reg.example:80/", &["reg.example"]),
            ("http://reg.example:80/", &["reg.example", "reg.example"]),
            ("http://reg.example:80/", &[]),
        ] {
            let head = head(target, hosts);
            assert_eq!(reconciled(head.as_bytes()), None, "{target} {hosts:?}");
        }
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\nA: b\r\n"), None);
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\n\r\nbody"), Some(18));
    }
}

//! distribution's own reading of a bodyless POST, written from its source and from Go's.

#[cfg(test)]
pub(crate) const D: &str =
    "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

/// What distribution's `blobUploadHandler.StartBlobUpload` receives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub name: Vec<u8>,
    pub from: Vec<u8>,
    pub mount: Vec<u8>,
}

/// The upload that the registry starts; `None` if it redirects, refuses or has no such route.
pub(crate) fn registry(prefix: &str, target: &[u8]) -> Option<Seen> {
    // Go's `url.ParseRequestURI`: no control byte, a path from the root, no fragment.
    if target.iter().any(|b| *b <= b' ' || *b == 0x7f) || !target.starts_with(b"/") {
        return None;
    }
    let mut halves = target.splitn(2, |b| *b == b'?');
    let path = unescaped(halves.next()?, false)?;
    if cleaned(&path) != path {
        return None;
    }
    let base = [prefix.as_bytes(), b"v2/"].concat();
    let name = path
        .strip_prefix(&*base)?
        .strip_suffix(b"/blobs/uploads/")?;
    if name.len() > 255 || !is_name(name) || is_identifier(name) {
        return None;
    }
    let query = halves.next().unwrap_or_default();
    Some(Seen {
        name: name.to_vec(),
        from: first_value(query, b"from"),
        mount: first_value(query, b"mount"),
    })
}

/// `net/url.unescape`, for a path or for a part of a query.
pub(crate) fn unescaped(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let byte = digit(at + 1)? * 16 + digit(at + 2)?;
                bytes.push(u8::try_from(byte).ok()?);
                at += 2;
            }
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(byte),
        }
        at += 1;
    }
    Some(bytes)
}

/// `mux.cleanPath`: a path that differs from its clean form gets a redirect.
fn cleaned(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let mut clean = b"/".to_vec();
    clean.extend(kept.join(&b'/'));
    if path.ends_with(b"/") && clean != b"/" {
        clean.push(b'/');
    }
    clean
}

/// `reference.NameRegexp`: a domain and a slash may stand before the components.
fn is_name(name: &[u8]) -> bool {
    let parts: Vec<_> = name.split(|b| *b == b'/').collect();
    let (first, rest) = (parts[0], &parts[1..]);
    (is_component(first) || !rest.is_empty() && is_domain(first))
        && rest.iter().all(|part| is_component(part))
}

/// `[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*`, one state after the other.
fn is_component(text: &[u8]) -> bool {
    #[derive(PartialEq)]
    enum After {
        Nothing,
        Word,
        Mark,
        Underscore,
        Dash,
    }
    let mut after = After::Nothing;
    for byte in text {
        after = match (byte, after) {
            (b'a'..=b'z' | b'0'..=b'9', _) => After::Word,
            (b'.', After::Word) | (b'_', After::Underscore) => After::Mark,
            (b'_', After::Word) => After::Underscore,
            (b'-', After::Word | After::Dash) => After::Dash,
            _ => return false,
        };
    }
    after == After::Word
}

/// `reference.DomainRegexp`: labels joined by dots, and a port.
fn is_domain(text: &[u8]) -> bool {
    let mut halves = text.splitn(2, |b| *b == b':');
    let is_label = |label: &[u8]| {
        label
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && matches!(label, [first, .., last] if *first != b'-' && *last != b'-')
            || matches!(label, [only] if only.is_ascii_alphanumeric())
    };
    halves
        .next()
        .is_some_and(|host| host.split(|b| *b == b'.').all(is_label))
        && halves
            .next()
            .is_none_or(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit))
}

/// 64 hexadecimal digits alone: the descriptor cache takes no such name.
fn is_identifier(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(|b| b"0123456789abcdef".contains(b))
}

/// `url.ParseQuery` and `Request.FormValue`: a broken pair is dropped, the first value counts.
fn first_value(query: &[u8], wanted: &[u8]) -> Vec<u8> {
    query
        .split(|b| *b == b'&')
        .filter(|pair| !pair.contains(&b';'))
        .find_map(|pair| {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let key = unescaped(halves.next()?, true)?;
            let value = unescaped(halves.next().unwrap_or_default(), true)?;
            (key == wanted).then_some(value)
        })
        .unwrap_or_default()
}

#[cfg(test)]
#[test]
fn the_model_reads_requests_as_the_registry_was_seen_to_read_them() {
    let seen = |target: &str| {
        let target = target.replace('D', D);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        registry("/", target.as_bytes()).map(|seen| {
            (
                text(&seen.name),
                text(&seen.from),
                seen.mount == D.as_bytes(),
            )
        })
    };
    let some = |name: &str, from: &str| Some((name.to_owned(), from.to_owned(), true));
    for (query, wanted) in [
        ("mount=D&from=x", some("t", "x")),
        ("mount=D&from=x&from=y&mount=z", some("t", "x")),
        ("mount=D&from=x;&from=y", some("t", "y")),
        ("mount=D&from=%zz&%66rom=a%2Fb+", some("t", "a/b ")),
        ("mount=D?&from=x", Some(("t".into(), "x".into(), false))),
        ("mount=D#&from=x#", Some(("t".into(), "x#".into(), false))),
    ] {
        assert_eq!(
            seen(&format!("/v2/t/blobs/uploads/?{query}")),
            wanted,
            "{query}"
        );
    }
    for (path, name) in [
        ("/v2/t%2Fx/blobs%2fuploads/", Some("t/x")),
        ("/%76%32/t/blobs/uploads%2F", Some("t")),
        (
            "/v2/Host.Example:5000/t/blobs/uploads/",
            Some("Host.Example:5000/t"),
        ),
        ("/v2/t/../u/blobs/uploads/", None),
        ("/v2/%2e%2e/t/blobs/uploads/", None),
        ("//v2/t/blobs/uploads/", None),
        ("/v2/T/blobs/uploads/", None),
        ("/v2/t%00/blobs/uploads/", None),
        ("/v2/t/blobs/uploads", None),
        ("http://h/v2/t/blobs/uploads/", None),
    ] {
        let found = seen(&format!("{path}?mount=D&from=x"));
        assert_eq!(found, name.and_then(|name| some(name, "x")), "{path}");
    }
}

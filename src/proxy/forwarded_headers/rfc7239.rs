//! The `Forwarded` header of RFC 7239, read as distribution reads it.

/// The client's scheme and host as the first proxy forwarded them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ForwardedHeader {
    /// The scheme that the client used.
    pub proto: Option<String>,
    /// The host that the client named.
    pub host: Option<String>,
    /// Where the scheme's value begins, if it is quoted.
    quoted_proto: Option<usize>,
    has_parameters: bool,
}

/// Reads the first element; `None` if distribution would ignore the whole header
/// (`registry/api/v2/headerparser.go`).
pub(crate) fn parse(text: &str) -> Option<ForwardedHeader> {
    let mut found = ForwardedHeader::default();
    let mut names: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && (found.has_parameters || !rest.starts_with(',')) {
        found.has_parameters = true;
        let (name, after) = token(rest)?;
        let name = name.to_ascii_lowercase();
        let after = after.trim_start().strip_prefix('=')?.trim_start();
        let quoted = after.strip_prefix('"');
        let (value, after) = if let Some(quoted) = quoted {
            quoted_value(quoted)?
        } else {
            // Only an unquoted value is refused if its name came before.
            if names.contains(&name) {
                return None;
            }
            token(after).map(|(value, after)| (value.to_owned(), after))?
        };
        match name.as_str() {
            "proto" => {
                found.proto = Some(value);
                found.quoted_proto = quoted.map(|quoted| text.len() - quoted.len());
            }
            "host" => found.host = Some(value),
            _ => {}
        }
        names.push(name);
        rest = match after.trim_start() {
            after if after.is_empty() || after.starts_with(',') => break,
            after => after.strip_prefix(';')?.trim_start(),
        };
    }
    Some(found)
}

/// The header with this scheme in its first element; `None` if that names one already.
pub(crate) fn with_proto(text: &str, scheme: &str) -> Option<String> {
    let Some(found) = parse(text) else {
        // Distribution ignores the header, and X-Forwarded-Proto beside it. It reads only the first
        // element, so the scheme gets one of its own.
        return Some(format!("proto={scheme}, {text}"));
    };
    match (found.proto.as_deref(), found.quoted_proto) {
        (None, _) if found.has_parameters => Some(format!("proto={scheme};{text}")),
        (None, _) => Some(format!("proto={scheme}{text}")),
        (Some(""), Some(at)) => Some(format!("{}{scheme}{}", &text[..at], &text[at..])),
        (Some(_), _) => None,
    }
}

/// A token of at least one character, and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_delimiter = |c: char| "\"(),/:;<=>?@[]{}".contains(c);
    let ends = |c: char| c.is_ascii_whitespace() || c.is_ascii_control() || is_delimiter(c);
    let end = text.find(ends).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A quoted value without its quotes, and what follows it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let is_escapable = |c: &char| c.is_ascii_graphic() || matches!(c, ' ' | '\t');
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next().map(|(_, c)| c).filter(is_escapable)?),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str) -> Option<(Option<String>, Option<String>)> {
        parse(text).map(|found| (found.proto, found.host))
    }

    fn said(proto: Option<&str>, host: Option<&str>) -> (Option<String>, Option<String>) {
        (proto.map(str::to_owned), host.map(str::to_owned))
    }

    #[test]
    fn the_first_element_counts() {
        assert_eq!(
            both("For=192.0.2.43; Proto=https,For=\"[2001:db8::17]\";proto=http"),
            Some(said(Some("https"), None))
        );
        assert_eq!(
            both("for=\"192.0.2.43:443\"; host=\"registry.example.org\", host=other"),
            Some(said(None, Some("registry.example.org")))
        );
        assert_eq!(
            both("host=a;proto=b;by=c"),
            Some(said(Some("b"), Some("a")))
        );
        assert_eq!(both("host=\"a\\\"b\""), Some(said(None, Some("a\"b"))));
        assert_eq!(both("host=a\\b"), Some(said(None, Some("a\\b"))));
        assert_eq!(both(" ,host=a"), Some(said(None, None)));
        assert_eq!(both("host=a; "), Some(said(None, Some("a"))));
    }

    #[test]
    fn what_distribution_ignores_is_ignored() {
        for text in [
            "host",
            "host=",
            "=x",
            "host=a b",
            "host=\"a",
            "host=a:5000",
            "host=a;host=b",
            "host=a;,proto=b",
            "host=\"a\\\u{e9}\"",
        ] {
            assert_eq!(both(text), None, "{text}");
        }
        assert_eq!(both(""), Some(said(None, None)));
    }

    #[test]
    fn a_scheme_is_added_only_where_none_is() {
        for (text, filled) in [
            ("for=192.0.2.1", "proto=https;for=192.0.2.1"),
            ("host=a, proto=http", "proto=https;host=a, proto=http"),
            (" , proto=http", "proto=https , proto=http"),
            ("host=a;Proto=\"\";by=b", "host=a;Proto=\"https\";by=b"),
            ("proto=\"\";proto=\"\"", "proto=\"\";proto=\"https\""),
            ("for=192.0.2.1:80", "proto=https, for=192.0.2.1:80"),
            ("proto=\"a", "proto=https, proto=\"a"),
        ] {
            assert_eq!(with_proto(text, "https").as_deref(), Some(filled));
            assert_eq!(with_proto(filled, "https"), None, "{filled}");
            let (before, after) = (parse(text).unwrap_or_default(), parse(filled).unwrap());
            assert_eq!(after.host, before.host, "{filled}");
            assert_eq!(after.proto.as_deref(), Some("https"), "{filled}");
        }
        assert_eq!(with_proto("proto=http", "https"), None);
        assert_eq!(with_proto("for=a;proto=\"http\",by=b", "https"), None);
    }
}

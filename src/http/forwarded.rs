//! The `Forwarded` header of RFC 7239, read as distribution reads it.

/// What the first proxy says of the client's own request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The scheme that the client used.
    pub proto: Option<String>,
    /// The host that the client named.
    pub host: Option<String>,
}

/// Reads the first element; `None` where distribution would ignore the whole header
/// (`registry/api/v2/headerparser.go`).
pub(super) fn parse(text: &str) -> Option<Forwarded> {
    let mut found = Forwarded::default();
    let mut names: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && !rest.starts_with(',') {
        let (name, after) = token(rest)?;
        let name = name.to_ascii_lowercase();
        let after = after.trim_start().strip_prefix('=')?.trim_start();
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            quoted_value(quoted)?
        } else {
            // Only an unquoted value is refused when its name came before.
            if names.contains(&name) {
                return None;
            }
            token(after).map(|(value, after)| (value.to_owned(), after))?
        };
        match name.as_str() {
            "proto" => found.proto = Some(value),
            "host" => found.host = Some(value),
            _ => {}
        }
        names.push(name);
        rest = match after.trim_start() {
            "" => "",
            after if after.starts_with(',') => after,
            after => after.strip_prefix(';')?.trim_start(),
        };
    }
    Some(found)
}

/// A token of at least one character, and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_delimiter = |c: char| "\"(),/:;<=>?@[]{}\\".contains(c);
    let ends = |c: char| c.is_ascii_whitespace() || c.is_ascii_control() || is_delimiter(c);
    let end = text.find(ends).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A quoted value without its quotes, and what follows it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
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
        ] {
            assert_eq!(both(text), None, "{text}");
        }
        assert_eq!(both(""), Some(said(None, None)));
    }
}

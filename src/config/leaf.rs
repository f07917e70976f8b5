//! How single values are read and written. Each module here is for `#[serde(with = "…")]`.

use std::fmt::Display;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

/// The longest duration. A longer one is a mistake, and may overflow the clock.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest time for which a client is let wait.
const LONGEST_WAIT: Duration = Duration::from_secs(50);
const MIB: u64 = 1024 * 1024;

/// Parses a text; the parser's error says which values are valid.
pub(super) fn parsed<'de, T, D: Deserializer<'de>>(
    value: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(value)?).map_err(D::Error::custom)
}

/// As [`parsed`], of each text of a list.
pub(super) fn all_parsed<'de, T, D: Deserializer<'de>>(
    value: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(value)?;
    let parsed: Result<_, _> = texts.iter().map(|text| parse(text)).collect();
    parsed.map_err(D::Error::custom)
}

/// A duration such as `10s`, `250ms` or `1h30m`.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span > LONGEST => Err("must not be longer than a day".to_owned()),
        Ok(span) => Ok(span),
        Err(_) => Err(format!(
            "{text:?} is not a duration such as 10s, 250ms or 1h30m"
        )),
    }
}

/// A duration that is not zero.
pub(super) fn parse_positive_span(text: &str) -> Result<Duration, String> {
    match parse_span(text)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        span => Ok(span),
    }
}

/// A duration for which a client may be let wait.
pub(super) fn parse_wait(text: &str) -> Result<Duration, String> {
    match parse_span(text)? {
        wait if wait > LONGEST_WAIT => Err("must not be longer than 50s: proxies and clients \
                                            give up after a minute"
            .to_owned()),
        wait => Ok(wait),
    }
}

/// A number of bytes such as `512MiB`, `2GB` or `1000000`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err(format!("{text:?} is not a size such as 512MiB or 2GB")),
    }
}

pub(super) fn show_span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

pub(super) fn show_size(size: u64) -> String {
    if size.is_multiple_of(MIB) {
        format!("{}MiB", size / MIB)
    } else {
        size.to_string()
    }
}

/// A plain path of a URL: nothing in it needs an escape or means another path.
pub(super) fn is_plain_path(text: &str) -> bool {
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
    let is_clean = !text.contains("//") && !text.contains("/.");
    text.starts_with('/') && text.bytes().all(is_plain) && is_clean
}

/// One of a few words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Each word with its value.
    const WORDS: &'static [(&'static str, Self)];

    fn parse_word(text: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<_> = Self::WORDS.iter().map(|(word, _)| *word).collect();
            format!("{text:?} is not one of: {}", known.join(", "))
        })
    }

    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }
}

/// Implements serde's traits of a module by a parser and a writer.
macro_rules! with {
    ($name:ident, $type:ty, $parse:path, $show:path) => {
        pub(in crate::config) mod $name {
            pub(crate) fn deserialize<'de, D>(value: D) -> Result<$type, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                super::parsed(value, $parse)
            }

            pub(crate) fn serialize<S>(value: &$type, out: S) -> Result<S::Ok, S::Error>
            where
                S: serde::Serializer,
            {
                out.collect_str(&$show(*value))
            }
        }
    };
}

with!(
    span,
    std::time::Duration,
    super::parse_span,
    super::show_span
);
with!(
    positive_span,
    std::time::Duration,
    super::parse_positive_span,
    super::show_span
);
with!(
    wait,
    std::time::Duration,
    super::parse_wait,
    super::show_span
);
with!(size, u64, super::parse_size, super::show_size);

/// A word.
pub(super) mod word {
    use serde::{Deserializer, Serializer};

    use super::Word;

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
        super::parsed(value, T::parse_word)
    }

    pub(crate) fn serialize<T: Word, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(value.word())
    }
}

/// Writes a value as its own text.
pub(super) fn shown<S: serde::Serializer>(value: impl Display, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&value)
}

/// A truth value, or a text that stands for one, as Go and its parser of YAML take them.
pub(super) mod flag {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::{Serialize, Serializer};
    use serde_yaml::Value;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
        match Value::deserialize(value)? {
            Value::Bool(flag) => Ok(flag),
            Value::String(text) => parse(&text).map_err(D::Error::custom),
            Value::Number(number) => parse(&number.to_string()).map_err(D::Error::custom),
            _ => Err(D::Error::custom("is not true or false")),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<bool, String> {
        match &*text.to_ascii_lowercase() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
            _ => Err(format!("{text:?} is not true or false")),
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(crate) fn serialize<S: Serializer>(value: &bool, out: S) -> Result<S::Ok, S::Error> {
        value.serialize(out)
    }
}

/// Writes each value of a list as its own text.
pub(super) fn all_shown<T: Display, S>(values: &[T], out: S) -> Result<S::Ok, S::Error>
where
    S: serde::Serializer,
{
    out.collect_seq(values.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(parse_span("1m30s"), Ok(Duration::from_secs(90)));
        assert!(parse_span("10").is_err());
        assert!(parse_span("").is_err());
    }
}

//! JSON without ambiguity.
//!
//! Go's `encoding/json`, by which distribution 2.8 reads tokens, takes the last of several equal
//! keys, merges lists, and ignores the case of keys. What could be read differently is refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads an object without repeated keys, at any depth.
pub(crate) fn parse_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(StrictValue(Value::Object(object))) => Some(object),
        _ => None,
    }
}

/// Whether a reader that ignores case could take a key for one of `names`.
pub(crate) fn folds_to_same_name(key: &str, names: &[&str]) -> bool {
    let is_one = |name: &&str| key != *name && key.eq_ignore_ascii_case(name);
    // Go takes letters such as the long s and the Kelvin sign for ASCII ones.
    !key.is_ascii() || names.iter().any(is_one)
}

/// A value without repeated keys.
struct StrictValue(Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(StrictValue)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(StrictValue(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((key, StrictValue(value))) = entries.next_entry::<String, _>()? {
            if all.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_without_duplicates_is_read_whole() {
        let text = r#" {"a":[1,-2,1.5,true,null,{"b":"\u0063"}],"c":{}} "#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            parse_object(text.as_bytes()).map(Value::Object),
            Some(plain)
        );
    }

    #[test]
    fn what_has_two_readings_or_none_is_not_read() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":[{"b":1,"c":2,"b":3}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1} x"#,
            "\u{feff}{}",
            "[]",
            "null",
            "",
        ] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn keys_that_differ_only_in_case_are_alike() {
        for key in ["ISS", "Iss", "i\u{17f}s"] {
            assert!(folds_to_same_name(key, &["iss", "sub"]), "{key}");
        }
        for key in ["iss", "issuer", "x5t#S256", ""] {
            assert!(!folds_to_same_name(key, &["iss", "sub"]), "{key}");
        }
    }
}

//! The JSON of a token's claims: read as by the registry, which is asked where it is odd.

use crate::{needs, support, table};
use serde_json::Value;
use support::compare::credentials::compare;
use support::credential_variants::{Variant, after, before, claims_text, without};
use support::version::version;

/// The claims with this member retold as text, at their end.
fn retold(key: &'static str, value: &'static str) -> Variant {
    claims_text(move |text| {
        let mut claims: Value = serde_json::from_str(text).unwrap();
        without(&mut claims, key);
        after(&claims.to_string(), &format!("\"{key}\":{value}"))
    })
}

/// The claims with a piece of their text, which is there once, exchanged.
fn swapped(piece: &'static str, other: &'static str) -> Variant {
    claims_text(move |text| {
        assert_eq!(text.matches(piece).count(), 1, "{piece} in {text}");
        text.replace(piece, other)
    })
}

fn first(members: &'static str) -> Variant {
    claims_text(move |text| before(text, members))
}

fn last(members: &'static str) -> Variant {
    claims_text(move |text| after(text, members))
}

/// Bytes where the subject was.
fn subject(bytes: &'static [u8]) -> Variant {
    claims_text(move |text| {
        let (left, right) = text.split_once("\"ci\"").unwrap();
        [left.as_bytes(), bytes, right.as_bytes()].concat()
    })
}

/// A claim that nobody knows, with lists in lists.
fn nested(depth: usize) -> Variant {
    claims_text(move |text| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        after(text, &format!("\"x\":{open}{close}"))
    })
}

#[test]
fn claims_are_one_object_of_json() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "whitespace around": claims_text(|text| format!("\r\n\t {text} \n"));
        Allowed "whitespace within":
            claims_text(|text| text.replace(':', " :\n").replace(',', "\t,\r"));
        Allowed "an escape in the source": swapped("\"src\"", "\"\\u0073rc\"");
        Allowed "an escape in a key": swapped("\"iss\"", "\"\\u0069s\\u0073\"");
        Allowed "an escaped slash in the target": swapped("\"to/", "\"to\\/");
        Unknown "a byte order mark": claims_text(|text| format!("\u{feff}{text}"));
        Unknown "a letter after the claims": claims_text(|text| format!("{text}x"));
        Unknown "a brace after the claims": claims_text(|text| format!("{text}}}"));
        Unknown "a zero byte after the claims": claims_text(|text| format!("{text}\0"));
        Unknown "a no-break space after the claims": claims_text(|text| format!("{text}\u{a0}"));
        Unknown "the claims twice": claims_text(|text| format!("{text}{text}"));
        Unknown "the claims cut short": claims_text(|text| text[..text.len() - 1].to_owned());
        Unknown "a comma after the last claim":
            claims_text(|text| text.replace("\"ci\"}", "\"ci\",}"));
        Unknown "a comment": claims_text(|text| format!("/**/{text}"));
        Unknown "other quotes": swapped("\"ci\"", "'ci'");
        Unknown "nothing": claims_text(|_| "");
        Any "null": claims_text(|_| "null");
        Any "an empty object": claims_text(|_| "{}");
        Unknown "a list": claims_text(|text| format!("[{text}]"));
        Unknown "a string": claims_text(|_| "\"claims\"");
        Unknown "a string that is not UTF-8": subject(b"\"\xff\"");
        Unknown "a string that is Latin-1": subject(b"\"caf\xe9\"");
        Unknown "half a surrogate": subject(b"\"\\ud800\"");
        Allowed "a whole surrogate": subject(b"\"\\ud83d\\ude00\"");
        Unknown "an escape that is none": subject(b"\"\\x63i\"");
        Unknown "a line feed in a string": subject(b"\"c\ni\"");
        Allowed "an escaped zero byte in a string": subject(b"\"c\\u0000i\"");
        Unknown "a source that is not UTF-8": claims_text(|text| {
            let (left, right) = text.split_once("\"src\"").unwrap();
            [left.as_bytes(), b"\"s\xffrc\"", right.as_bytes()].concat()
        });
        Any "100 lists in lists": nested(100);
        Unknown "5000 lists in lists": nested(5000);
        Unknown "20000 lists in lists": nested(20_000);
    });
}

#[test]
fn times_are_whole_numbers_without_an_exponent() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "a far exp": retold("exp", "9999999999");
        Unknown "a broken exp": retold("exp", "9999999999.5");
        Unknown "a whole exp with a point": retold("exp", "9999999999.0");
        Unknown "an exp with an exponent": retold("exp", "1e10");
        Unknown "an exp with a capital exponent": retold("exp", "1E10");
        Unknown "an exp with a negative exponent": retold("exp", "99999999990e-1");
        Unknown "an exp with a plus": retold("exp", "+9999999999");
        Unknown "an exp with a zero before it": retold("exp", "09999999999");
        Unknown "a hexadecimal exp": retold("exp", "0x7fffffff");
        Unknown "an exp that is infinite": retold("exp", "1e999");
        Unknown "an exp of 30 digits": retold("exp", "999999999999999999999999999999");
        Any "an exp of minus zero": retold("exp", "-0");
        Unknown "a broken nbf": retold("nbf", "1.5");
        Unknown "an nbf of nought point nought": retold("nbf", "0.0");
        Unknown "an nbf with an exponent": retold("nbf", "1e9");
        Any "an nbf of minus zero": retold("nbf", "-0");
        Unknown "a broken iat": retold("iat", "1700000000.25");
    });
}

#[test]
fn of_a_claim_that_comes_twice_the_last_counts() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Unknown "the last issuer is wrong": last(r#""iss":"elsewhere""#);
        Unknown "the first issuer is wrong": first(r#""iss":"elsewhere""#);
        Unknown "both issuers are right": first(r#""iss":"auth.test""#);
        Unknown "the last issuer is null": last(r#""iss":null"#);
        Unknown "the last issuer is a number": last(r#""iss":1"#);
        Unknown "the last issuer is wrong, its key escaped": last(r#""\u0069ss":"elsewhere""#);
        Unknown "the last audience is wrong": last(r#""aud":"elsewhere""#);
        Unknown "the first audience is wrong": first(r#""aud":"elsewhere""#);
        Unknown "the last exp is over": last(r#""exp":1"#);
        Unknown "the first exp is over": first(r#""exp":1"#);
        Unknown "the last nbf is far": last(r#""nbf":9999999999"#);
        Unknown "the first nbf is far": first(r#""nbf":9999999999"#);
        Unknown "the last access is empty": last(r#""access":[]"#);
        Unknown "the first access is empty": first(r#""access":[]"#);
        Unknown "the last access is null": last(r#""access":null"#);
        Unknown "the last access takes the names of the first":
            last(r#""access":[{"actions":["*"]},{}]"#);
        Unknown "the first access gives its class to the last":
            first(r#""access":[{"class":"x"},{"type":"x"},{"type":"x"}]"#);
        Unknown "the last name is wrong": swapped(r#""name":"src""#, r#""name":"src","name":"x""#);
        Unknown "the first name is wrong": swapped(r#""name":"src""#, r#""name":"x","name":"src""#);
        Unknown "the last actions are none": swapped(r#"["pull"]"#, r#"["pull"],"actions":[]"#);
        Unknown "the first actions are none": swapped(r#"["pull"]"#, r#"[],"actions":["pull"]"#);
        Unknown "the last type is wrong": swapped(r#"src","#, r#"src","type":"repository","#);
        Unknown "the subject twice": last(r#""sub":"somebody""#);
        Unknown "an unknown claim twice": last(r#""x":1,"x":1"#);
        Unknown "a member of an unknown claim twice": last(r#""x":{"y":[{"z":1,"z":2}]}"#);
    });
}

#[test]
fn keys_are_the_same_without_regard_to_case() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Unknown "ISS": swapped(r#""iss""#, r#""ISS""#);
        Unknown "iss with a long s": swapped(r#""iss""#, "\"i\u{17f}s\"");
        Any "iss with a dotless i": swapped(r#""iss""#, "\"\u{131}ss\"");
        Any "iss with a sharp s": swapped(r#""iss""#, "\"i\u{df}\"");
        Any "iss in wide letters": swapped(r#""iss""#, "\"\u{ff49}\u{ff53}\u{ff53}\"");
        Any "iss and a space": swapped(r#""iss""#, r#""iss ""#);
        Unknown "Aud": swapped(r#""aud""#, r#""Aud""#);
        Unknown "eXp": swapped(r#""exp""#, r#""eXp""#);
        Unknown "Access": swapped(r#""access""#, r#""Access""#);
        Unknown "SUB": swapped(r#""sub""#, r#""SUB""#);
        Unknown "Name": swapped(r#""name":"src""#, r#""Name":"src""#);
        Unknown "TYPE": swapped(r#""src","type""#, r#""src","TYPE""#);
        Unknown "actions with a long s":
            swapped(r#""actions":["pull"]"#, "\"action\u{17f}\":[\"pull\"]")
                .falls_back_if(!version().ignores_case_in_tokens());
        Unknown "the last ISS is wrong": last(r#""ISS":"elsewhere""#);
        Unknown "the first ISS is wrong": first(r#""ISS":"elsewhere""#);
        Unknown "the last iss is wrong and has a long s": last("\"is\u{17f}\":\"elsewhere\"");
        Unknown "the last iss is wrong and has an escaped long s":
            last(r#""is\u017f":"elsewhere""#);
        Unknown "the last AUD is wrong": last(r#""AUD":"elsewhere""#);
        Unknown "the last EXP is over": last(r#""EXP":1"#);
        Unknown "the last Nbf is far": last(r#""Nbf":9999999999"#);
        Unknown "the last ACCESS is empty": last(r#""ACCESS":[]"#);
        Unknown "the last access is empty and has a long s": last("\"acce\u{17f}s\":[]");
        Unknown "the last Name is wrong": swapped(r#""name":"src""#, r#""name":"src","Name":"x""#);
        Unknown "the last Actions are none": swapped(r#"["pull"]"#, r#"["pull"],"Actions":[]"#);
        Unknown "the last Iat is text": last(r#""Iat":"yesterday""#);
        Any "unknown claims that differ in case": last(r#""x":1,"X":2"#);
    });
}

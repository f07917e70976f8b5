//! The form of a token around its claims: read as by the registry, which is asked where it is odd.

use crate::{needs, support, table};
use serde_json::{Value, json};
use support::compare::credentials::compare;
use support::credential_variants::{
    Variant, after, before, claims, encoded, entry, header, header_text, signed, token, values,
    without,
};
use support::forged_tokens::Signing::Rs256;

/// A good header with one more member.
fn member(key: &'static str, value: Value) -> Variant {
    header(move |h| h[key] = value.clone())
}

/// Spaces before the JSON, so that its last letter of base64 has bits to spare.
fn ragged(json: &str) -> String {
    let spaces = (4 - json.len() % 3) % 3;
    " ".repeat(spaces) + json
}

/// The last letter of a base64 text with the least of its spare bits set.
fn spare_bit(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    format!("{rest}{next}")
}

/// A good token with so many other repositories that it is about this long.
fn grown(length: usize) -> Variant {
    claims(move |c| {
        let list = c["access"].as_array_mut().unwrap();
        let other = |number: usize| entry(&format!("other/{number:06}"), &["pull"]);
        let each = other(0).to_string().len() + 1;
        // The chain in the header takes a thousand letters.
        list.extend((0..(length - 2000) * 3 / 4 / each).map(other));
    })
}

#[test]
fn members_of_the_header_that_decide_nothing_are_passed_over() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "no typ": header(|h| without(h, "typ"));
        Allowed "another typ": member("typ", json!("at+jwt"));
        Allowed "an empty typ": member("typ", json!(""));
        Any "a null typ": member("typ", json!(null));
        Unknown "a number as typ": member("typ", json!(1));
        Allowed "a member that nobody knows": member("x", json!({"y": [1]}));
        Any "a content type": member("cty", json!("JWT"));
        Any "a compression": member("zip", json!("DEF"));
        Any "an address of keys": member("jku", json!("https://auth.test/keys"));
        Unknown "crit with exp": member("crit", json!(["exp"]));
        Unknown "crit with an unknown name": member("crit", json!(["x"]));
        Unknown "an empty crit": member("crit", json!([]));
        Unknown "a null crit": member("crit", json!(null));
        Unknown "b64 is false": member("b64", json!(false));
        Unknown "b64 is true": member("b64", json!(true));
        Unknown "b64 is false and critical": header(|h| {
            h["b64"] = json!(false);
            h["crit"] = json!(["b64"]);
        });
    });
}

#[test]
fn a_header_is_one_object_of_json() {
    needs!("docker-registry", "openssl");
    let swapped = |piece: &'static str, other: &'static str| {
        header_text(move |text| text.replace(piece, other))
    };
    let kid = |key: &'static str| {
        signed(
            "authority",
            Rs256,
            move |f| json!({"alg": "RS256", key: f.key("authority").kid()}),
        )
    };
    compare(&table! {
        Allowed "whitespace around": header_text(|text| format!("\n {text}\t"));
        Allowed "an escape in a key": swapped("\"alg\"", "\"\\u0061lg\"");
        Allowed "an escape in the algorithm": swapped("\"RS256\"", "\"\\u0052S256\"");
        Unknown "a byte order mark": header_text(|text| format!("\u{feff}{text}"));
        Unknown "a letter after the header": header_text(|text| format!("{text}x"));
        Unknown "the header twice": header_text(|text| format!("{text}{text}"));
        Unknown "the header in a list": header_text(|text| format!("[{text}]"));
        Unknown "no header": header_text(|_| "");
        Any "null": header_text(|_| "null");
        Any "an empty object": header_text(|_| "{}");
        Unknown "a type that is not UTF-8": header_text(|text| {
            let (left, right) = text.split_once("JWT").unwrap();
            [left.as_bytes(), b"\xff", right.as_bytes()].concat()
        });
        Unknown "none after the algorithm": header_text(|text| after(text, r#""alg":"none""#));
        Unknown "none before the algorithm": header_text(|text| before(text, r#""alg":"none""#));
        Unknown "Alg": swapped("\"alg\"", "\"Alg\"");
        Unknown "ALG is none": header_text(|text| after(text, r#""ALG":"none""#));
        Unknown "X5C": swapped("\"x5c\"", "\"X5C\"");
        Unknown "an empty chain after the chain": header_text(|text| after(text, r#""x5c":[]"#));
        Unknown "an empty chain before the chain": header_text(|text| before(text, r#""x5c":[]"#));
        Unknown "an unknown member twice": header_text(|text| after(text, r#""x":1,"x":1"#));
        Allowed "a good kid": kid("kid");
        Unknown "a good KID": kid("KID");
        Unknown "a good kid with the sign of Kelvin": kid("\u{212a}id");
        Unknown "another kid after a good one": signed("authority", Rs256, |f| {
            json!({"alg": "RS256", "kid": f.key("authority").kid(), "\u{212a}id": "nobody's"})
        });
    });
}

#[test]
fn the_parts_are_base64url_without_padding() {
    needs!("docker-registry", "openssl");
    let parts = |header: fn(String) -> String, claims: fn(String) -> String| {
        encoded(ragged, move |h, c| (header(h), claims(c)))
    };
    let same = |text: String| text;
    compare(&table! {
        Allowed "ragged ends": parts(same, same);
        Unknown "a padded header": parts(|text| text + "==", same);
        Unknown "padded claims": parts(same, |text| text + "==");
        Unknown "half padded claims": parts(same, |text| text + "=");
        Unknown "a padded signature": token(|t| t.signature += "==");
        Unknown "a signature that is padded too much": token(|t| t.signature += "====");
        Unknown "a bit to spare in the header": parts(|text| spare_bit(&text), same);
        Unknown "a bit to spare in the claims": parts(same, |text| spare_bit(&text));
        Unknown "a bit to spare in the signature": token(|t| t.signature = spare_bit(&t.signature));
        Unknown "a letter too many in the claims": parts(same, |text| text + "AAA");
        Any "a signature in another base64": token(|t| {
            let other = t.signature.replace('-', "+").replace('_', "/");
            // One that is the same in both says nothing.
            t.signature = if other == t.signature { other + "+" } else { other };
        });
        Unknown "a percent sign in the signature": token(|t| t.signature.replace_range(..1, "%"));
        Any "a letter that is not ASCII in the signature": token(|t| t.signature.insert(0, 'é'));
        Any "two parts": values(|t| vec![format!("Bearer {}", t.rsplit_once('.').unwrap().0)]);
        Any "one part": values(|t| vec![format!("Bearer {}", t.split('.').next().unwrap())]);
        Any "four parts": values(|t| vec![format!("Bearer {t}.{}", t.split('.').next().unwrap())]);
        Any "five parts": values(|t| vec![format!("Bearer {t}.AAAA.AAAA")]);
        Any "a point after the token": values(|t| vec![format!("Bearer {t}.")]);
        Any "a point before the token": values(|t| vec![format!("Bearer .{t}")]);
        Any "only points": values(|_| vec!["Bearer .."]);
        Any "no claims": token(|t| t.claims.clear());
        Any "no header": token(|t| t.header.clear());
    });
}

#[test]
fn the_scheme_is_bearer_in_any_case_and_one_space() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "Bearer": values(|t| vec![format!("Bearer {t}")]);
        Allowed "bearer": values(|t| vec![format!("bearer {t}")]);
        Allowed "BEARER": values(|t| vec![format!("BEARER {t}")]);
        Allowed "bEaReR": values(|t| vec![format!("bEaReR {t}")]);
        Unknown "two spaces": values(|t| vec![format!("Bearer  {t}")]);
        Denied "a tab": values(|t| vec![format!("Bearer\t{t}")]);
        Unknown "a space and a tab": values(|t| vec![format!("Bearer \t{t}")]);
        Any "a space after the token": values(|t| vec![format!("Bearer {t} ")]);
        Any "a tab after the token": values(|t| vec![format!("Bearer {t}\t")]);
        Any "spaces before the scheme": values(|t| vec![format!("   Bearer {t}")]);
        Any "a tab before the scheme": values(|t| vec![format!("\tBearer {t}")]);
        Any "a word after the token": values(|t| vec![format!("Bearer {t} more")]);
        Any "a comma after the token": values(|t| vec![format!("Bearer {t},")]);
        Any "quotes around the token": values(|t| vec![format!("Bearer \"{t}\"")]);
        Any "the token twice": values(|t| vec![format!("Bearer {t}, Bearer {t}")]);
        Any "a colon after the scheme": values(|t| vec![format!("Bearer: {t}")]);
        Any "an equals sign after the scheme": values(|t| vec![format!("Bearer={t}")]);
        Any "Basic": values(|t| vec![format!("Basic {t}")]);
        Any "Token": values(|t| vec![format!("Token {t}")]);
        Any "Bearers": values(|t| vec![format!("Bearers {t}")]);
        Any "no scheme": values(|t| vec![t.to_owned()]);
        Any "a space in place of the scheme": values(|t| vec![format!(" {t}")]);
        Any "no token": values(|_| vec!["Bearer"]);
        Any "an empty token": values(|_| vec!["Bearer "]);
        Any "an empty value": values(|_| vec![""]);
        Any "no Authorization": values(|_| Vec::<&str>::new());
        Any "a password": values(|_| vec!["Basic Y2k6c2VjcmV0"]);
        Any "letters that are not ASCII": values(|t| vec![format!("Bearer é{t}")]);
        Any "a byte that is not UTF-8":
            values(|t| vec![[b"Bearer ", t.as_bytes(), b"\xff"].concat()]);
        Any "a no-break space": values(|t| vec![format!("Bearer\u{a0}{t}")]);
        Any "a zero byte": values(|t| vec![format!("Bearer {t}\0")]).breaks_http();
        Any "a good value and a bad one":
            values(|t| vec![format!("Bearer {t}"), "Bearer x".to_owned()]);
        Any "a bad value and a good one":
            values(|t| vec!["Bearer x".to_owned(), format!("Bearer {t}")]);
        Any "a good value twice": values(|t| vec![format!("Bearer {t}"), format!("Bearer {t}")]);
        Any "an empty value and a good one": values(|t| vec![String::new(), format!("Bearer {t}")]);
        Any "a password and a good value":
            values(|t| vec!["Basic Y2k6".to_owned(), format!("Bearer {t}")]);
    });
}

/// Both the registry and the sidecar take a mebibyte of headers and no more.
#[test]
fn long_tokens_count_like_short_ones() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "20 kB": grown(20_000);
        Allowed "60 kB": grown(60_000);
        Unknown "70 kB": grown(70_000);
        Unknown "500 kB": grown(500_000);
        Unknown "1000 kB": grown(1_000_000);
    });
}

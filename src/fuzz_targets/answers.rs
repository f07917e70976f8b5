//! A token response is cached only if everything in it allows that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use pingora::http::ResponseHeader;
use serde_json::Value;

use crate::fuzz_targets::input::Input;
use crate::oci::{error_body, has_error_code};
use crate::token_cache::TokenRequest;
use crate::token_cache::freshness::{Freshness, freshness_of};
use crate::token_cache::scope::Scope;
use crate::util::Fingerprints;

/// A choice of status and time; a line each with the request's query, `Cache-Control`, `Age` and a
/// token's claims; and a body. `@T` in it is the token, `@N` in the claims the current time.
pub(crate) fn answers(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let choice = input.byte();
    let (query, cache, age) = (input.line(), input.line(), input.line());
    let Some(claims) = input.text() else {
        return false;
    };
    let body = input.rest();
    errors(body);
    let (Some(question), Some(head)) = (question(query), head(choice, cache, age)) else {
        return false;
    };
    let ttl = Duration::from_secs(u64::from(choice >> 2));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let claims = claims.replace("@N", &now.to_string());
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(&claims));
    let body = String::from_utf8_lossy(body).replace("@T", &token);
    let Freshness::Keep(kept) = freshness_of(&head, body.as_bytes(), &question.scopes, ttl) else {
        return false;
    };
    assert!(kept <= ttl);
    assert_eq!(head.status, 200);
    let cache = String::from_utf8_lossy(cache).to_ascii_lowercase();
    let mut directives = cache
        .split(',')
        .map(|one| one.split('=').next().unwrap_or_default().trim());
    assert!(
        !directives.any(|name| matches!(name, "no-store" | "no-cache" | "private")),
        "{cache}"
    );
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    assert!(body["refresh_token"].is_null(), "{body}");
    let tokens = ["token", "access_token"].map(|name| body[name].as_str());
    let handed = tokens[0].or(tokens[1]).unwrap_or_default();
    assert!(
        tokens.iter().flatten().all(|token| *token == handed),
        "{body}"
    );
    let payload = handed
        .trim()
        .split('.')
        .nth(1)
        .unwrap_or_default()
        .trim_end_matches('=');
    let claims = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    let said = body["expires_in"].as_f64().unwrap_or(60.0);
    let life = claims["exp"].as_f64().unwrap_or(0.0) - claims["iat"].as_f64().unwrap_or(0.0);
    assert!(
        kept.as_secs_f64() <= life.min(said) / 2.0 + 1e-3,
        "{claims} {kept:?}"
    );
    for scope in &question.scopes {
        assert!(lists_all(&claims, scope), "{claims} {scope:?}");
    }
    true
}

fn question(query: &[u8]) -> Option<TokenRequest> {
    let head = Request::get("/token/").header("authorization", "Basic YTpi");
    let (head, ()) = head.body(()).ok()?.into_parts();
    let target = [b"/token/?", query].concat();
    let question = TokenRequest::read("/token/", &target, &head, &Fingerprints::new().ok()?)?;
    let query = String::from_utf8_lossy(query).into_owned();
    assert!(
        !query
            .split('&')
            .any(|pair| pair.split('=').next() == Some("offline_token"))
    );
    assert!(question.scopes.is_empty() || query.contains('='), "{query}");
    Some(question)
}

fn head(choice: u8, cache: &[u8], age: &[u8]) -> Option<ResponseHeader> {
    let status = match choice & 3 {
        0 | 1 => 200,
        2 => 401,
        _ => 204,
    };
    let mut head = ResponseHeader::build(status, None).ok()?;
    for (name, value) in [("cache-control", cache), ("age", age)] {
        if !value.is_empty() {
            head.append_header(name, value).ok()?;
        }
    }
    Some(head)
}

fn lists_all(claims: &Value, scope: &Scope) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let entries = list(&claims["access"]);
    let is_its = |entry: &&Value| entry["type"] == scope.kind() && entry["name"] == scope.name();
    let listed: Vec<_> = entries
        .iter()
        .filter(is_its)
        .flat_map(|entry| list(&entry["actions"]))
        .collect();
    ["pull", "push", "delete", "*"]
        .iter()
        .all(|action| !scope.asks_for(action) || listed.iter().any(|one| one == action))
}

/// A code is found only if it is one, and what crossmount writes is found.
fn errors(body: &[u8]) {
    let code = "BLOB_UPLOAD_UNKNOWN";
    if has_error_code(body, code) {
        let read: Value = serde_json::from_slice(body).unwrap_or_default();
        let errors = read["errors"].as_array().cloned().unwrap_or_default();
        assert!(errors.iter().any(|error| error["code"] == code), "{read}");
    }
    let text = String::from_utf8_lossy(body);
    assert!(has_error_code(&error_body(code, &text), code));
    assert_eq!(has_error_code(&error_body(&text, code), code), text == code);
}

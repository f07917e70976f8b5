//! Reads an htpasswd file and a login as Go does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::auth::Credentials;
use crate::auth::credentials::{CredentialScheme, Login};
use crate::auth::htpasswd::file::{UserEntry, Users};
use crate::fuzz_targets::input::Input;

/// The characters of bcrypt's own base64.
const BCRYPT: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The first line is an Authorization header, the others an htpasswd file.
pub(crate) fn passwords(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let header = input.line();
    let login = login(header);
    let file = input.rest();
    let lines = || file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let entries = || lines().filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let is_whole = entries().all(|line| line.contains(&b':'));
    let users = match Users::parse(file) {
        Ok(users) => users,
        Err(error) => {
            assert!(!is_whole || file.len() >= 64 * 1024, "{error}");
            return false;
        }
    };
    assert!(is_whole);
    let halves = |line: &'_ [u8]| -> (Vec<u8>, Vec<u8>) {
        let mut halves = line.splitn(2, |byte| *byte == b':').map(<[u8]>::to_vec);
        (
            halves.next().unwrap_or_default(),
            halves.next().unwrap_or_default(),
        )
    };
    for (name, _) in entries().map(halves) {
        let last = entries().map(halves).rfind(|(other, _)| *other == name);
        let hash = last.map(|(_, hash)| hash).unwrap_or_default();
        match users.get(&name) {
            Some(UserEntry::Bcrypt(read)) => {
                assert_eq!(read.as_bytes(), hash);
                is_bcrypt(read);
            }
            Some(UserEntry::Unjudged) => assert!(hash.starts_with(b"$")),
            Some(UserEntry::Unusable) => assert!(!hash.starts_with(b"$")),
            None => assert!(file.is_empty(), "somebody is missing"),
        }
    }
    if let Some(login) = login {
        let is_named = entries().map(halves).any(|(name, _)| name == login.user);
        assert_eq!(users.get(&login.user).is_some(), is_named);
    }
    users.any_hash().is_some()
}

/// Of what Go accepts as bcrypt, only the unambiguous form: two digits of cost, then salt and hash
/// of full length.
fn is_bcrypt(hash: &str) {
    let parts: Vec<_> = hash.split('$').collect();
    let [nothing, kind, cost, rest] = parts[..] else {
        return assert!(hash.is_empty(), "{hash:?}");
    };
    assert!(
        nothing.is_empty() && ["2a", "2b", "2y"].contains(&kind),
        "{hash:?}"
    );
    let digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    assert!(
        digits && cost.parse().is_ok_and(|cost: u32| (4..=31).contains(&cost)),
        "{hash:?}"
    );
    assert_eq!(rest.len(), 53, "{hash:?}");
    assert!(
        rest.chars().all(|letter| BCRYPT.contains(letter)),
        "{hash:?}"
    );
}

fn login(header: &[u8]) -> Option<Login> {
    let value = HeaderValue::from_bytes(header).ok()?;
    let credentials = Credentials::new(Some(&value));
    assert!(!format!("{credentials:?}").contains("hunter2"));
    let encoded = match credentials.scheme() {
        CredentialScheme::Basic(encoded) => encoded,
        CredentialScheme::None => {
            assert!(credentials.is_anonymous() && header.is_empty());
            return None;
        }
        CredentialScheme::Bearer(_) | CredentialScheme::Other => {
            assert!(!credentials.is_anonymous());
            return None;
        }
    };
    let Some(login) = Login::read(encoded) else {
        assert!(credentials.is_anonymous());
        return None;
    };
    assert_eq!(credentials.is_anonymous(), login.user.is_empty());
    assert!(!login.user.contains(&b':'));
    let whole = [&login.user[..], b":", &login.password[..]].concat();
    let again = STANDARD.encode(whole);
    // The trailing bits of the last character may differ.
    let last = again.trim_end_matches('=').len().saturating_sub(1);
    assert_eq!(again.get(..last), encoded.get(..last));
    assert_eq!(again.len(), encoded.len());
    Some(login)
}

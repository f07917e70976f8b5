//! Credentials of many kinds, each with what the sidecar says to them without asking.

use super::certificates::{Forge, forge};
use super::forged_tokens::{Signing, Token, url_safe};
use super::token_issuer::SERVICE;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub const ISSUER: &str = "auth.test";

/// What the sidecar says without asking the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Allowed,
    Denied,
    /// It asks the registry.
    Unknown,
    /// The rules leave it open.
    Any,
}

/// Rows of `Says "what the credentials are": maker(…);`.
#[macro_export]
macro_rules! table {
    ($($says:ident $name:literal: $variant:expr;)+) => {
        [$($variant.named($crate::support::credential_variants::Says::$says, $name)),+]
    };
}

type Values = Box<dyn Fn(&str) -> Vec<Vec<u8>>>;

pub struct Variant {
    pub name: &'static str,
    pub says: Says,
    pub source: &'static str,
    /// The values of the Authorization headers, for a mount into this target.
    pub values: Values,
    /// What the sidecar says in front of this version, if that is not what the row says.
    otherwise: Option<Says>,
    /// What is answered alone and behind the sidecar, where the two differ or the answer is
    /// neither yes nor no; 0 is no answer at all.
    pub answers: Option<(u16, u16)>,
}

impl Variant {
    fn new(values: impl Fn(&str) -> Vec<Vec<u8>> + 'static) -> Self {
        Self {
            name: "",
            says: Says::Any,
            source: "src",
            values: Box::new(values),
            otherwise: None,
            answers: None,
        }
    }

    pub fn named(self, says: Says, name: &'static str) -> Self {
        let says = self.otherwise.unwrap_or(says);
        Self { name, says, ..self }
    }

    /// The sidecar says this in front of a version that is so.
    pub fn says_if(mut self, is_so: bool, says: Says) -> Self {
        if is_so {
            self.otherwise = Some(says);
        }
        self
    }

    pub fn from(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    /// The source is listed without pull, so that asking for a better token is in vain.
    pub fn falls_back(self) -> Self {
        self.falls_back_if(true)
    }

    /// So it is for a version that is so.
    pub fn falls_back_if(mut self, is_so: bool) -> Self {
        if is_so {
            self.answers = Some((401, 202));
        }
        self
    }

    /// No header may have such a value: neither looks at the request.
    pub fn breaks_http(mut self) -> Self {
        self.answers = Some((400, 400));
        self
    }

    /// The registry's handler panics and it hangs up; the sidecar has no answer to hand on.
    pub fn panics(self) -> Self {
        self.panics_if(true)
    }

    /// So it is with a version that is so.
    pub fn panics_if(mut self, is_so: bool) -> Self {
        if is_so {
            self.answers = Some((0, 502));
        }
        self
    }
}

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// The claims of a token that allows mounts from both sources; no two are the same.
pub fn good_claims(target: &str) -> Value {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    json!({
        "iss": ISSUER,
        "sub": "ci",
        "aud": SERVICE,
        "iat": now() - 7200,
        "nbf": now() - 7200,
        "exp": now() + 300,
        "jti": NUMBER.fetch_add(1, Ordering::Relaxed).to_string(),
        "access": [entry(target, &["pull", "push"]), entry("src", &["pull"])],
    })
}

pub fn entry(name: &str, actions: &[&str]) -> Value {
    json!({"type": "repository", "name": name, "actions": actions})
}

/// The header that goes with the key `leaf`.
pub fn good_header() -> Value {
    json!({"typ": "JWT", "alg": "RS256", "x5c": forge().chain(&["leaf"])})
}

pub fn good_token(claims: impl AsRef<[u8]>) -> Token {
    let header = good_header().to_string();
    forge().key("leaf").token(Signing::Rs256, header, claims)
}

fn bearer(token: &Token) -> Vec<Vec<u8>> {
    vec![format!("Bearer {token}").into_bytes()]
}

/// Other claims under a good header and signature.
pub fn claims(change: impl Fn(&mut Value) + 'static) -> Variant {
    Variant::new(move |target| {
        let mut claims = good_claims(target);
        change(&mut claims);
        bearer(&good_token(claims.to_string()))
    })
}

/// Claims that need not be JSON: `change` gets the text of good ones.
pub fn claims_text<T: AsRef<[u8]>>(change: impl Fn(&str) -> T + 'static) -> Variant {
    Variant::new(move |target| bearer(&good_token(change(&good_claims(target).to_string()))))
}

/// Another `access`, made for the target.
pub fn access(list: impl Fn(&str) -> Value + 'static) -> Variant {
    Variant::new(move |target| {
        let mut claims = good_claims(target);
        claims["access"] = list(target);
        bearer(&good_token(claims.to_string()))
    })
}

/// Good claims signed so, under this header.
pub fn signed(
    key: &'static str,
    signing: Signing,
    header: impl Fn(&Forge) -> Value + 'static,
) -> Variant {
    Variant::new(move |target| {
        let (claims, header) = (good_claims(target).to_string(), header(forge()).to_string());
        bearer(&forge().key(key).token(signing, header, claims))
    })
}

/// Good claims under a changed header, which the good key signs.
pub fn header(change: impl Fn(&mut Value) + 'static) -> Variant {
    signed("leaf", Signing::Rs256, move |_| {
        let mut header = good_header();
        change(&mut header);
        header
    })
}

/// A header that need not be JSON: `change` gets the text of a good one.
pub fn header_text<T: AsRef<[u8]>>(change: impl Fn(&str) -> T + 'static) -> Variant {
    Variant::new(move |target| {
        let (claims, header) = (good_claims(target).to_string(), good_header().to_string());
        let key = forge().key("leaf");
        bearer(&key.token(Signing::Rs256, change(&header), claims))
    })
}

/// A good token of which a part is changed after it was signed.
pub fn token(change: impl Fn(&mut Token) + 'static) -> Variant {
    Variant::new(move |target| {
        let mut token = good_token(good_claims(target).to_string());
        change(&mut token);
        bearer(&token)
    })
}

/// Good JSON that `first` changes, and whose base64 `then` changes before it is signed.
pub fn encoded(
    first: fn(&str) -> String,
    then: impl Fn(String, String) -> (String, String) + 'static,
) -> Variant {
    Variant::new(move |target| {
        let json = [good_header(), good_claims(target)].map(|part| first(&part.to_string()));
        let [header, claims] = json.map(url_safe);
        let (header, claims) = then(header, claims);
        bearer(&forge().key("leaf").token_of(Signing::Rs256, header, claims))
    })
}

/// Header values made of a good token.
pub fn values<T: AsRef<[u8]>>(make: impl Fn(&str) -> Vec<T> + 'static) -> Variant {
    Variant::new(move |target| {
        let token = good_token(good_claims(target).to_string()).to_string();
        let values = make(&token);
        values.iter().map(|value| value.as_ref().to_vec()).collect()
    })
}

pub fn without(object: &mut Value, key: &str) {
    object.as_object_mut().unwrap().remove(key).unwrap();
}

/// The object's text with these members before its own.
pub fn before(object: &str, members: &str) -> String {
    format!("{{{members},{}", &object[1..])
}

/// The object's text with these members after its own.
pub fn after(object: &str, members: &str) -> String {
    format!("{},{members}}}", &object[..object.len() - 1])
}

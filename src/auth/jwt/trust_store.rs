//! The trusted keys, from the registry's own files.

use std::collections::HashMap;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use crate::auth::jwt::public_key::{PublicKey, libtrust_id};
use crate::auth::jwt::strict_json;
use crate::auth::jwt::x5c::{self, TrustedRoot};
use crate::config::DistributionVersion;

/// The trusted keys.
#[derive(Debug, Default)]
pub(crate) struct TrustedKeys {
    /// By distribution's identifiers; `None` for a key that the library does not support.
    by_id: HashMap<String, Option<PublicKey>>,
    /// Whether there are keys whose identifier is unknown too.
    has_unnamed: bool,
    /// Certificates at which a chain may end.
    pub roots: Vec<TrustedRoot>,
}

/// The result of a look-up by identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyMatch<'a> {
    /// A trusted key.
    Key(&'a PublicKey),
    /// No trusted key.
    Nothing,
    /// A trusted key that the library does not support.
    Unjudged,
}

impl TrustedKeys {
    /// Adds the certificates of a PEM bundle (distribution's `rootcertbundle`).
    pub(crate) fn add_certificates(
        &mut self,
        pem: &[u8],
        version: DistributionVersion,
    ) -> Result<(), String> {
        let mut count = 0;
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| format!("is not PEM: {error}"))?;
            let parsed = x5c::parse(&der).ok_or("holds a certificate that cannot be read")?;
            let key = PublicKey::from_certificate(parsed.public_key());
            let id = match version {
                DistributionVersion::Two => Some(libtrust_id(parsed.public_key().raw)),
                DistributionVersion::Three => key.as_ref().map(PublicKey::thumbprint),
            };
            match id {
                Some(id) => drop(self.by_id.insert(id, key)),
                None => self.has_unnamed = true,
            }
            self.roots.extend(TrustedRoot::new(&der, &parsed));
            count += 1;
        }
        if count == 0 {
            return Err("holds no certificate".to_owned());
        }
        Ok(())
    }

    /// Adds the keys of a JSON Web Key Set (distribution 3's `jwks`), by their own identifiers.
    pub(crate) fn add_key_set(&mut self, json: &[u8]) -> Result<(), String> {
        let set = strict_json::parse_object(json).ok_or("is not a JSON Web Key Set")?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("has no list called keys".to_owned());
        };
        for key in keys {
            let Value::Object(jwk) = key else {
                return Err("holds a key that is no object".to_owned());
            };
            if let Some(Value::String(id)) = jwk.get("kid") {
                self.by_id.insert(id.clone(), PublicKey::from_jwk(jwk));
            }
        }
        if self.by_id.is_empty() {
            return Err("holds no key with an identifier (kid)".to_owned());
        }
        Ok(())
    }

    pub(crate) fn by_id(&self, id: &str) -> KeyMatch<'_> {
        match self.by_id.get(id) {
            Some(Some(key)) => KeyMatch::Key(key),
            None if !self.has_unnamed => KeyMatch::Nothing,
            None | Some(None) => KeyMatch::Unjudged,
        }
    }

    /// The identifier of a trusted key.
    pub(crate) fn id_of(&self, key: &PublicKey) -> Option<&str> {
        let mut all = self.by_id.iter();
        let found = all.find(|(_, trusted)| trusted.as_ref() == Some(key));
        found.map(|(id, _)| id.as_str())
    }
}

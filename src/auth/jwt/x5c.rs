//! Certificate chains in a token's `x5c`, up to a certificate of the operator's bundle.
//!
//! The library builds and checks the chain. distribution checks it with Go's `crypto/x509`, which
//! checks more: how a certificate of the bundle may be used, and when it expires. That is checked
//! here, and only narrows. A chain that is refused here may still be valid for Go.

use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    VerifiedPath, anchor_from_trusted_cert,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::auth::jwt::public_key::PublicKey;

/// The most certificates of a chain: a leaf and three more. The library tries every order of
/// certificates that name each other, and any client may send some.
const LONGEST: usize = 4;

/// A certificate of the operator's bundle that may sign others.
#[derive(Debug)]
pub(crate) struct TrustedRoot {
    anchor: TrustAnchor<'static>,
    window: ValidityPeriod,
    /// The most certificates between it and a leaf.
    path_length: Option<u32>,
}

/// When something is valid: seconds since 1970, both ends included.
pub(crate) type ValidityPeriod = RangeInclusive<i64>;

/// A leaf whose chain is valid.
#[derive(Debug)]
pub(crate) struct LeafCertificate {
    pub key: PublicKey,
    /// When every certificate of its chain is valid.
    pub window: ValidityPeriod,
}

/// Accepts any purpose, as distribution does (`x509.ExtKeyUsageAny`).
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

impl TrustedRoot {
    /// `None` for a certificate that may sign no others, or has an extension that is not supported.
    pub(crate) fn new(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> Option<Self> {
        let anchor = anchor_from_trusted_cert(der).ok()?.to_owned();
        let basics = parsed.basic_constraints().ok()??.value;
        (basics.ca && may_sign(parsed) && has_supported_constraints(parsed)).then(|| Self {
            anchor,
            window: window(parsed),
            path_length: basics.path_len_constraint,
        })
    }
}

/// The leaf of `x5c`, if its chain is valid at `now`, in seconds since 1970.
pub(crate) fn verify_chain(
    x5c: &[String],
    roots: &[TrustedRoot],
    now: i64,
) -> Option<LeafCertificate> {
    if x5c.len() > LONGEST {
        return None;
    }
    let ders: Vec<CertificateDer<'_>> = x5c
        .iter()
        .map(|text| STANDARD.decode(text).ok().map(CertificateDer::from))
        .collect::<Option<_>>()?;
    let parsed: Vec<X509Certificate<'_>> =
        ders.iter().map(|der| parse(der)).collect::<Option<_>>()?;
    let (leaf, intermediates) = ders.split_first()?;
    if !parsed.iter().all(has_supported_constraints) {
        return None;
    }
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).ok()?));
    let anchors: Vec<_> = roots
        .iter()
        .filter(|root| root.window.contains(&now))
        .map(|root| root.anchor.clone())
        .collect();
    let leaf = EndEntityCert::try_from(leaf).ok()?;
    let path = leaf
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            intermediates,
            time,
            AnyPurpose,
            None,
            None,
        )
        .ok()?;
    Some(LeafCertificate {
        key: PublicKey::from_certificate(parsed[0].public_key())?,
        window: path_window(&path, roots, window(&parsed[0]))?,
    })
}

/// When every certificate of a path is valid; `None` if one may not be used so.
fn path_window(
    path: &VerifiedPath<'_>,
    roots: &[TrustedRoot],
    leaf: ValidityPeriod,
) -> Option<ValidityPeriod> {
    let mut whole = leaf;
    let mut length: u32 = 0;
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let parsed = parse(&der)?;
        whole = overlap(&whole, &window(&parsed));
        length += 1;
        if !may_sign(&parsed) {
            return None;
        }
    }
    let anchor = path.anchor();
    let is_it = |root: &&TrustedRoot| root.anchor == *anchor;
    for root in roots.iter().filter(is_it) {
        whole = overlap(&whole, &root.window);
        if root.path_length.is_some_and(|most| length > most) {
            return None;
        }
    }
    Some(whole)
}

/// Parses a certificate with no bytes behind it.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Some(certificate),
        _ => None,
    }
}

/// Whether its key usage, if it has one, includes the signing of certificates.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    }
}

/// Whether Go supports every critical extension.
fn has_supported_constraints(certificate: &X509Certificate<'_>) -> bool {
    let mut critical = certificate.extensions().iter().filter(|one| one.critical);
    critical.all(|extension| {
        matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
        )
    })
}

fn window(certificate: &X509Certificate<'_>) -> ValidityPeriod {
    let validity = certificate.validity();
    validity.not_before.timestamp()..=validity.not_after.timestamp()
}

fn overlap(one: &ValidityPeriod, other: &ValidityPeriod) -> ValidityPeriod {
    *one.start().max(other.start())..=*one.end().min(other.end())
}

//! A certificate as small as they come (RFC 5280, 4.1), for a key of an Edwards curve (RFC 8410).

use ring::signature::{Ed25519KeyPair, KeyPair};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 2;
const BITS: u8 = 3;
const BYTES: u8 = 4;
const UTF8: u8 = 12;
const UTC_TIME: u8 = 23;
/// 1.3.101.112, Ed25519.
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
/// 2.5.4.3, a common name.
const COMMON_NAME: &[u8] = &[6, 3, 0x55, 4, 3];
/// 2.5.29.19, critical.
const BASIC_CONSTRAINTS: &[u8] = &[6, 3, 0x55, 0x1d, 0x13, 1, 1, 0xff];

pub(crate) struct Certificate {
    pub name: &'static str,
    pub issuer: &'static str,
    pub is_authority: bool,
}

impl Certificate {
    /// For `subject`, by `issuer`; from 2020 to 2049.
    pub fn signed(&self, subject: &Ed25519KeyPair, issuer: &Ed25519KeyPair) -> Vec<u8> {
        let algorithm = der(SEQUENCE, &[ED25519]);
        let times = [b"200101000000Z", b"491231235959Z"].map(|time| der(UTC_TIME, &[time]));
        let key = der(BITS, &[&[0], subject.public_key().as_ref()]);
        let basics: &[u8] = if self.is_authority {
            &[1, 1, 0xff]
        } else {
            &[]
        };
        let basics = der(BYTES, &[&der(SEQUENCE, &[basics])]);
        let extension = der(SEQUENCE, &[BASIC_CONSTRAINTS, &basics]);
        let content = der(
            SEQUENCE,
            &[
                // Version 3.
                &der(0xa0, &[&der(INTEGER, &[&[2]])]),
                &der(INTEGER, &[&[1]]),
                &algorithm,
                &named(self.issuer),
                &der(SEQUENCE, &[&times[0], &times[1]]),
                &named(self.name),
                &der(SEQUENCE, &[&algorithm, &key]),
                &der(0xa3, &[&der(SEQUENCE, &[&extension])]),
            ],
        );
        let signature = issuer.sign(&content);
        let signature = der(BITS, &[&[0], signature.as_ref()]);
        der(SEQUENCE, &[&content, &algorithm, &signature])
    }
}

fn named(name: &str) -> Vec<u8> {
    let attribute = der(SEQUENCE, &[COMMON_NAME, &der(UTF8, &[name.as_bytes()])]);
    der(SEQUENCE, &[&der(SET, &[&attribute])])
}

/// A tag, the length, and the parts one after the other.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let [.., high, low] = length.to_be_bytes();
    let head: &[u8] = match length {
        0..128 => &[tag, low],
        128..256 => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, &content].concat()
}

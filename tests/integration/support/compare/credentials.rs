//! The same credentials, sent to a registry alone and to one behind the sidecar.
//!
//! What the registry alone says is right. The sidecar in front of the other one must lead to the
//! same answer and the same link, and may decide by itself only as the registry does.

use super::Differences;
use crate::support::certificates::forge;
use crate::support::credential_variants::{ISSUER, Says, Variant, entry, good_claims, good_token};
use crate::support::raw_http::Connection;
use crate::support::registry::Registry;
use crate::support::registry_client::{Client, mount_target};
use crate::support::sidecar::{Sidecar, generous_time_budget};
use crate::support::token_issuer::{REALM, SERVICE};
use serde_json::json;
use std::{fs, io};
use tempfile::TempDir;

const BLOB: &[u8] = b"a blob behind tokens";
const FIRST: &str = "first/mount";

/// Two registries that trust the same bundle, and a sidecar that has mounted already.
struct World {
    alone: Registry,
    behind: Registry,
    sidecar: Sidecar,
    digest: String,
    _home: TempDir,
}

/// What the sidecar counted.
#[derive(Clone, Copy)]
struct Counts {
    mounted: u64,
    questions: u64,
    allowed: u64,
    denied: u64,
}

impl World {
    fn start(trusted: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let bundle = home.path().join("bundle.pem");
        fs::write(&bundle, trusted).unwrap();
        let token = json!({"service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle});
        let mut demanding = json!({"token": token});
        demanding["token"]["realm"] = REALM.into();
        let registry = || Registry::with(|config| config["auth"] = demanding.clone());
        let (alone, behind) = (registry(), registry());
        let sidecar = Sidecar::with(&behind, |config| {
            config["access"] = json!({"mode": "token", "token": token});
            generous_time_budget(config);
        });
        let world = Self {
            digest: crate::support::digest_of(BLOB),
            alone,
            behind,
            sidecar,
            _home: home,
        };
        let owner = owner();
        for registry in [&world.alone, &world.behind] {
            for source in ["src", "src2"] {
                owner.at(registry.port).upload(source, BLOB);
            }
        }
        world.verify_store();
        assert_eq!(world.sidecar.mounted(), 1);
        world
    }

    /// The sidecar knows its store and has the registry's word.
    fn verify_store(&self) {
        self.sidecar.verify_store_as(&owner());
        self.freshen();
    }

    /// A mount that the sidecar must ask about if the registry's word has grown old.
    fn freshen(&self) {
        let owner = owner().at(self.sidecar.port);
        owner.mount(FIRST, &self.digest, "src").expect(201);
    }

    fn ask(&self, port: u16, target: &str, variant: &Variant) -> u16 {
        let path = mount_target(target, &self.digest, variant.source);
        let values = (variant.values)(target);
        status(port, &path, &values).unwrap_or(0)
    }

    fn counts(&self) -> Counts {
        Counts {
            mounted: self.sidecar.mounted(),
            questions: self.sidecar.subrequests(),
            allowed: self.sidecar.decisions("allowed", "token"),
            denied: self.sidecar.decisions("denied", "token"),
        }
    }
}

fn owner() -> Client {
    let all = ["pull", "push"];
    let mut claims = good_claims(FIRST);
    let list = claims["access"].as_array_mut().unwrap();
    list.extend(["src", "src2", "proof/of-store"].map(|name| entry(name, &all)));
    Client::new(0).bearer(&good_token(claims.to_string()).to_string())
}

/// Sends a mount with these Authorization headers, byte for byte.
fn status(port: u16, path: &str, values: &[Vec<u8>]) -> io::Result<u16> {
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: registry.test\r\nContent-Length: 0\r\n")
            .into_bytes();
    for value in values {
        request.extend_from_slice(b"Authorization: ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let mut connection = Connection::to(port)?;
    connection.write(&request)?;
    Ok(connection.answer("POST")?.status)
}

/// Shows each variant to both, and all differences at once.
pub fn compare(variants: &[Variant]) {
    compare_trusting(&forge().bundle, variants);
}

/// The same, with these certificates as those that both trust.
pub fn compare_trusting(trusted: &str, variants: &[Variant]) {
    let world = World::start(trusted);
    let mut differences = Differences::default();
    for (number, variant) in variants.iter().enumerate() {
        judge(&world, &format!("to/{number}"), variant, &mut differences);
    }
    differences.assert_none();
}

fn judge(world: &World, target: &str, variant: &Variant, differences: &mut Differences) {
    let Variant { name, says, .. } = variant;
    let alone = world.ask(world.alone.port, target, variant);
    let linked = |registry: &Registry| registry.store.link(target, &world.digest).exists();
    let expected = match variant.answers {
        Some(answers) => answers,
        None if alone == 401 => (401, 401),
        None => (201, 201),
    };
    differences.compare(&format!("{name}: alone"), &expected.0, &alone);
    let before = world.counts();
    let behind = world.ask(world.sidecar.port, target, variant);
    let after = world.counts();
    differences.compare(&format!("{name}: behind"), &expected.1, &behind);
    let links = (linked(&world.alone), linked(&world.behind));
    differences.compare(&format!("{name}: link"), &links.0, &links.1);
    let mounted = after.mounted - before.mounted;
    if alone != 201 {
        differences.compare(&format!("{name}: mounted here"), &0, &mounted);
    } else if *says != Says::Any {
        differences.compare(&format!("{name}: mounted here"), &1, &mounted);
    }
    let counts = (before, after);
    decision(world, target, variant, alone == 201, counts, differences);
}

/// Looks at what the sidecar said by itself. Where it asked the registry, it may have lacked no
/// more than the registry's word, which counts for seconds: it gets that and is asked again.
fn decision(
    world: &World,
    target: &str,
    variant: &Variant,
    is_right: bool,
    mut counts: (Counts, Counts),
    differences: &mut Differences,
) {
    let wrong = if is_right {
        Says::Denied
    } else {
        Says::Allowed
    };
    let wanted = variant.says;
    for attempt in 1.. {
        let said = said(counts);
        let is_wanted = said == wanted || (wanted == Says::Any && said != wrong);
        let has_asked = counts.1.questions > counts.0.questions;
        if is_wanted || said == wrong || !has_asked || attempt == 3 {
            if !is_wanted {
                differences.compare(&format!("{}: says", variant.name), &wanted, &said);
            }
            return;
        }
        world.freshen();
        let before = world.counts();
        world.ask(world.sidecar.port, target, variant);
        counts = (before, world.counts());
    }
}

fn said((before, after): (Counts, Counts)) -> Says {
    if after.allowed > before.allowed {
        Says::Allowed
    } else if after.denied > before.denied {
        Says::Denied
    } else {
        Says::Unknown
    }
}

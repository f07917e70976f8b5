//! Which registry the tests run on, and what they expect of its version.
//!
//! Debian's 2.8.2, or the program that `CROSSMOUNT_TEST_REGISTRY` names. All that differs between
//! versions is a predicate here; no test asks for a number.

use super::registry::Registry;
use super::tools;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

const SETTING: &str = "CROSSMOUNT_TEST_REGISTRY";

/// A version of distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u8,
    minor: u8,
}

/// The program that `CROSSMOUNT_TEST_REGISTRY` names, which must be there.
pub fn chosen() -> Option<PathBuf> {
    let chosen = env::var_os(SETTING).filter(|path| !path.is_empty())?;
    let program = PathBuf::from(chosen);
    assert!(
        program.is_absolute() && program.is_file(),
        "{SETTING} is not the absolute path of a program: {}",
        program.display()
    );
    Some(program)
}

/// The version of the registry that the tests run on.
pub fn version() -> Version {
    static VERSION: OnceLock<Version> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let Some(program) = tools::find("docker-registry") else {
            // What needs one is skipped.
            return Version { major: 2, minor: 8 };
        };
        // It panics where this is set, even without the storage driver that reads it.
        let output = tools::run(
            Command::new(&program)
                .arg("--version")
                .env_remove("AWS_CA_BUNDLE"),
        );
        let said = String::from_utf8_lossy(&output.stdout);
        Version::read(&said).unwrap_or_else(|| panic!("{}: {said:?}", program.display()))
    })
}

/// The version that a registry shows, with and without access control.
pub fn version_shown_by(registry: &Registry) -> u8 {
    let base = registry.client().get("/v2/");
    match base.header("Content-Type") {
        Some("application/json; charset=utf-8") => 2,
        Some("application/json") => 3,
        other => panic!("{other:?}"),
    }
}

impl Version {
    /// Reads `registry github.com/distribution/distribution/v3 v3.1.1`. A build without a version
    /// says `v3` in its package's name only.
    fn read(said: &str) -> Option<Self> {
        let words = || said.split_whitespace();
        let named = words().rev().find_map(Self::of_number);
        let is_three = words().any(|word| word.ends_with("/distribution/v3"));
        named.or(is_three.then_some(Self { major: 3, minor: 0 }))
    }

    fn of_number(word: &str) -> Option<Self> {
        let number = word.strip_prefix('v').unwrap_or(word);
        let mut parts = number.split('.').map_while(|part| part.parse().ok());
        let (major, minor) = (parts.next()?, parts.next()?);
        Some(Self { major, minor })
    }

    fn is_at_least(self, major: u8, minor: u8) -> bool {
        self >= Self { major, minor }
    }

    /// `kid` is the key's thumbprint by RFC 7638; else libtrust's name of it.
    pub fn names_keys_by_thumbprint(self) -> bool {
        self.is_at_least(3, 0)
    }

    /// A `jwk` in a token's header counts by its `kid` alone; else it must itself be a trusted key.
    pub fn trusts_embedded_keys_by_name(self) -> bool {
        self.is_at_least(3, 0)
    }

    /// A handler that meets an exponent of more than four bytes in a `jwk` panics.
    pub fn panics_at_long_exponents(self) -> bool {
        !self.is_at_least(3, 0)
    }

    /// PS256, PS384 and PS512 are taken.
    pub fn takes_pss(self) -> bool {
        self.is_at_least(3, 0)
    }

    /// `aud` may be a list.
    pub fn takes_lists_of_audiences(self) -> bool {
        self.is_at_least(3, 0)
    }

    /// The JSON of a token is read without regard to the case of its members' names.
    pub fn ignores_case_in_tokens(self) -> bool {
        !self.is_at_least(3, 0)
    }

    /// The challenge says `invalid_token` of a bad signature too; else it says no error at all.
    pub fn challenges_bad_signatures_as_invalid(self) -> bool {
        !self.is_at_least(3, 0)
    }

    /// A file that a kill interrupts stays in its place, empty or cut short.
    pub fn writes_files_in_place(self) -> bool {
        !self.is_at_least(3, 0)
    }

    /// A write that fails leaves the temporary file beside what it was to be.
    pub fn leaves_temporary_files(self) -> bool {
        self.is_at_least(3, 0)
    }

    /// The catalog names repositories without a manifest.
    pub fn lists_layers_alone(self) -> bool {
        !self.is_at_least(3, 0)
    }

    /// What crossmount's `upstream.version` is to be, where it is not the default.
    pub fn setting(self) -> Option<u8> {
        self.is_at_least(3, 0).then_some(3)
    }
}

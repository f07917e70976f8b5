//! Keys and certificates, made by openssl once in each process.

use super::forged_tokens::Key;
use super::tools;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const WEAK: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
const ED25519: &[&str] = &["-algorithm", "ED25519"];

const KEYS: &[(&str, &[&str])] = &[
    ("authority", RSA),
    ("leaf", RSA),
    ("stranger", RSA),
    ("weak", WEAK),
    ("p256", P256),
    ("p384", P384),
    ("p521", P521),
    ("ed25519", ED25519),
    ("strange p256", P256),
    ("intermediate", P256),
    ("signless intermediate", P256),
    ("ended authority", P256),
    ("signless authority", P256),
    ("bounded authority", P256),
    ("bounded intermediate", P256),
    ("bundled leaf", P256),
];

/// Each line is a certificate: its name, whose key it holds, who signs it, what it is,
/// and whether now is after its time or before it. A mark after a name is not part of the subject.
/// An issuer comes before what it signs; one that signs itself has its own name as issuer.
const CERTIFICATES: &str = "
    authority             | authority             | authority             | authority
    leaf                  | leaf                  | authority             | leaf
    intermediate          | intermediate          | authority             | authority
    leaf below            | leaf                  | intermediate          | leaf
    ended leaf            | leaf                  | authority             | leaf | ended
    leaf for code         | leaf                  | authority             | code
    critical leaf         | leaf                  | authority             | critical
    plain leaf            | leaf                  | authority             |
    old hash              | leaf                  | authority             | sha1
    leaf of leaf          | p256                  | leaf                  | leaf
    signless intermediate | signless intermediate | authority             | signless
    leaf below signless   | leaf                  | signless intermediate | leaf
    named intermediate    | intermediate          | authority             | named
    leaf below named      | leaf                  | named intermediate    | leaf
    weak leaf             | weak                  | authority             | leaf
    p256 leaf             | p256                  | authority             | leaf
    p384 leaf             | p384                  | authority             | leaf
    p521 leaf             | p521                  | authority             | leaf
    ed25519 leaf          | ed25519               | authority             | leaf
    ended authority       | ended authority       | ended authority       | authority | ended
    leaf of ended         | leaf                  | ended authority       | leaf
    signless authority    | signless authority    | signless authority    | signless
    leaf of signless      | leaf                  | signless authority    | leaf
    bounded authority     | bounded authority     | bounded authority     | bounded
    leaf of bounded       | leaf                  | bounded authority     | leaf
    bounded intermediate  | bounded intermediate  | bounded authority     | authority
    leaf beyond bound     | leaf                  | bounded intermediate  | leaf
    bundled leaf          | bundled leaf          | bundled leaf          | leaf
    leaf of bundled leaf  | leaf                  | bundled leaf          | leaf
    p256                  | p256                  | p256                  | leaf
    p384                  | p384                  | p384                  | leaf
    p521                  | p521                  | p521                  | leaf
    weak                  | weak                  | weak                  | leaf
    unborn leaf           | leaf                  | authority             | leaf | unborn
    ended intermediate    | intermediate          | authority             | authority | ended
    leaf below ended      | leaf                  | ended intermediate    | leaf
    authority'            | stranger              | authority'            | authority
    leaf of namesake      | leaf                  | authority'            | leaf
    stranger              | stranger              | stranger              | authority
    strange leaf          | leaf                  | stranger              | leaf
";

/// What the registry trusts.
const BUNDLE: &[&str] = &[
    "authority",
    "ended authority",
    "signless authority",
    "bounded authority",
    "bundled leaf",
    "p256",
    "p384",
    "p521",
    "weak",
];

const SETTINGS: &str = "
[ca]
default_ca = all
[all]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
[code]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = codeSigning
[critical]
basicConstraints = critical,CA:FALSE
1.2.3.4 = critical,ASN1:UTF8String:nobody knows it
[sha1]
basicConstraints = critical,CA:FALSE
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[bounded]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign
[named]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
nameConstraints = critical,excluded;dirName:somebody
[somebody]
CN = somebody
[signless]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature
";

pub struct Forge {
    keys: BTreeMap<&'static str, Key>,
    certificates: BTreeMap<&'static str, String>,
    /// The certificates that the registry trusts, as PEM.
    pub bundle: String,
    /// The same without the keys that the sidecar leaves to the registry. Where keys are named by
    /// thumbprint it cannot name those, and is sure of no other name while one of them is trusted.
    pub judged_bundle: String,
}

/// The one of this process.
pub fn forge() -> &'static Forge {
    static FORGE: OnceLock<Forge> = OnceLock::new();
    FORGE.get_or_init(Forge::make)
}

impl Forge {
    pub fn key(&self, name: &str) -> &Key {
        &self.keys[name]
    }

    /// A chain as `x5c` wants it.
    pub fn chain(&self, names: &[&str]) -> Vec<String> {
        let of = |name: &&str| body_of(&self.certificates[*name]);
        names.iter().map(of).collect()
    }

    fn make() -> Self {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        fs::write(home.join("settings"), SETTINGS).unwrap();
        fs::write(home.join("index"), "").unwrap();
        let keys = KEYS
            .iter()
            .map(|(name, kind)| (*name, make_key(home, name, kind)))
            .collect();
        let mut certificates = BTreeMap::new();
        // Whose key an issuer holds.
        let mut holders = BTreeMap::new();
        for line in CERTIFICATES.lines().filter(|line| !line.is_empty()) {
            let parts: Vec<_> = line.split('|').map(str::trim).collect();
            holders.insert(parts[0], parts[1]);
            let pem = certify(home, &parts, holders[parts[2]]);
            certificates.insert(parts[0], pem);
        }
        let bundle = |is_in: fn(&str) -> bool| {
            let names = BUNDLE.iter().filter(|name| is_in(name));
            names.map(|name| &*certificates[name]).collect()
        };
        Self {
            keys,
            bundle: bundle(|_| true),
            judged_bundle: bundle(|name| !["p521", "weak"].contains(&name)),
            certificates,
        }
    }
}

fn make_key(home: &Path, name: &str, kind: &[&str]) -> Key {
    let file = format!("{name}.key");
    openssl(home, "genpkey", &[kind, &["-out", &file]].concat());
    let public = |form| {
        let wanted = ["-in", &file, "-pubout", "-outform", form];
        openssl(home, "pkey", &wanted)
    };
    let pem = fs::read_to_string(home.join(&file)).unwrap();
    Key {
        pkcs8: STANDARD.decode(body_of(&pem)).unwrap(),
        pem,
        public: public("DER"),
        public_pem: public("PEM"),
    }
}

/// Makes the certificate of a line of the table and gives it as PEM.
fn certify(home: &Path, line: &[&str], holder: &str) -> String {
    let (name, issuer, kind) = (line[0], line[2], line[3]);
    let (key, request) = (format!("{}.key", line[1]), format!("{name}.request"));
    let subject = format!("/CN={}", name.trim_end_matches('\''));
    let wanted = ["-new", "-key", &key, "-subj", &subject, "-out", &request];
    openssl(home, "req", &wanted);
    let (output, signer) = (format!("{name}.pem"), format!("{issuer}.pem"));
    let signers_key = format!("{holder}.key");
    let mut arguments = vec!["-config", "settings", "-batch", "-notext", "-in", &request];
    arguments.extend(["-out", &output, "-keyfile", &signers_key]);
    let (start, end) = match line.get(4) {
        Some(&"ended") => ("20200101000000Z", "20210101000000Z"),
        Some(&"unborn") => ("20470101000000Z", "20480101000000Z"),
        _ => ("20200101000000Z", "20480101000000Z"),
    };
    arguments.extend(["-startdate", start, "-enddate", end]);
    if name == issuer {
        arguments.push("-selfsign");
    } else {
        arguments.extend(["-cert", &signer]);
    }
    if !kind.is_empty() {
        arguments.extend(["-extensions", kind]);
    }
    if kind == "sha1" {
        arguments.extend(["-md", "sha1"]);
    }
    openssl(home, "ca", &arguments);
    fs::read_to_string(home.join(output)).unwrap()
}

pub fn openssl(home: &Path, command: &str, arguments: &[&str]) -> Vec<u8> {
    tools::run(
        Command::new("openssl")
            .arg(command)
            .args(arguments)
            .current_dir(home),
    )
    .stdout
}

fn body_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.contains("-----")).collect()
}

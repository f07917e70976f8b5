//! A registry with a base image, crossmount before it, and another registry with the same image.

use crate::support::access_control::htpasswd_mode;
use crate::support::archive::Compression;
use crate::support::base64;
use crate::support::byte_counter::ByteCounter;
use crate::support::image::Image;
use crate::support::registry::Registry;
use crate::support::registry_client::Client;
use crate::support::sidecar::Sidecar;
use crate::support::token_issuer::TokenIssuer;
use crate::support::token_server::TokenServer;
use serde_json::{Value, json};
use std::sync::Arc;

/// As the figures in README say: three layers of the base, and one of the image's own.
pub const LAYER: usize = 2_000_000;
pub const OWN: usize = 300_000;
pub const OWNER: &str = "alice:right";
/// With tokens, this login may not pull the base image.
pub const STRANGER: &str = "bob:right";

/// How logins are checked.
#[derive(Debug, Clone, Copy)]
pub enum Logins {
    Passwords,
    Tokens,
}

pub struct Scene {
    /// Before the registry: what reaches it passes here.
    pub counter: ByteCounter,
    pub sidecar: Sidecar,
    /// Where fresh runners pull the base image from: another registry, without logins.
    pub elsewhere: Registry,
    gzip: Image,
    zstd: Image,
    _registry: Registry,
    _tokens: Option<TokenServer>,
}

/// Layers of the repository `base` are found for every login.
pub fn discovery(config: &mut Value) {
    config["discovery"] = json!({
        "enabled": true, "on_head": true, "shared_sources": ["base"],
    });
}

impl Scene {
    pub fn with(logins: Logins, change: impl FnOnce(&mut Value)) -> Self {
        match logins {
            Logins::Passwords => Self::with_passwords(true, change),
            Logins::Tokens => Self::with_tokens(change),
        }
    }

    /// The registry does not hold the base image yet, and checks passwords.
    pub fn without_base(change: impl FnOnce(&mut Value)) -> Self {
        Self::with_passwords(false, change)
    }

    fn with_passwords(has_base: bool, change: impl FnOnce(&mut Value)) -> Self {
        let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "right")]);
        let check = htpasswd_mode(&registry);
        let owner = registry.client().basic("alice", "right");
        let change = |config: &mut Value| {
            check(config);
            change(config);
        };
        Self::new(registry, &owner, change, None, has_base)
    }

    fn with_tokens(change: impl FnOnce(&mut Value)) -> Self {
        let issuer = Arc::new(TokenIssuer::new());
        let stranger = format!("Basic {}", base64(STRANGER.as_bytes()));
        let server = TokenServer::denying(issuer.clone(), move |login, repository| {
            login == stranger && repository == "base"
        });
        let realm = server.realm();
        let registry = Registry::with(|config| {
            issuer.configure(config);
            config["auth"]["token"]["realm"] = json!(realm);
        });
        let all: &[&str] = &["pull", "push"];
        let names = ["base", "proof/of-store"];
        let token = issuer.token("the owner", &names.map(|name| (name, all)));
        let owner = registry.client().bearer(&token);
        let change = |config: &mut Value| {
            issuer.verify_here(config);
            change(config);
        };
        Self::new(registry, &owner, change, Some(server), true)
    }

    fn new(
        registry: Registry,
        owner: &Client,
        change: impl FnOnce(&mut Value),
        tokens: Option<TokenServer>,
        has_base: bool,
    ) -> Self {
        let (counter, elsewhere) = (ByteCounter::start(registry.port), Registry::start());
        let layers = ["one", "two", "three"].map(|name| format!("base {name} {}", counter.port));
        let layers = layers.each_ref().map(|seed| (seed.as_str(), LAYER));
        let [gzip, zstd] =
            [Compression::Gzip, Compression::Zstd].map(|it| Image::compressed(it, &layers));
        let mut is_plain = true;
        let sidecar = Sidecar::with(&registry, |config| {
            config["upstream"]["url"] = json!(counter.url());
            change(config);
            is_plain = config["listen"]["tls"].is_null();
        });
        let scene = Self {
            counter,
            sidecar,
            elsewhere,
            gzip,
            zstd,
            _registry: registry,
            _tokens: tokens,
        };
        let client = if is_plain {
            scene.sidecar.verify_store_as(owner);
            owner.at(scene.sidecar.port)
        } else {
            owner.clone()
        };
        scene.gzip.push(&scene.elsewhere.client(), "base", "v1");
        if has_base {
            scene.gzip.push(&client, "base", "v1");
            scene.zstd.push(&client, "base", "zstd");
        }
        scene
    }

    /// How many bytes reach the registry while this is done.
    pub fn count(&self, what: impl FnOnce()) -> u64 {
        let before = self.counter.sent();
        what();
        self.counter.sent() - before
    }

    /// The image that the repository `base` holds.
    pub fn base(&self, compression: Compression) -> &Image {
        match compression {
            Compression::Gzip => &self.gzip,
            Compression::Zstd => &self.zstd,
        }
    }
}

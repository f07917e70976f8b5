//! Real clients, each with no state of its own: what they send with discovery, and without.

use crate::{needs, support};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::client_programs::{Ctr, Docker, Skopeo, Storage, at};
use support::image::Image;
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::token_issuer::TokenIssuer;
use support::token_server::TokenServer;
use support::tools;

/// A registry in which `base` holds two of an image's three layers.
struct Case {
    registry: Registry,
    with: Sidecar,
    without: Sidecar,
    image: Image,
    /// Somebody who may pull what was pushed.
    reader: Client,
    tokens: Option<(Arc<TokenIssuer>, TokenServer)>,
}

const LAYER: usize = 400_000;

impl Case {
    fn with_passwords(name: &str) -> Self {
        let registry = Registry::with_htpasswd(&[("alice", "right")]);
        let path = registry.config["auth"]["htpasswd"]["path"].clone();
        let access = json!({"mode": "htpasswd", "htpasswd": {"path": path}});
        let alice = |port: u16| Client::new(port).basic("alice", "right");
        Self::new(
            name,
            registry,
            &|config| config["access"] = access.clone(),
            &alice,
            None,
        )
    }

    fn with_tokens(name: &str) -> Self {
        let tokens = Arc::new(TokenIssuer::new());
        let server = TokenServer::start(tokens.clone());
        let realm = server.realm();
        let registry = Registry::with(|config| {
            tokens.configure(config);
            config["auth"]["token"]["realm"] = json!(realm);
        });
        let all: &[&str] = &["pull", "push"];
        let names = ["base", "plain", "found", "proof/of-store"];
        let token = tokens.token("owner", &names.map(|name| (name, all)));
        let verify = tokens.clone();
        Self::new(
            name,
            registry,
            &|config| verify.verify_here(config),
            &|port| Client::new(port).bearer(&token),
            Some((tokens, server)),
        )
    }

    fn new(
        name: &str,
        registry: Registry,
        configure: &dyn Fn(&mut Value),
        owner: &dyn Fn(u16) -> Client,
        tokens: Option<(Arc<TokenIssuer>, TokenServer)>,
    ) -> Self {
        let start = |enabled: bool| {
            let sidecar = Sidecar::with(&registry, |config| {
                configure(config);
                if enabled {
                    config["discovery"] = json!({
                        "enabled": true, "on_head": true, "shared_sources": ["base"],
                    });
                }
            });
            sidecar.verify_store_as(&owner(sidecar.port));
            sidecar
        };
        let (with, without) = (start(true), start(false));
        // New in each run: some clients remember layers outside of a home.
        let seed = |layer: &str| format!("{name} {layer} {} {}", with.port, std::process::id());
        let (one, two) = (seed("one"), seed("two"));
        Image::of(&[&one, &two], LAYER).push(&owner(with.port), "base", "v1");
        Self {
            image: Image::of(&[&one, &two, &seed("own")], LAYER),
            reader: owner(registry.port),
            registry,
            with,
            without,
            tokens,
        }
    }

    /// Bytes that reached the sidecar in bodies.
    fn received(sidecar: &Sidecar) -> u64 {
        // The line of a request comes after it was counted.
        let all = whole(sidecar.metric("crossmount_requests_total", &[]));
        let lines = sidecar.log_lines_with("request", usize::try_from(all).unwrap());
        let bytes = |line: &Value| line["received"].as_u64();
        lines.iter().filter_map(bytes).sum()
    }

    /// Pushes by `push`, to a port and repository, without discovery and with it; the bytes sent.
    fn pushed(&self, push: impl Fn(&Sidecar, &str)) -> [u64; 2] {
        [(&self.without, "plain"), (&self.with, "found")].map(|(sidecar, target)| {
            let before = Self::received(sidecar);
            push(sidecar, target);
            self.is_whole(target);
            Self::received(sidecar) - before
        })
    }

    /// Every blob of what was pushed is there and right, and it is this image.
    fn is_whole(&self, repository: &str) {
        let asked = self.reader.clone().header("Accept", TYPES);
        let path = format!("/v2/{repository}/manifests/v1");
        let manifest = asked.get(&path).expect(200);
        let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
        let digest = |blob: &Value| blob["digest"].as_str().unwrap().to_owned();
        for layer in manifest["layers"].as_array().unwrap() {
            self.reader.pull(repository, &digest(layer));
        }
        let config = self.reader.pull(repository, &digest(&manifest["config"]));
        let config: Value = serde_json::from_slice(&config).unwrap();
        let own: Value = serde_json::from_slice(&self.image.config.bytes).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], own["rootfs"]["diff_ids"]);
    }

    /// A client that knows the digests of its layers sends only the one that nobody has.
    fn sends_only_its_own(&self, push: impl Fn(&Sidecar, &str)) {
        let (layer, [plain, found]) = (LAYER as u64, self.pushed(push));
        say(plain, found);
        assert!(plain > 3 * layer, "without: {plain}");
        assert!(found < layer + layer / 2, "with: {found}, without: {plain}");
        assert_eq!(self.with.mounted(), 2);
        assert!(self.registry.store.repository("found").exists());
    }
}

const TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json";

/// Past the test harness, which would swallow it.
fn say(plain: u64, found: u64) {
    let test = std::thread::current();
    let name = test.name().unwrap_or_default();
    let line = format!("{name}: {plain} bytes without discovery, {found} with it\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
}

const LOGIN: &str = "alice:right";

#[test]
fn skopeo_sends_only_its_own_layer() {
    needs!("docker-registry", "htpasswd", "openssl", "skopeo");
    for case in [Case::with_passwords("skopeo"), Case::with_tokens("skopeo")] {
        case.sends_only_its_own(|sidecar, target| {
            let skopeo = Skopeo::new();
            let layout = skopeo.layout(&case.image, "layout");
            let mut command = skopeo.command();
            command.args(["copy", "--dest-tls-verify=false", "--dest-creds", LOGIN]);
            let target = at(sidecar.port, &format!("{target}:v1"));
            tools::run(command.args([layout, target]));
        });
    }
}

/// The image as an archive that containerd imports.
fn archive(image: &Image, folder: &Path) -> String {
    let layout = folder.join("layout");
    image.write_layout(&layout);
    let archive = folder.join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(&archive).arg("-C").arg(&layout);
    tools::run(tar.args(["blobs", "index.json", "oci-layout"]));
    archive.to_string_lossy().into_owned()
}

#[test]
fn ctr_sends_only_its_own_layer() {
    needs!(
        "docker-registry",
        "htpasswd",
        "openssl",
        "containerd",
        "ctr"
    );
    if !tools::is_root() {
        return tools::skip("containerd needs root");
    }
    for case in [Case::with_passwords("ctr"), Case::with_tokens("ctr")] {
        case.sends_only_its_own(|sidecar, target| {
            let (ctr, folder) = (Ctr::start(), tempfile::tempdir().unwrap());
            let name = format!("127.0.0.1:{}/{target}", sidecar.port);
            let archive = archive(&case.image, folder.path());
            ctr.run(&["images", "import", "--base-name", &name, &archive]);
            let image = format!("{name}:v1");
            ctr.run(&["images", "push", "--plain-http", "--user", LOGIN, &image]);
        });
    }
}

#[test]
fn docker_sends_only_its_own_layer() {
    needs!(
        "docker-registry",
        "htpasswd",
        "openssl",
        "dockerd",
        "containerd"
    );
    if !tools::is_root() {
        return tools::skip("dockerd needs root");
    }
    for case in [Case::with_passwords("docker"), Case::with_tokens("docker")] {
        case.sends_only_its_own(|sidecar, target| {
            let (docker, origin) = (Docker::start(), Registry::start());
            case.image.push(&origin.client(), "origin", "v1");
            let source = format!("127.0.0.1:{}/origin:v1", origin.port);
            docker.run(&["pull", "--quiet", &source]);
            let registry = format!("127.0.0.1:{}", sidecar.port);
            docker.run(&[
                "login",
                "--username",
                "alice",
                "--password",
                "right",
                &registry,
            ]);
            let image = format!("{registry}/{target}:v1");
            docker.run(&["tag", &source, &image]);
            docker.run(&["push", "--quiet", &image]);
        });
    }
}

/// podman before 5.4 and buildah before 1.39 compress what they push anew, and ask for nothing by
/// the digest that comes out. With no state of their own nothing is found for them, and nothing is
/// lost. `fresh_runners` has the newer ones.
fn loses_nothing(tool: &'static str) {
    for case in [Case::with_passwords(tool), Case::with_tokens(tool)] {
        let [plain, found] = case.pushed(|sidecar, target| {
            let storage = Storage::new(tool);
            let policy = storage.folder("policy.json");
            let policy = format!("--signature-policy={}", policy.display());
            let origin = Registry::start();
            case.image.push(&origin.client(), "origin", "v1");
            let source = at(origin.port, "origin:v1");
            let plain = "--tls-verify=false";
            let id = storage.run(&["pull", &policy, "--quiet", plain, &source]);
            let target = at(sidecar.port, &format!("{target}:v1"));
            let creds = format!("--creds={LOGIN}");
            storage.run(&["push", &policy, "--quiet", plain, &creds, &id, &target]);
        });
        say(plain, found);
        assert!(found <= plain, "with: {found}, without: {plain}");
    }
}

#[test]
fn podman_loses_nothing() {
    needs!("docker-registry", "htpasswd", "openssl", "podman");
    if !tools::is_root() {
        return tools::skip("podman needs root or a prepared user namespace");
    }
    loses_nothing("podman");
}

#[test]
fn buildah_loses_nothing() {
    needs!("docker-registry", "htpasswd", "openssl", "buildah");
    if !tools::is_root() {
        return tools::skip("buildah needs root or a prepared user namespace");
    }
    loses_nothing("buildah");
}

/// What crane and regctl send in a push from a layout, request by request.
#[test]
fn crane_and_regctl_send_only_their_own_layer() {
    needs!("docker-registry", "openssl");
    for agent in [
        "crane/v0.21.10 go-containerregistry/v0.21.10",
        "regclient/regctl (v0.0.0)",
    ] {
        let case = Case::with_tokens(agent);
        let (tokens, _) = case.tokens.as_ref().unwrap();
        case.sends_only_its_own(|sidecar, target| {
            let token = tokens.token("alice", &[(target, &["pull", "push"])]);
            let client = Client::new(sidecar.port)
                .header("User-Agent", agent)
                .header("Accept-Encoding", "gzip")
                .bearer(&token);
            let asked = client.clone().header("Accept", TYPES);
            let manifest = format!("/v2/{target}/manifests/v1");
            asked
                .request("HEAD", &manifest)
                .send(client.port)
                .expect(404);
            std::thread::scope(|scope| {
                for blob in case.image.blobs() {
                    let client = &client;
                    scope.spawn(move || {
                        if client.head_blob(target, &blob.digest).status == 200 {
                            return;
                        }
                        // regctl tries a mount of which it knows no source; crane uploads.
                        let query = if agent.starts_with("regclient") {
                            format!("?mount={}", encoded(&blob.digest))
                        } else {
                            String::new()
                        };
                        let begin = format!("/v2/{target}/blobs/uploads/{query}");
                        let opened = client.request("POST", &begin).send(client.port);
                        client.finish(&opened.expect(202), &blob.bytes).expect(201);
                    });
                }
            });
            client
                .put_manifest(target, "v1", &case.image.manifest.bytes)
                .expect(201);
        });
    }
}

//! Small images made from seeds: the same seed gives the same layer, wherever it is used.

use super::archive::{Compression, tar};
use super::registry_client::Client;
use super::{bytes_from, digest_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

#[derive(Debug, Clone)]
pub struct Blob {
    pub digest: String,
    pub bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest_of(&bytes),
            bytes,
        }
    }

    fn described(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

#[derive(Debug, Clone)]
pub struct Image {
    pub layers: Vec<Blob>,
    pub config: Blob,
    pub manifest: Blob,
}

impl Image {
    /// One layer with a file of `size` bytes for each seed.
    pub fn of(seeds: &[&str], size: usize) -> Self {
        let layers: Vec<_> = seeds.iter().map(|seed| (*seed, size)).collect();
        Self::compressed(Compression::Gzip, &layers)
    }

    /// The same with a size for each layer.
    pub fn compressed(compression: Compression, layers: &[(&str, usize)]) -> Self {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"seeds": ""}},
            "rootfs": {"type": "layers", "diff_ids": []},
            "history": [],
        });
        let empty = Self::assembled(Vec::new(), &config, &json!([]));
        layers.iter().fold(empty, |image, (seed, size)| {
            image.with_layer(compression, seed, *size)
        })
    }

    /// The same with one more layer.
    pub fn with_layer(&self, compression: Compression, seed: &str, size: usize) -> Self {
        let tar = tar(&format!("{seed}.bin"), &bytes_from(seed, size));
        let layer = Blob::new(compression.of(&tar));
        let [mut config, mut manifest] = [&self.config, &self.manifest]
            .map(|blob| serde_json::from_slice::<Value>(&blob.bytes).unwrap());
        let push = |list: &mut Value, item| list.as_array_mut().unwrap().push(item);
        push(&mut config["rootfs"]["diff_ids"], json!(digest_of(&tar)));
        let history = json!({"created": "2024-01-01T00:00:00Z", "created_by": "a test"});
        push(&mut config["history"], history);
        let seeds = &mut config["config"]["Labels"]["seeds"];
        *seeds = json!(format!("{},{seed}", seeds.as_str().unwrap()));
        let mut described = manifest["layers"].take();
        push(&mut described, layer.described(compression.layer_type()));
        let layers = self.layers.iter().cloned().chain([layer]).collect();
        Self::assembled(layers, &config, &described)
    }

    fn assembled(layers: Vec<Blob>, config: &Value, described: &Value) -> Self {
        let config = Blob::new(config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.described(CONFIG_TYPE),
            "layers": described,
        });
        Self {
            layers,
            config,
            manifest: Blob::new(manifest.to_string().into_bytes()),
        }
    }

    /// Layers and configuration.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config])
    }

    /// Digests of the layers before they were compressed.
    pub fn diff_ids(&self) -> Vec<String> {
        let config: Value = serde_json::from_slice(&self.config.bytes).unwrap();
        serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap()
    }

    /// Uploads every blob, then the manifest.
    #[track_caller]
    pub fn push(&self, client: &Client, repository: &str, tag: &str) {
        for blob in self.blobs() {
            client.upload(repository, &blob.bytes);
        }
        client
            .put_manifest(repository, tag, &self.manifest.bytes)
            .expect(201);
    }

    /// Pulls manifest and blobs and wants every byte of them to be right.
    #[track_caller]
    pub fn pull(&self, client: &Client, repository: &str, tag: &str) {
        let manifest = client
            .request("GET", &format!("/v2/{repository}/manifests/{tag}"))
            .header("Accept", MANIFEST_TYPE)
            .send(client.port)
            .expect(200);
        assert_eq!(manifest.body, self.manifest.bytes);
        self.pull_blobs(client, repository);
    }

    /// The same without the manifest.
    #[track_caller]
    pub fn pull_blobs(&self, client: &Client, repository: &str) {
        for blob in self.blobs() {
            assert_eq!(client.pull(repository, &blob.digest), blob.bytes);
        }
    }

    /// The same configuration but for this architecture, over the same layers.
    pub fn for_architecture(&self, architecture: &str) -> Self {
        let mut config: Value = serde_json::from_slice(&self.config.bytes).unwrap();
        config["architecture"] = json!(architecture);
        let config = Blob::new(config.to_string().into_bytes());
        let mut manifest: Value = serde_json::from_slice(&self.manifest.bytes).unwrap();
        manifest["config"] = config.described(CONFIG_TYPE);
        Self {
            layers: self.layers.clone(),
            config,
            manifest: Blob::new(manifest.to_string().into_bytes()),
        }
    }

    /// Writes the image as an OCI layout with the tag `v1`.
    pub fn write_layout(&self, folder: &Path) {
        self.write_blobs(folder);
        write_index(folder, self.manifest.described(MANIFEST_TYPE));
    }

    fn write_blobs(&self, folder: &Path) {
        for blob in self.blobs().chain([&self.manifest]) {
            write_blob(folder, blob);
        }
    }
}

/// The bytes of the layers and configurations of these images, each blob once.
pub fn unique_bytes(images: &[Image]) -> u64 {
    let blobs = images.iter().flat_map(Image::blobs);
    let unique: BTreeMap<_, _> = blobs
        .map(|blob| (&blob.digest, blob.bytes.len() as u64))
        .collect();
    unique.values().sum()
}

/// Writes a multi-arch index of these images as an OCI layout with the tag `v1`.
pub fn write_index_layout(images: &[(&str, &Image)], folder: &Path) {
    let manifests: Vec<_> = images
        .iter()
        .map(|(architecture, image)| {
            image.write_blobs(folder);
            let mut manifest = image.manifest.described(MANIFEST_TYPE);
            manifest["platform"] = json!({"os": "linux", "architecture": architecture});
            manifest
        })
        .collect();
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests,
    });
    let index = Blob::new(index.to_string().into_bytes());
    write_blob(folder, &index);
    write_index(folder, index.described(INDEX_TYPE));
}

fn write_blob(folder: &Path, blob: &Blob) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let name = blob.digest.strip_prefix("sha256:").unwrap();
    fs::write(blobs.join(name), &blob.bytes).unwrap();
}

/// The layout's own index, with one entry.
fn write_index(folder: &Path, mut entry: Value) {
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    let version = json!({"imageLayoutVersion": "1.0.0"});
    fs::write(folder.join("oci-layout"), version.to_string()).unwrap();
}

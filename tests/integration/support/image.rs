//! Small images made from seeds: the same seed gives the same layer, wherever it is used.

use super::registry_client::Client;
use super::{bytes_from, digest_of};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

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
        let tars: Vec<_> = seeds
            .iter()
            .map(|seed| tar(&format!("{seed}.bin"), &bytes_from(seed, size)))
            .collect();
        let layers: Vec<_> = tars.iter().map(|tar| Blob::new(gzip(tar))).collect();
        let history = json!({"created": "2024-01-01T00:00:00Z", "created_by": "a test"});
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"seeds": seeds.join(",")}},
            "rootfs": {
                "type": "layers",
                "diff_ids": tars.iter().map(|tar| digest_of(tar)).collect::<Vec<_>>(),
            },
            "history": vec![history; seeds.len()],
        });
        let config = Blob::new(config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.described(CONFIG_TYPE),
            "layers": layers.iter().map(|layer| layer.described(LAYER_TYPE)).collect::<Vec<_>>(),
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

    /// Writes the image as an OCI layout with the tag `v1`.
    pub fn write_layout(&self, folder: &Path) {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for blob in self.blobs().chain([&self.manifest]) {
            let name = blob.digest.strip_prefix("sha256:").unwrap();
            fs::write(blobs.join(name), &blob.bytes).unwrap();
        }
        let mut manifest = self.manifest.described(MANIFEST_TYPE);
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        fs::write(
            folder.join("oci-layout"),
            json!({"imageLayoutVersion": "1.0.0"}).to_string(),
        )
        .unwrap();
    }
}

/// A tar archive with one file.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", bytes.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// A gzip stream of stored blocks: clients compress whatever is not gzip, which changes its digest.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let blocks = bytes.chunks(0xffff);
    let last = blocks.len() - 1;
    for (at, block) in blocks.enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        stream.push(u8::from(at == last));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&crc32(bytes).to_le_bytes());
    stream.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
    stream
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
        }
    }
    !sum
}

//! Clients that push, mount and pull without end, and what they were told meanwhile.

use crate::support;
use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::image::{Blob, Image};
use support::raw_http::{Answer, Request};
use support::registry_client::{Client, closing, mount_target};
use support::store::Store;
use support::wait_until;

/// What clients were told that they cannot have wanted.
#[derive(Debug)]
pub struct Failure {
    pub method: String,
    pub target: String,
    pub what: String,
    pub began: Instant,
    pub ended: Instant,
}

/// A time in which the registry was away.
#[derive(Debug)]
pub struct Absence {
    pub from: Instant,
    /// Before and after it was killed.
    pub kill: (Instant, Instant),
    /// It accepts connections again.
    pub to: Instant,
}

/// What they do, and what came of it.
pub struct Load {
    pub store: Store,
    pub client: Client,
    pub common: Blob,
    pub failures: Mutex<Vec<Failure>>,
    pub requests: AtomicUsize,
    pub mounts: AtomicUsize,
    pub images: AtomicUsize,
    pub is_over: AtomicBool,
}

/// Where the manifest of an image goes.
pub fn manifest_path(repository: &str) -> String {
    format!("/v2/{repository}/manifests/v1")
}

impl Load {
    /// One request; `None`, and a failure is noted, where the registry gave no answer to it.
    fn send(&self, request: &Request, wanted: &[u16]) -> Option<Answer> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let answer = request.try_send(self.client.port);
        match answer {
            Ok(answer) if wanted.contains(&answer.status) => Some(answer),
            answer => {
                self.failed(request, began, &answer);
                None
            }
        }
    }

    fn failed(&self, request: &Request, began: Instant, answer: &io::Result<Answer>) {
        let is_absence = answer
            .as_ref()
            .map_or(true, |answer| [502, 503, 504].contains(&answer.status));
        let failure = Failure {
            method: request.method.clone(),
            target: request.target.clone(),
            what: format!("{}{answer:?}", if is_absence { "" } else { "strange: " }),
            began,
            ended: Instant::now(),
        };
        self.failures.lock().unwrap().push(failure);
    }

    fn upload(&self, repository: &str, blob: &Blob) -> Option<()> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let opened = self.send(&self.client.request("POST", &path), &[202])?;
        let close = self.client.request("PUT", &closing(&opened, &blob.digest));
        self.send(&close.body(&blob.bytes), &[201]).map(drop)
    }

    /// A 201 is looked behind at once: whoever wrote the link, it is whole, and so is the layer.
    fn mount(&self, repository: &str, blob: &Blob) -> Option<()> {
        let path = mount_target(repository, &blob.digest, "common");
        let answer = self.send(&self.client.request("POST", &path), &[201, 202])?;
        if answer.status == 202 {
            return self.upload(repository, blob);
        }
        self.mounts.fetch_add(1, Ordering::Relaxed);
        let link = self.store.link(repository, &blob.digest);
        assert_eq!(fs::read_to_string(link).unwrap(), blob.digest);
        let data = self.store.data(&blob.digest);
        assert_eq!(fs::read(data).unwrap(), blob.bytes);
        Some(())
    }

    fn push(&self, repository: &str, image: &Image) -> Option<()> {
        self.mount(repository, &self.common)?;
        for blob in image.blobs() {
            self.upload(repository, blob)?;
        }
        let put = self
            .client
            .request("PUT", &manifest_path(repository))
            .header("Content-Type", support::image::MANIFEST_TYPE)
            .body(&image.manifest.bytes);
        self.send(&put, &[201]).map(drop)
    }

    fn pull(&self, repository: &str, blob: &Blob) -> Option<()> {
        let path = format!("/v2/{repository}/blobs/{}", blob.digest);
        let answer = self.send(&self.client.request("GET", &path), &[200])?;
        assert_eq!(
            answer.body, blob.bytes,
            "a body that ended well and is another"
        );
        Some(())
    }

    /// Pushes and pulls one image after the other, each again until it is done.
    pub fn work(&self, worker: usize) -> Vec<(String, Image)> {
        let mut done = Vec::new();
        for number in 0.. {
            let repository = format!("pushed/by{worker}/{number}");
            let image = Image::of(&[&repository], 20_000);
            while self.push(&repository, &image).is_none() {
                if self.is_over.load(Ordering::Relaxed) {
                    return done;
                }
                sleep(Duration::from_millis(20));
            }
            for blob in image.blobs().chain([&self.common]) {
                let _ = self.pull(&repository, blob);
            }
            self.images.fetch_add(1, Ordering::Relaxed);
            done.push((repository, image));
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
        }
        done
    }

    pub fn wait_for_images(&self, more: usize) {
        let before = self.images.load(Ordering::Relaxed);
        wait_until("images are pushed", || {
            self.images.load(Ordering::Relaxed) >= before + more
        });
    }
}

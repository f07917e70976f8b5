//! One push from one fresh runner.

use super::forms::{Daemon, Form, Given};
use super::scene::{OWN, OWNER, Scene};
use crate::support::archive::Compression;
use crate::support::bytes_from;
use crate::support::fresh_runner::Runner;
use crate::support::image::write_index_layout;
use crate::support::{digest_of, tools};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a push goes to, and by which login.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub port: u16,
    pub repository: &'a str,
    pub login: &'a str,
    /// The certificate to trust; plain HTTP if there is none.
    pub authority: Option<&'a Path>,
}

pub struct Push<'a> {
    scene: &'a Scene,
    form: &'a Form,
    target: Target<'a>,
    /// The seed of the image's own layer. No repository holds it yet.
    own: String,
    pub runner: Runner,
}

impl<'a> Push<'a> {
    /// A runner that is about to push.
    pub fn prepare(scene: &'a Scene, form: &'a Form, target: Target<'a>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = format!("own {number} {}", target.port);
        let runner = Runner::start();
        if let Some(authority) = target.authority {
            runner.trust(authority);
        }
        let mut push = Self {
            scene,
            form,
            target,
            own,
            runner,
        };
        push.give();
        push.start_daemon();
        push.run(form.prepare);
        push
    }

    /// The push itself.
    pub fn run_it(&self) {
        self.run(self.form.push);
    }

    /// The same; how many bytes the registry got meanwhile.
    pub fn run_counted(&self) -> u64 {
        self.scene.count(|| self.run_it())
    }

    /// Runs these lines, each of which must succeed.
    #[track_caller]
    pub fn run(&self, lines: &[&str]) {
        for line in lines {
            self.say(line);
        }
    }

    /// The same; what the program writes.
    #[track_caller]
    pub fn say(&self, line: &str) -> String {
        let words: Vec<_> = line
            .split(' ')
            .filter_map(|word| match word.strip_prefix("plain:") {
                Some(word) => self.target.authority.is_none().then_some(word),
                None => Some(word),
            })
            .map(|word| self.fill_in(word))
            .collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.runner.run(&words)
    }

    fn fill_in(&self, word: &str) -> String {
        let host = format!("127.0.0.1:{}", self.target.port);
        let user = self.target.login.split(':').next().unwrap();
        word.replace("OWNER", OWNER)
            .replace("LOGIN", self.target.login)
            .replace("USER", user)
            .replace("ELSEWHERE", &self.elsewhere())
            .replace("NAME", &format!("{host}/{}:v1", self.target.repository))
            .replace("HOST", &host)
    }

    fn elsewhere(&self) -> String {
        format!("127.0.0.1:{}", self.scene.elsewhere.port)
    }

    /// Gives the runner what it is to push.
    fn give(&self) {
        let layout = self.runner.folder().join("layout");
        match self.form.given {
            Given::Nothing => {}
            Given::Layout(compression) => {
                let base = self.scene.base(compression);
                let image = base.with_layer(compression, &self.own, OWN);
                image.write_layout(&layout);
            }
            Given::Index => {
                let one = self.scene.base(Compression::Gzip);
                let other = one.for_architecture("arm64");
                write_index_layout(&[("amd64", one), ("arm64", &other)], &layout);
            }
            Given::BaseLayout => {
                self.scene.base(Compression::Gzip).write_layout(&layout);
                self.write_context("scratch");
            }
            Given::Context(from) => self.write_context(&self.fill_in(from)),
        }
        if layout.exists() {
            let mut tar = Command::new("tar");
            tar.arg("-cf").arg(self.runner.folder().join("layout.tar"));
            tar.arg("-C").arg(&layout);
            tools::run(tar.args(["blobs", "index.json", "oci-layout"]));
        }
    }

    /// What an image is built of: its base, and the bytes of its own layer.
    fn write_context(&self, from: &str) {
        let context = self.runner.folder().join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("own.bin"), self.own_bytes()).unwrap();
        let text = format!("FROM {from}\nCOPY own.bin /own.bin\n");
        fs::write(context.join("Dockerfile"), text).unwrap();
    }

    fn own_bytes(&self) -> Vec<u8> {
        bytes_from(&self.own, OWN)
    }

    fn start_daemon(&mut self) {
        let settings = match self.form.daemon {
            Daemon::None => return,
            Daemon::Containerd => {
                let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
                fs::write(self.runner.folder().join("containerd.toml"), config).unwrap();
                let line = ["containerd", "--config", "/tmp/containerd.toml"];
                return self.runner.daemon(&line, &["ctr", "version"]);
            }
            Daemon::ClassicDocker => r#"{"storage-driver": "vfs"}"#,
            Daemon::Docker => {
                r#"{"storage-driver": "native", "features": {"containerd-snapshotter": true}}"#
            }
        };
        fs::write(self.runner.folder().join("docker.json"), settings).unwrap();
        let line = "dockerd --config-file /tmp/docker.json --bridge=none --iptables=false \
                    --ip6tables=false";
        let line: Vec<_> = line.split_whitespace().collect();
        self.runner.daemon(&line, &["docker", "version"]);
    }

    /// Pulls the image back, and wants every byte of it to be right.
    #[track_caller]
    pub fn pull_back(&self) {
        self.run(&[
            "skopeo copy --all --dest-decompress plain:--src-tls-verify=false \
             --src-creds OWNER docker://NAME dir:/tmp/pulled",
        ]);
        let (mut digests, mut has_own) = (HashSet::new(), !self.form.given.has_own());
        let own = self.own_bytes();
        for file in fs::read_dir(self.runner.folder().join("pulled")).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            if name.len() != 64 {
                continue;
            }
            let bytes = fs::read(file.path()).unwrap();
            let digest = digest_of(&bytes);
            assert_eq!(digest, format!("sha256:{name}"));
            digests.insert(digest);
            // An archive has a file's bytes in one piece, from a multiple of 512 on.
            has_own |= bytes
                .chunks(512)
                .enumerate()
                .any(|(at, block)| block == &own[..512] && bytes[at * 512..].starts_with(&own));
        }
        assert!(has_own, "the image's own layer is not in {digests:?}");
        for layer in self.scene.base(Compression::Gzip).diff_ids() {
            assert!(digests.contains(&layer), "{layer} is not in {digests:?}");
        }
    }
}

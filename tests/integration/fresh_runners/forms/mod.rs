//! Clients, and the ways in which they push.

mod copies;
mod known;
mod unknown;

use crate::support::archive::Compression;
use crate::support::fresh_runner;

pub use copies::COPIES;
pub use known::KNOWN;
pub use unknown::UNKNOWN;

/// What a runner holds before it begins.
#[derive(Debug, Clone, Copy)]
pub enum Given {
    Nothing,
    /// The base image and a layer of its own, as `/tmp/layout` and `/tmp/layout.tar`.
    Layout(Compression),
    /// A multi-arch index of base images there.
    Index,
    /// The base image there, and a layer of its own as `/tmp/context/own.bin`.
    BaseLayout,
    /// `/tmp/context`, by which a layer is built on this image.
    Context(&'static str),
}

impl Given {
    /// Whether the image has a layer that no repository holds.
    pub fn has_own(self) -> bool {
        !matches!(self, Self::Nothing | Self::Index)
    }
}

/// What must run beside the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    None,
    Containerd,
    /// With images in its containerd store.
    Docker,
    /// With images in its own store.
    ClassicDocker,
}

/// A client and a way to push. In its lines a word after `plain:` stands for plain HTTP alone;
/// `NAME`, `HOST`, `LOGIN`, `USER`, `OWNER` and `ELSEWHERE` stand for what a push says.
#[derive(Debug)]
pub struct Form {
    /// What README calls it.
    pub name: &'static str,
    pub program: &'static str,
    pub given: Given,
    pub daemon: Daemon,
    pub prepare: &'static [&'static str],
    pub push: &'static [&'static str],
}

const LAYOUT: Given = Given::Layout(Compression::Gzip);
const CONTEXT: Given = Given::Context("ELSEWHERE/base:v1");
pub const DOCKER_LOGIN: &str = "docker login --username USER --password right HOST";
pub const DOCKER_BUILD: &str = "docker build --quiet --provenance=false --tag NAME /tmp/context";
pub const DOCKER_PUSH: &[&str] = &["docker push NAME"];
const SKOPEO: &[&str] = &[
    "skopeo copy plain:--dest-tls-verify=false --dest-creds LOGIN \
     oci:/tmp/layout:v1 docker://NAME",
];
/// An image or an index.
const ORAS: &[&str] = &[
    "oras copy plain:--to-plain-http --to-username USER --to-password right \
     --from-oci-layout /tmp/layout:v1 NAME",
];
pub const DOCKER_ARCHIVE: &str =
    "skopeo copy oci:/tmp/layout:v1 docker-archive:/tmp/docker.tar:NAME";
const NAMED_ARCHIVE: &str = "skopeo copy oci:/tmp/layout:v1 oci-archive:/tmp/named.tar:NAME";
const INDEX_ARCHIVE: &str = "skopeo copy --all oci:/tmp/layout:v1 oci-archive:/tmp/named.tar:NAME";
pub const DOCKER_LOAD: &str = "docker load --input /tmp/docker.tar";
pub const PODMAN_LOAD: &[&str] = &[
    DOCKER_ARCHIVE,
    // skopeo has just noted there which layers the archive was made of.
    "rm -r /var/lib/containers/cache",
    "podman --storage-driver vfs load --input /tmp/docker.tar",
];
pub const PODMAN_PUSH: &[&str] =
    &["podman --storage-driver vfs push plain:--tls-verify=false --creds LOGIN NAME"];
const PODMAN_BUILD: &[&str] = &["podman --storage-driver vfs build --isolation chroot \
     --tls-verify=false --tag NAME /tmp/context"];
const INDEX_ELSEWHERE: &str = "skopeo copy --all --dest-tls-verify=false oci:/tmp/layout:v1 \
     docker://ELSEWHERE/index:v1";

pub const fn form(
    name: &'static str,
    program: &'static str,
    given: Given,
    prepare: &'static [&'static str],
    push: &'static [&'static str],
) -> Form {
    Form {
        name,
        program,
        given,
        daemon: Daemon::None,
        prepare,
        push,
    }
}

impl Form {
    pub const fn beside(mut self, daemon: Daemon) -> Self {
        self.daemon = daemon;
        self
    }
}

/// Those that the release has.
pub fn installed(forms: &'static [Form]) -> impl Iterator<Item = &'static Form> {
    forms.iter().filter(|form| fresh_runner::has(form.program))
}

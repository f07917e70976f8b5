//! Pushes in which the client asks by the digest of what it would upload.

use super::{CONTEXT, DOCKER_BUILD, DOCKER_LOGIN, DOCKER_PUSH, Daemon, Form, Given, LAYOUT};
use super::{NAMED_ARCHIVE, ORAS, PODMAN_BUILD, PODMAN_PUSH, SKOPEO, form};
use crate::support::archive::Compression;

const ZSTD_LAYOUT: Given = Given::Layout(Compression::Zstd);
const CRANE_LOGIN: &[&str] = &["crane auth login HOST --username USER --password right"];
const CRANE: &[&str] = &["crane push plain:--insecure /tmp/layout NAME"];
const CTR_IMPORT: &[&str] = &[NAMED_ARCHIVE, "ctr images import /tmp/named.tar"];
const CTR: &[&str] = &["ctr images push plain:--plain-http --user LOGIN NAME"];
const DOCKER_LOAD_OCI: &[&str] = &[
    NAMED_ARCHIVE,
    "docker load --input /tmp/named.tar",
    DOCKER_LOGIN,
];

/// An image with a layer of its own, whose other layers the client asks for by their digests.
pub const KNOWN: &[Form] = &[
    form("skopeo", "skopeo", LAYOUT, &[], SKOPEO),
    form(
        "skopeo with zstd layers",
        "skopeo",
        ZSTD_LAYOUT,
        &[],
        SKOPEO,
    ),
    form(
        "skopeo after umoci",
        "umoci",
        Given::BaseLayout,
        &["umoci insert --image /tmp/layout:v1 /tmp/context/own.bin /own.bin"],
        SKOPEO,
    ),
    form("crane", "crane", LAYOUT, CRANE_LOGIN, CRANE),
    form(
        "crane with zstd layers",
        "crane",
        ZSTD_LAYOUT,
        CRANE_LOGIN,
        CRANE,
    ),
    form("oras", "oras", LAYOUT, &[], ORAS),
    form("oras with zstd layers", "oras", ZSTD_LAYOUT, &[], ORAS),
    form("`ctr`", "ctr", LAYOUT, CTR_IMPORT, CTR).beside(Daemon::Containerd),
    form(
        "`ctr` with zstd layers",
        "ctr",
        ZSTD_LAYOUT,
        CTR_IMPORT,
        CTR,
    )
    .beside(Daemon::Containerd),
    form(
        "`ctr --local`",
        "ctr",
        LAYOUT,
        &[NAMED_ARCHIVE, "ctr images import --local /tmp/named.tar"],
        &["ctr images push --local plain:--plain-http --user LOGIN NAME"],
    )
    .beside(Daemon::Containerd),
    form(
        "`docker load` (containerd store)",
        "dockerd",
        LAYOUT,
        DOCKER_LOAD_OCI,
        DOCKER_PUSH,
    )
    .beside(Daemon::Docker),
    form(
        "`docker load` of zstd layers (containerd store)",
        "dockerd",
        ZSTD_LAYOUT,
        DOCKER_LOAD_OCI,
        DOCKER_PUSH,
    )
    .beside(Daemon::Docker),
    form(
        "`docker build` (containerd store)",
        "dockerd",
        CONTEXT,
        &[DOCKER_BUILD, DOCKER_LOGIN],
        DOCKER_PUSH,
    )
    .beside(Daemon::Docker),
    form(
        "`docker build` (classic store)",
        "dockerd",
        CONTEXT,
        &[
            "docker pull --quiet ELSEWHERE/base:v1",
            DOCKER_BUILD,
            DOCKER_LOGIN,
        ],
        DOCKER_PUSH,
    )
    .beside(Daemon::ClassicDocker),
    form(
        "`docker buildx build --push`",
        "dockerd",
        CONTEXT,
        &[DOCKER_LOGIN],
        &["docker buildx build --push --provenance=false --tag NAME /tmp/context"],
    )
    .beside(Daemon::Docker),
    form(
        "`docker buildx build` for two platforms",
        "dockerd",
        CONTEXT,
        &[DOCKER_LOGIN],
        &[
            "docker buildx build --push --provenance=false --platform linux/amd64,linux/arm64 \
             --tag NAME /tmp/context",
        ],
    )
    .beside(Daemon::Docker),
    form(
        "`buildx` with provenance and cache",
        "dockerd",
        CONTEXT,
        &[DOCKER_LOGIN],
        &["docker buildx build --push --provenance=true \
             --cache-to type=registry,ref=NAME-cache --tag NAME /tmp/context"],
    )
    .beside(Daemon::Docker),
    form(
        "`podman build`",
        "podman",
        CONTEXT,
        PODMAN_BUILD,
        PODMAN_PUSH,
    ),
    form(
        "`buildah build`",
        "buildah",
        CONTEXT,
        &[
            "buildah --storage-driver vfs build --isolation chroot --tls-verify=false --tag NAME \
           /tmp/context",
        ],
        &["buildah --storage-driver vfs push plain:--tls-verify=false --creds LOGIN NAME"],
    ),
];

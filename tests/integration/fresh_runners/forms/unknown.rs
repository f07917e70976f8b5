//! Pushes in which the client cannot ask for what it will upload.

use super::{
    CONTEXT, DOCKER_ARCHIVE, DOCKER_LOAD, DOCKER_LOGIN, DOCKER_PUSH, Daemon, Form, LAYOUT,
};
use super::{PODMAN_BUILD, PODMAN_LOAD, PODMAN_PUSH, form};

/// Clients that do not know the digests of what they are about to upload.
pub const UNKNOWN: &[Form] = &[
    form(
        "`docker load` (classic store)",
        "dockerd",
        LAYOUT,
        &[DOCKER_ARCHIVE, DOCKER_LOAD, DOCKER_LOGIN],
        DOCKER_PUSH,
    )
    .beside(Daemon::ClassicDocker),
    form(
        "`docker load` of a docker-archive (containerd store)",
        "dockerd",
        LAYOUT,
        &[DOCKER_ARCHIVE, DOCKER_LOAD, DOCKER_LOGIN],
        DOCKER_PUSH,
    )
    .beside(Daemon::Docker),
    form("`podman load`", "podman", LAYOUT, PODMAN_LOAD, PODMAN_PUSH),
    form(
        "`podman push --force-compression`",
        "podman",
        CONTEXT,
        PODMAN_BUILD,
        &[
            "podman --storage-driver vfs push --compression-format zstd --force-compression \
             plain:--tls-verify=false --creds LOGIN NAME",
        ],
    ),
];

//! Copies of what another repository holds.

use super::{
    DOCKER_LOGIN, DOCKER_PUSH, Daemon, Form, Given, INDEX_ARCHIVE, INDEX_ELSEWHERE, ORAS, form,
};

/// Images all of whose layers another repository holds.
pub const COPIES: &[Form] = &[
    form(
        "`skopeo copy` from another registry",
        "skopeo",
        Given::Nothing,
        &[],
        &[
            "skopeo copy --src-tls-verify=false plain:--dest-tls-verify=false --dest-creds LOGIN \
             docker://ELSEWHERE/base:v1 docker://NAME",
        ],
    ),
    form(
        "`oras copy` from another registry",
        "oras",
        Given::Nothing,
        &[],
        &[
            "oras copy --from-plain-http plain:--to-plain-http --to-username USER \
             --to-password right ELSEWHERE/base:v1 NAME",
        ],
    ),
    form(
        "`crane copy` of an index",
        "crane",
        Given::Index,
        &[
            INDEX_ELSEWHERE,
            "crane auth login HOST --username USER --password right",
        ],
        &["crane copy --insecure ELSEWHERE/index:v1 NAME"],
    ),
    form(
        "`skopeo copy --all` of an index",
        "skopeo",
        Given::Index,
        &[],
        &[
            "skopeo copy --all plain:--dest-tls-verify=false --dest-creds LOGIN \
             oci:/tmp/layout:v1 docker://NAME",
        ],
    ),
    form("`oras copy` of an index", "oras", Given::Index, &[], ORAS),
    form(
        "`ctr images push` of an index",
        "ctr",
        Given::Index,
        &[
            INDEX_ARCHIVE,
            "ctr images import --all-platforms /tmp/named.tar",
        ],
        &["ctr images push plain:--plain-http --user LOGIN NAME"],
    )
    .beside(Daemon::Containerd),
    form(
        "`docker push` of an index",
        "dockerd",
        Given::Index,
        &[
            INDEX_ARCHIVE,
            "docker load --input /tmp/named.tar",
            DOCKER_LOGIN,
        ],
        DOCKER_PUSH,
    )
    .beside(Daemon::Docker),
    form(
        "`podman manifest push --all`",
        "podman",
        Given::Index,
        &[
            INDEX_ELSEWHERE,
            "podman --storage-driver vfs manifest create list",
            "podman --storage-driver vfs manifest add --tls-verify=false --all list \
             docker://ELSEWHERE/index:v1",
        ],
        &[
            "podman --storage-driver vfs manifest push --all --tls-verify=false \
             --creds LOGIN list docker://NAME",
        ],
    ),
    form(
        "`buildah manifest push --all`",
        "buildah",
        Given::Index,
        &[
            INDEX_ELSEWHERE,
            "buildah --storage-driver vfs manifest create list",
            "buildah --storage-driver vfs manifest add --tls-verify=false --all list \
             docker://ELSEWHERE/index:v1",
        ],
        &[
            "buildah --storage-driver vfs manifest push --all --tls-verify=false \
             --creds LOGIN list docker://NAME",
        ],
    ),
];

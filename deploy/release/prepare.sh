#!/usr/bin/env bash
# Installs on Debian, as root, what deploy/release/build.sh needs beside Rust. With TAG, it first looks
# whether the tag is that of this version.
set -euo pipefail
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ -z ${TAG-} ]] || deploy/release/notes.sh >/dev/null
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  binutils build-essential cmake curl docker-registry dpkg-dev git lintian skopeo >/dev/null
./tests/cargo-tools.sh

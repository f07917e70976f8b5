#!/usr/bin/env bash
# Makes the image for both processors from the binaries in DIRECTORY/static: one OCI layout, as
# DIRECTORY/static/image. It needs no root and runs no program of the image, so one machine makes both.
#
#   deploy/release/image.sh DIRECTORY
#
#   SOURCE   where the sources are, for the image's label
#
# Needs buildah.
set -euo pipefail
directory=$(realpath "$1")/static
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

work=$(mktemp -d)
# A store of its own: nothing of another build gets into it, and nothing of it is left.
buildah() {
  command buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs "$@"
}
# shellcheck disable=SC2317,SC2329 # called by the trap
cleanup() {
  command buildah unshare rm -rf "$work" 2>/dev/null || rm -rf "$work"
}
trap cleanup EXIT

revision=$(git_here rev-parse HEAD)
for binary in "$directory"/crossmount-*; do
  arch=$(arch_of "$binary")
  # The stage "build" of the Dockerfile, with the binary already in it.
  install -D -m 755 "$binary" "$work/$arch/out/bin/crossmount"
  buildah bud --quiet --file deploy/Dockerfile --platform "linux/$arch" \
    --build-context "build=$work/$arch" --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false \
    --build-arg "VERSION=$(version)" --build-arg "REVISION=$revision" \
    --build-arg "SOURCE=${SOURCE:-unknown}" --manifest crossmount . >/dev/null
done
rm -rf "$directory/image"
buildah manifest push --quiet --all --format oci crossmount "oci:$directory/image:$(version)"

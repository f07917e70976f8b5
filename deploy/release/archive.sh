#!/usr/bin/env bash
# Makes the archive with the binary for every Linux: crossmount_VERSION_linux_ARCH.tar.gz.
#
#   deploy/release/archive.sh BINARY DIRECTORY
set -euo pipefail
binary=$(realpath "$1")
directory=$(realpath "$2")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stage "$binary"
name=crossmount_$(version)_linux_$(arch_of "$binary")
place=target/shipped/archive
rm -rf "$place"
mkdir -p "$place/$name"
cp -r "$stage"/{crossmount,man,completions} LICENSE CHANGELOG.md deploy/systemd/crossmount.service \
  examples/crossmount.yaml "$place/$name"
tar --create --directory "$place" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
  --numeric-owner --mode=go=rX,u+w "$name" | gzip --no-name --best >"$directory/$name.tar.gz"

#!/usr/bin/env bash
# Makes, unless it is there already, the file system from which the tests build the images that
# cannot be pulled: Debian with a registry and what is needed beside Rust to compile.
#
#   CROSSMOUNT_TOOLS   the directory that gets base.tar
set -euo pipefail

directory=${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}
if [[ -f $directory/base.tar ]]; then
  exit
fi
if ((EUID != 0)); then
  echo 'base-image.sh: not root, so the tests of image and pod will be skipped'
  [[ -z ${CI-} ]]
  exit
fi
echo "making $directory/base.tar"
mkdir -p "$directory"
unfinished=$(mktemp "$directory/base.XXXXXX.tar")
trap 'rm -f "$unfinished"' EXIT
mmdebstrap --quiet --variant=minbase \
  --include=ca-certificates,cmake,docker-registry,gcc,libc6-dev,make bookworm "$unfinished"
mv "$unfinished" "$directory/base.tar"

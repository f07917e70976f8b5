#!/usr/bin/env bash
# Writes the checksums of all files of a release: DIRECTORY/SHA256SUMS.
#
#   deploy/release/checksums.sh DIRECTORY
set -euo pipefail
directory=$(realpath "$1")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cd "$directory"
rm -f SHA256SUMS
sums=$(find . -maxdepth 1 -type f -printf '%P\0' | sort --zero-terminated | xargs -0 sha256sum)
echo "$sums" >SHA256SUMS
cat SHA256SUMS

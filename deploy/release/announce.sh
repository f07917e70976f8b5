#!/usr/bin/env bash
# Publishes the release of a tag with its files, by GitHub's own program.
#
#   deploy/release/announce.sh DIRECTORY
#
#   TAG, SOURCE   the tag, and where the sources are
#
# Needs gh, with its token in GH_TOKEN.
set -euo pipefail
directory=$(realpath "$1")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

notes=$(deploy/release/notes.sh)
gh release create "$TAG" --repo "${SOURCE#*://*/}" --verify-tag --title "crossmount $(version)" \
  --notes-file - "$directory"/*.{tar.gz,deb,tgz} "$directory"/{crossmount.cdx.json,SHA256SUMS} <<<"$notes"

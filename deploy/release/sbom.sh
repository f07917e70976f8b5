#!/usr/bin/env bash
# Writes the list of all crates in the binary, in CycloneDX's format: crossmount.cdx.json.
#
#   deploy/release/sbom.sh DIRECTORY
#
# Needs cargo-cyclonedx.
set -euo pipefail
directory=$(realpath "$1")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The crates are the same for both processors. cargo-cyclonedx writes beside Cargo.toml, and names
# the place of the checkout. With the time of the commit, the same commit gives the same list.
file=crossmount-release.cdx
trap 'rm -f "$file.json"' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
  --target x86_64-unknown-linux-gnu --override-filename "$file"
# Nor does it then write a serial number, which readers of the format want: one of the commit.
uuid=$(git_here rev-parse HEAD | sha256sum |
  sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-8\3-a\4-\5/')
sed -e "s#path+file://$PWD\b#path+file:///src#g" \
  -e "0,/^  \"specVersion\":.*/s//&\n  \"serialNumber\": \"urn:uuid:$uuid\",/" \
  "$file.json" >"$directory/crossmount.cdx.json"

#!/usr/bin/env bash
# Builds the subcommands of cargo that a release needs and that pip does not have, unless they are
# there already: cargo-deb makes the Debian package, cargo-cyclonedx the list of dependencies.
#
#   CROSSMOUNT_TOOLS   the directory; they go into its bin/
set -euo pipefail

directory=${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}
mark=$directory/installed-by-cargo-tools.sh
wanted=$(sha256sum <"${BASH_SOURCE[0]}")
if [[ -f $mark && $(<"$mark") = "$wanted" ]]; then
  exit
fi
echo "building cargo-deb and cargo-cyclonedx into $directory"
mkdir -p "$directory"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
# They run for a second: a quick build is worth more than a quick program.
CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=false \
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_TARGET_DIR=$unpacked \
  cargo install --quiet --locked --force --root "$directory" cargo-deb@3.8.0 cargo-cyclonedx@0.5.9
echo "$wanted" >"$mark"

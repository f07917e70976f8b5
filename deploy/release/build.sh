#!/usr/bin/env bash
# Builds and tries what a release has for this machine's processor:
#   crossmount_VERSION_linux_ARCH.tar.gz, crossmount_VERSION_ARCH.deb, crossmount.cdx.json, and
#   static/crossmount-ARCH, from which image.sh makes the image.
#
#   deploy/release/build.sh DIRECTORY
#
#   CROSSMOUNT_BIN   a binary that is there: it is packed in place of new ones
#   DEB_OPTIONS      options of cargo-deb
set -euo pipefail
mkdir -p "$1"
directory=$(realpath "$1")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

binary=${CROSSMOUNT_BIN-} static=${CROSSMOUNT_BIN-}
if [[ -z $binary ]]; then
  target=${CARGO_TARGET_DIR:-target}
  host=$(rustc -vV | sed -n 's/^host: //p')
  # No path of this machine is in the binary, nor in the debugging information, by which the linker
  # gives the binary its number.
  cargo_home=${CARGO_HOME:-$HOME/.cargo}
  remap="--remap-path-prefix=$PWD=/src --remap-path-prefix=$cargo_home=/cargo"
  export CFLAGS="${CFLAGS-} -ffile-prefix-map=$PWD=/src -ffile-prefix-map=$cargo_home=/cargo"
  RUSTFLAGS=$remap cargo build --locked --profile dist
  # For an image without libraries. With the target named, procedural macros are still built for
  # the dynamic linker.
  RUSTFLAGS="$remap -C target-feature=+crt-static" \
    cargo build --locked --profile dist --target "$host"
  binary=$target/dist/crossmount static=$target/$host/dist/crossmount
fi

mkdir -p "$directory/static"
strip --strip-unneeded --remove-section=.comment \
  -o "$directory/static/crossmount-$(arch_of "$static")" "$static"
deploy/release/archive.sh "$binary" "$directory"
read -ra deb_options <<<"${DEB_OPTIONS-}"
deploy/release/deb.sh "$binary" "$directory" "${deb_options[@]}"
deploy/release/sbom.sh "$directory"
lintian --allow-root --fail-on error --tag-display-limit 0 "$directory"/*_"$(arch_of "$binary")".deb
for made in target/shipped/stage/crossmount "$directory/static/crossmount-$(arch_of "$static")"; do
  CROSSMOUNT_BIN=$made examples/quickstart.sh
done

#!/usr/bin/env bash
# Makes the Debian package from a binary of this machine's processor.
#
#   deploy/release/deb.sh BINARY DIRECTORY [OPTION OF CARGO-DEB]...
#
# It writes crossmount_VERSION-REVISION_ARCH.deb into the directory.
#
#   REVISION   the package's own number behind the version, 1 by default
#
# Needs cargo-deb, and dpkg-shlibdeps, which finds the libraries that the binary needs.
set -euo pipefail
binary=$(realpath "$1")
mkdir -p "$2"
directory=$(realpath "$2")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stage "$binary"
maintainer=${MAINTAINER:-$(git_here log -1 --format='%an <%ae>')}
revision=${REVISION:-1}
# A release is installed by hand to /usr/local; a package is not.
sed 's#/usr/local/bin/#/usr/bin/#' deploy/systemd/crossmount.service \
  >"$stage/crossmount.service"
cat >"$stage/changelog" <<TEXT
crossmount ($(version)-$revision) unstable; urgency=medium

  * A new version; CHANGELOG.md says what changed.

 -- $maintainer  $(date --rfc-email --date="@$SOURCE_DATE_EPOCH")
TEXT
cargo deb --no-build --no-strip --locked --quiet --maintainer "$maintainer" \
  --deb-revision "$revision" "${@:3}" \
  --output "$directory/crossmount_$(version)-${revision}_$(arch_of "$binary").deb"

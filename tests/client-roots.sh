#!/usr/bin/env bash
# Makes, unless they are there already, file systems with the clients of newer Debian releases than
# the machine's own. The integration tests run these clients in them.
#
#   client-roots.sh trixie       the stable release
#   client-roots.sh sid --anew   the unstable release, which moves: made again
#
#   CROSSMOUNT_TOOLS   the directory that gets clients-trixie and clients-sid
set -euo pipefail

release=${1:?a release of Debian}
directory=${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}
root=$directory/clients-$release

packages=(ca-certificates docker.io docker-cli docker-buildx containerd skopeo podman buildah oras
  umoci crun procps)
if [[ $release = sid ]]; then
  packages+=(crane)
fi

make_root() {
  local unfinished
  echo "making $root"
  mkdir -p "$directory"
  unfinished=$(mktemp -d "$root.XXXXXX")
  # shellcheck disable=SC2064 # its value of here and now
  trap "rm -rf --one-file-system '$unfinished'" EXIT
  # Its time may be another one than the lists' authors had in mind.
  mmdebstrap --quiet --variant=minbase \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --aptopt='APT::Install-Recommends "false"' \
    --include="$(IFS=,; echo "${packages[*]}")" "$release" "$unfinished/root"
  rm -rf --one-file-system "$root"
  mv "$unfinished/root" "$root"
}

if ((EUID != 0)); then
  echo 'client-roots.sh: not root, so the tests of newer clients will be skipped'
  [[ -z ${CI-} ]]
  exit
fi
if [[ ! -d $root || ${2-} = --anew ]]; then
  make_root
fi
# What the tests meet.
echo "clients of Debian $release:"
# shellcheck disable=SC2016 # fields of dpkg-query
dpkg-query --admindir "$root/var/lib/dpkg" --show --showformat '  ${Package} ${Version}\n' \
  "${packages[@]}"

#!/usr/bin/env bash
# The Debian package, in a Debian of its own: installed, configured, started, upgraded, removed.
# systemd does not run there, so its command line is run as its user.
#
#   tests/package.sh BINARY PACKAGE    the second is made of the first, by deploy/release/deb.sh
#
# Needs root, cargo-deb, curl, and what tests/base-image.sh makes.
set -euo pipefail

# In namespaces of its own: the ports 5000, 5010 and 9500 are free there, mounts and processes end
# with the script.
if [[ ${1-} != --inside ]]; then
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  export MAINTAINER='crossmount tests <tests@crossmount.dev>'
  cp "$2" "$work"
  REVISION=2 deploy/release/deb.sh "$1" "$work" --fast
  # One more, in which the commented configuration is another.
  dpkg-deb --raw-extract "$work"/*-2_*.deb "$work/other"
  sed -i 's/^\(Version: .*\)-2$/\1-3/' "$work/other/DEBIAN/control"
  echo '# A new comment.' >>"$work/other/etc/crossmount.yaml"
  (cd "$work/other" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' |
    xargs -0 md5sum >DEBIAN/md5sums)
  name=$(basename "$work"/*-2_*.deb)
  dpkg-deb --root-owner-group -Znone --build "$work/other" "$work/${name/-2_/-3_}" >"$work/dpkg.log"
  unshare --mount --net --pid --fork --kill-child \
    "$PWD/tests/package.sh" --inside "$work"
  exit
fi

work=$2
root=$work/root
store=$root/var/lib/docker-registry
say() { printf -- '-- %s\n' "$*"; }
fail() {
  printf 'package.sh: %s\n' "$*" >&2
  [[ ! -f $work/crossmount.log ]] || tail -n 20 "$work/crossmount.log" >&2
  exit 1
}
in_root() {
  chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}
apt() { in_root apt-get -y -qq "$@" >"$work/apt.log" 2>&1 || fail "$(cat "$work/apt.log")"; }

say 'a Debian with docker-registry'
ip link set lo up
mkdir "$root"
tar -xf "${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}/base.tar" -C "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
# A package's scripts must not reach a service of this machine.
mkdir -p "$root/deb"
ln "$work"/*.deb "$root/deb"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

say 'install'
apt install "/deb/$(basename "$work"/*-1_*.deb)"
unit=/lib/systemd/system/crossmount.service
for file in usr/bin/crossmount etc/crossmount.yaml ".$unit" \
  usr/share/man/man1/crossmount{,-serve,-check,-report}.1.gz \
  usr/share/bash-completion/completions/crossmount usr/share/zsh/vendor-completions/_crossmount \
  usr/share/fish/vendor_completions.d/crossmount.fish \
  usr/share/doc/crossmount/{README.Debian,copyright,docs/src/how-to/prepare.md,examples/crossmount.yaml}; do
  [[ -s $root/$file ]] || fail "$file is not in the package"
done
[[ ! -L $root/etc/systemd/system/multi-user.target.wants/crossmount.service ]] ||
  fail 'the service is enabled before it is configured'
# This machine's systemd reads it: there is none in the root.
sed "s#=/usr/bin/#=$root/usr/bin/#" "$root$unit" >"$work/crossmount.service"
said=$(systemd-analyze verify --man=no "$work/crossmount.service" 2>&1)
[[ -z $said ]] || fail "systemd says of the unit: $said"

say 'edit two lines'
sed -i 's/^  addr: :5000$/  addr: 127.0.0.1:5010/' "$root/etc/docker/registry/config.yml"
sed -i 's/^  mode: upstream$/  mode: none/' "$root/etc/crossmount.yaml"
# Debian's own file names a directory as the password file; operators who have no logins remove it.
sed -i '/^auth:/,/^    path:/d' "$root/etc/docker/registry/config.yml"
grep -q '127.0.0.1:5010' "$root/etc/docker/registry/config.yml"
grep -q 'mode: none' "$root/etc/crossmount.yaml"

unit_value() { sed -n "s/^$1=//p" "$root$unit"; }
# An array, so that a command in the background is the program itself.
as_service=(chroot --userspec="$(unit_value User):$(unit_value Group)" "$root"
  /usr/bin/env -i PATH=/usr/bin:/bin)
start_crossmount() {
  # shellcheck disable=SC2046 # the command line of the unit is several words
  "${as_service[@]}" $(unit_value ExecStart) >>"$work/crossmount.log" 2>&1 &
  crossmount=$!
  for _ in {1..100}; do
    curl -sf -o "$work/ready" http://127.0.0.1:9500/readyz && return
    sleep 0.1
  done
  fail 'crossmount is not ready after ten seconds'
}
stop_crossmount() {
  kill "$crossmount"
  wait "$crossmount" || fail "crossmount ended with $?"
}

say 'start the registry, and crossmount by the command line of its unit'
"${as_service[@]}" docker-registry serve /etc/docker/registry/config.yml >"$work/registry.log" 2>&1 &
for _ in {1..100}; do
  curl -sf -o "$work/v2" http://127.0.0.1:5010/v2/ && break
  sleep 0.1
done
start_crossmount
"${as_service[@]}" crossmount check --config /etc/crossmount.yaml --listen :5001 --admin 127.0.0.1:9501 \
  >"$work/check" || fail "$(cat "$work/check")"

# request STATUS CURL'S ARGUMENTS: the answer's headers.
request() {
  local wanted=$1 status
  shift
  status=$(curl -s -o "$work/body" -D "$work/headers" -w '%{http_code}' "$@")
  [[ $status = "$wanted" ]] || fail "expected $wanted, got $status: $* $(cat "$work/body")"
}
mounted_in() {
  local digest location
  head -c 100000 /dev/urandom >"$work/layer"
  digest=sha256:$(sha256sum <"$work/layer" | cut -d' ' -f1)
  request 202 -X POST http://127.0.0.1:5000/v2/team/base/blobs/uploads/
  location=$(sed -n 's/^location: //Ip' "$work/headers" | tr -d '\r')
  [[ $location = *\?* ]] && location+='&' || location+='?'
  [[ $location = http* ]] || location=http://127.0.0.1:5000$location
  request 201 -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$work/layer" \
    "${location}digest=$digest"
  request 201 -X POST "http://127.0.0.1:5000/v2/$1/blobs/uploads/?mount=$digest&from=team/base"
  request 200 --head "http://127.0.0.1:5010/v2/$1/blobs/$digest"
  grep -q '"outcome":"mounted"' "$work/crossmount.log" || fail 'the registry answered the mount'
  [[ -z $(find "$store/docker" ! -user "$(stat -c %u "$store")") ]] ||
    fail 'a file of the store belongs to another user than the registry'
}

say 'a mount'
mounted_in team/app

say 'upgrade'
stop_crossmount
apt install "/deb/$(basename "$work"/*-2_*.deb)"
[[ $(in_root dpkg-query --show crossmount) = *-2 ]] || fail 'the version is the old one'
grep -q '^  mode: none$' "$root/etc/crossmount.yaml" || fail 'the upgrade lost the configuration'
start_crossmount
mounted_in team/later
stop_crossmount

say 'upgrade to a package with another configuration'
apt -o Dpkg::Options::=--force-confold install "/deb/$(basename "$work"/*-3_*.deb)"
[[ $(in_root dpkg-query --show crossmount) = *-3 ]] || fail 'the version is the old one'
grep -q '^  mode: none$' "$root/etc/crossmount.yaml" || fail 'the upgrade lost the configuration'
grep -q '^# A new comment\.$' "$root/etc/crossmount.yaml.dpkg-dist" || fail 'the new one is not beside it'
start_crossmount
mounted_in team/last
stop_crossmount

say 'remove'
apt remove crossmount
[[ ! -e $root/usr/bin/crossmount && ! -e $root$unit ]] || fail 'remove left the binary or the unit'
grep -q '^  mode: none$' "$root/etc/crossmount.yaml" || fail 'remove took the configuration'

say 'purge'
apt purge crossmount
left=$(find "$root" -xdev -name '*crossmount*' ! -path "$root/deb/*" \
  ! -path "$root/var/lib/dpkg/*" ! -path "$root/var/log/*" ! -path "$root/var/cache/*")
[[ -z $left ]] || fail "purge left $left"
echo 'the package is as it should be'

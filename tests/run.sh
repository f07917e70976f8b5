#!/usr/bin/env bash
# Every check of this project, in the order below; a part that fails does not keep the next from
# running. Ends with the seconds of each part, and with an error if one failed.
#
#   ./tests/run.sh                all parts
#   ./tests/run.sh lint mounts    only these
#   ./tests/run.sh --full         all parts and the long ones: the newest clients, a release compiled
#                                 twice, the fleet, faults at length, an hour of fuzzing
#
# Where CI is set, a tool that is missing is a failure; elsewhere the tests that need it say so
# and are skipped.
# shellcheck disable=SC2317,SC2329 # the parts are called by their names
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all_parts=(tools lint supply docs build unit mounts filesystems access pod pulp discovery
  object_store fresh_runners examples package faults)
long_parts=(fresh_runners_of_sid release_twice fleet faults_at_length fuzz)

# Installs what is not there. Integration tests decide themselves what a missing tool means.
tools() {
  packages
  # The images of Rust come without them.
  ! command -v rustup >/dev/null || rustup --quiet component add rustfmt clippy
  ./tests/tools.sh
  ./tests/cargo-tools.sh
  ./tests/base-image.sh
  ./tests/client-roots.sh trixie
  ./tests/pulp.sh install
}

packages() {
  local command package missing=()
  while read -r command package; do
    command -v "$command" >/dev/null && continue
    [[ " ${missing[*]} " = *" $package "* ]] || missing+=("$package")
  done <<'TEXT'
cc build-essential
make build-essential
cmake cmake
docker-registry docker-registry
skopeo skopeo
podman podman
buildah buildah
mmdebstrap mmdebstrap
runc runc
iptables iptables
/usr/lib/podman/netavark netavark
/usr/lib/podman/aardvark-dns aardvark-dns
/usr/libexec/podman/catatonit catatonit
htpasswd apache2-utils
busybox busybox
wget wget
openssl openssl
groff groff-base
nginx nginx-light
redis-server redis-server
strace strace
bindfs bindfs
mkfs.ext4 e2fsprogs
e2fsck e2fsprogs
mkfs.xfs xfsprogs
mkfs.btrfs btrfs-progs
glusterfsd glusterfs-server
glusterfs glusterfs-client
curl curl
prometheus prometheus
promtool prometheus
chromium chromium
nsenter util-linux
systemd-analyze systemd
containerd containerd
ctr containerd
dockerd docker.io
/usr/bin/docker docker.io
shellcheck shellcheck
lintian lintian
jq jq
dpkg-shlibdeps dpkg-dev
pip3 python3-pip
node nodejs
npm npm
TEXT
  if ((${#missing[@]} == 0)); then
    echo 'nothing is missing'
    valkey
    return
  fi
  echo "missing: ${missing[*]}"
  if ((EUID != 0)); then
    echo 'Not root: install them with apt-get install.'
    [[ -z ${CI-} ]]
    return
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
  valkey
}

# In Debian 12 this is in the backports alone, which come from the same host as the rest.
valkey() {
  local codename
  command -v valkey-server >/dev/null && return
  ((EUID == 0)) || return 0
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  if ! apt-cache show valkey-server >/dev/null 2>&1; then
    # The lists say which host that is.
    [[ -n $(sites "$codename") ]] || apt-get update -qq
    echo "deb $(sites "$codename") $codename-backports main" >/etc/apt/sources.list.d/backports.list
    apt-get update -qq
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valkey-server \
    >/dev/null
}

# The host of a Debian release's packages.
sites() {
  apt-get indextargets --format "\$(SITE)" 'Created-By: Packages' "Codename: $1" | sed -n 1p
}

lint() {
  cargo fmt --check
  cargo clippy --release --all-targets --all-features --locked -- -D warnings
  if command -v shellcheck >/dev/null || [[ -n ${CI-} ]]; then
    shellcheck .ci/run fuzz/*.sh tests/*.sh examples/*.sh benches/*.sh deploy/release/*.sh
  else
    echo 'SKIPPED: shellcheck is not installed'
  fi
  ! tool actionlint || actionlint '.github/workflows/*.yml'
  ! tool zizmor || zizmor --offline --persona=pedantic --quiet .github
}

# Licences, banned crates and sources of what the lock files name.
supply() {
  tool cargo-deny || return 0
  cargo deny --locked check --allow license-exception-not-encountered licenses bans sources
  # It has less in it: what does not occur there is no fault.
  cargo deny --manifest-path fuzz/Cargo.toml --config deny.toml --locked check \
    --allow license-not-encountered licenses bans sources
}

# The documentation: the book builds, each of its pages is in SUMMARY.md, and no link is broken, in
# the book or in the other Markdown files. Links to other hosts are not fetched.
docs() {
  local book=target/book page unlisted=0
  local check=(lychee --offline --include-fragments=anchor-only --no-progress)
  tool mdbook || return 0
  tool lychee || return 0
  while read -r page; do
    if ! grep -qF "($page)" docs/src/SUMMARY.md; then
      echo "docs/src/$page is not in SUMMARY.md"
      unlisted=1
    fi
  done < <(find docs/src -name '*.md' ! -name SUMMARY.md -printf '%P\n' | sort)
  ((unlisted == 0))
  rm -rf "$book"
  mdbook build docs
  # mdbook takes every link to a .md for a page. Those that leave the book are files beside it.
  find "$book" -name '*.html' -exec sed -i -E 's#(href="\.\./\.\./[^"]*)\.html#\1.md#g' {} +
  "${check[@]}" '*.md' 'docs/src/**/*.md' 'helm/**/*.md' 'deploy/**/*.md' 'fuzz/*.md' 'benches/*.md' \
    'examples/**/*.md' 'tests/*.md'
  "${check[@]}" "$book"
}

# Whether a tool is there, with those that tests/tools.sh installs. Where CI is set one must be.
tool() {
  PATH=$PATH:${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}/bin
  command -v "$1" >/dev/null && return
  if [[ -n ${CI-} ]]; then
    echo "$1 is missing"
    exit 1
  fi
  echo "SKIPPED: $1 is not installed"
  return 1
}

build() {
  cargo build --release --locked
}

unit() {
  tests_pass '' --lib
  cargo test --release --locked --doc
}

# integration MODULE...: the tests of these modules of tests/integration, each module in a process
# of its own. Tests that measure time share the machine with those of their own module alone.
integration() {
  local module failed=0
  for module in "$@"; do
    tests_pass "$module::" --test integration || failed=1
  done
  return "$failed"
}

# tests_pass FILTER TARGET...: runs these tests. The machines are shared, and tests run beside each
# other: up to three that fail are run once more, alone. The table at the end names each test that
# failed, also one that passed then.
tests_pass() {
  local filter=$1 output name status=0 failures=()
  shift
  output=$(mktemp)
  cargo test --release --locked --no-fail-fast "$@" -- ${filter:+"$filter"} 2>&1 |
    tee "$output" || status=$?
  mapfile -t failures < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$output" | sort -u)
  rm "$output"
  if ((status == 0 || ${#failures[@]} == 0)); then
    return "$status"
  elif ((${#failures[@]} > 3)); then
    printf '  %s failed\n' "${failures[@]}" >>"$remarks"
    return "$status"
  fi
  status=0
  for name in "${failures[@]}"; do
    printf '\nonce more, alone: %s\n' "$name"
    if cargo test --release --locked "$@" -- --exact "$name"; then
      echo "  $name failed, and passed alone" >>"$remarks"
    else
      echo "  $name failed twice" >>"$remarks"
      status=1
    fi
  done
  return "$status"
}

mounts() {
  integration parts mounts serving clients
}

# Mounts on the filesystems that operators have. The machine's own may have no journal, as in CI.
filesystems() {
  local kind failed=0
  if ((EUID != 0)) || ! command -v mkfs.xfs mkfs.ext4 >/dev/null; then
    echo 'SKIPPED: making filesystems needs root, xfsprogs and e2fsprogs'
    [[ -z ${CI-} ]]
    return
  fi
  # Not local: the trap runs after this function.
  home=$(mktemp -d)
  trap 'for kind in ext4 xfs; do umount -q "$home/$kind" || true; done; rm -rf "$home"' EXIT
  for kind in ext4 xfs; do
    truncate -s 2G "$home/$kind.img"
    "mkfs.$kind" -q "$home/$kind.img"
    mkdir "$home/$kind"
    mount -o loop "$home/$kind.img" "$home/$kind"
    TMPDIR=$home/$kind tests_pass mounts:: --test integration || failed=1
  done
  return "$failed"
}

access() {
  integration access
}

pod() {
  integration chart pod
}

pulp() {
  integration native_mount
}

discovery() {
  integration discovery
}

object_store() {
  integration object_store
}

fresh_runners() {
  integration fresh_runners
}

# The same with the clients of Debian's unstable release as they are today.
fresh_runners_of_sid() {
  ./tests/client-roots.sh sid --anew
  CROSSMOUNT_CLIENTS=sid integration fresh_runners
}

examples() {
  local file binary=${CARGO_TARGET_DIR:-target}/release/crossmount
  for file in examples/*.yaml deploy/debian/*.yaml; do
    # Another program's file, which a test of the chart looks into.
    [[ $file != *-values.yaml ]] || continue
    echo "$file"
    "$binary" check --offline --config "$file"
  done
  # Without the variable it would compile crossmount once more.
  CROSSMOUNT_BIN=$binary ./examples/quickstart.sh
}

# What a release hands out, made of the binary of the part "build".
package() {
  local binary=${CARGO_TARGET_DIR:-target}/release/crossmount dist=target/shipped/dist name
  for name in cargo-deb cargo-cyclonedx lintian dpkg-shlibdeps buildah skopeo docker-registry helm3 \
    helm4 jq; do
    tool "$name" || return 0
  done
  rm -rf "$dist"
  ./tests/release.sh "$binary" "$dist"
  if ((EUID != 0)); then
    echo 'SKIPPED: a Debian to install the package in needs root'
  else
    ./tests/package.sh "$binary" "$dist"/*.deb
  fi
}

# What a release hands out, compiled as there, in two places: the bytes are the same.
release_twice() {
  local place
  # Not local: the trap runs after this function.
  home=$(mktemp -d)
  trap 'rm -rf "$home"' EXIT
  for place in here/one there/other; do
    git -c "safe.directory=$PWD" clone --quiet . "$home/$place"
    env -u CROSSMOUNT_BIN -u CARGO_TARGET_DIR "$home/$place/deploy/release/build.sh" "$home/$place.dist"
    rm -rf "${home:?}/$place"
  done
  diff --recursive "$home/here/one.dist" "$home/there/other.dist"
}

faults() {
  integration faults
}

# The same, hundreds of times and for longer; writes tests/FAULTS.md.
faults_at_length() {
  local figures
  figures=$(mktemp)
  CROSSMOUNT_FULL=1 CROSSMOUNT_FIGURES=$figures integration faults || untabulated "$figures"
  tabulate "$figures"
}

# An hour of fuzzing, in equal shares for the targets.
fuzz() {
  local figures
  tool cargo-fuzz || return 0
  figures=$(mktemp)
  CROSSMOUNT_FIGURES=$figures ./fuzz/run.sh "${CROSSMOUNT_FUZZ_SECONDS:-3600}" ||
    untabulated "$figures"
  tabulate "$figures"
}

# untabulated FIGURES: the table tells of whole runs that passed.
untabulated() {
  echo "tests/FAULTS.md is as it was; what passed has its rows in $1"
  return 1
}

# tabulate FIGURES: puts rows into the table, in the place of those of the same parts.
tabulate() {
  if [[ -s $1 ]]; then
    {
      sed '/^|---/q' tests/FAULTS.md
      awk -F'|' 'NR == FNR { anew[$2]; print; next }
        is_body && !($2 in anew)
        /^[|]---/ { is_body = 1 }' "$1" tests/FAULTS.md | sort
    } >"$1.md"
    mv "$1.md" tests/FAULTS.md
  fi
  rm "$1"
}

# Sixty images through a slow link; about seven minutes.
fleet() {
  ./examples/fleet/fleet.py --pulp
}

chosen=()
for argument in "$@"; do
  case " ${all_parts[*]} ${long_parts[*]} --full " in
    *" $argument "*) ;;
    *)
      echo "run.sh: no part is called $argument; there are: ${all_parts[*]} ${long_parts[*]}" >&2
      exit 64
      ;;
  esac
  if [[ $argument = --full ]]; then
    chosen=("${all_parts[@]}" "${long_parts[@]}")
  else
    chosen+=("$argument")
  fi
done
((${#chosen[@]} > 0)) || chosen=("${all_parts[@]}")

failed=0
table=$(mktemp)
# What the table says of single tests.
remarks=$(mktemp)
for part in "${chosen[@]}"; do
  printf '\n=== %s\n' "$part"
  began=$SECONDS
  # Not as the condition of an if: there bash ignores a part's set -e.
  set +e
  (
    set -e
    "$part"
  )
  status=$?
  set -e
  verdict=passed
  if ((status != 0)); then
    verdict=FAILED
    failed=1
  fi
  printf '%-12s %7d  %s\n' "$part" $((SECONDS - began)) "$verdict" >>"$table"
  cat "$remarks" >>"$table"
  : >"$remarks"
done

printf '\n%-12s %7s\n' part seconds
cat "$table"
rm "$table" "$remarks"
exit "$failed"

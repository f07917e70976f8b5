#!/usr/bin/env bash
# Shows crossmount at work, from nothing: a registry on an empty directory, crossmount in front of
# it, one image pushed, and the same image copied into a second repository without its layers being
# sent again. Everything it writes is in one temporary directory, which it removes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
Usage: examples/quickstart.sh [--keep]
  --keep   leave the registry and crossmount running, and say how to stop them

  CROSSMOUNT_BIN   the crossmount to run, such as one of a release; without it, this checkout is
                   compiled, without optimisation
TEXT
}

keep=no
case "${1-}" in
  '') ;;
  --keep) keep=yes ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 64 ;;
esac

binary=${CROSSMOUNT_BIN-}
if [[ -n $binary ]]; then
  binary=$(realpath "$binary")
fi

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

# --- what is needed ------------------------------------------------------------------------------

install_missing() {
  local command package missing=()
  while read -r command package; do
    command -v "$command" >/dev/null && continue
    [[ " ${missing[*]} " = *" $package "* ]] || missing+=("$package")
  done <<'TEXT'
docker-registry docker-registry
skopeo skopeo
curl curl
TEXT
  while [[ -z $binary ]] && read -r command package; do
    command -v "$command" >/dev/null && continue
    [[ " ${missing[*]} " = *" $package "* ]] || missing+=("$package")
  done <<'TEXT'
cmake cmake
cc build-essential
make build-essential
TEXT
  if ((${#missing[@]} > 0)); then
    say "installing with apt-get: ${missing[*]}"
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
  [[ -n $binary ]] || command -v cargo >/dev/null || fail \
    'cargo is not on the PATH: install Rust first, or name a binary in CROSSMOUNT_BIN'
}

# --- processes and their directory -------------------------------------------------------------

directory=
pids=()

# shellcheck disable=SC2317,SC2329 # called by the trap
cleanup() {
  local status=$?
  trap - EXIT
  if [[ $keep = yes && $status -eq 0 ]]; then
    return
  fi
  if ((status != 0)) && [[ -n $directory ]]; then
    find "$directory" -maxdepth 1 -name '*.log' -exec tail -v -n 20 {} + >&2
  fi
  if ((${#pids[@]} > 0)); then
    kill "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
  fi
  [[ -z $directory ]] || rm -rf "$directory"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND…: runs it in the background, its output in NAME.log, away from this terminal.
start() {
  local name=$1
  shift
  : >"$directory/$name.log"
  setsid "$@" >>"$directory/$name.log" 2>&1 </dev/null &
  pids+=("$!")
}

# address NAME PATTERN: the address that sed's PATTERN finds in NAME.log, as soon as it is there.
address() {
  local found
  for _ in {1..100}; do
    found=$(sed -nE "$2" "$directory/$1.log" | head -n 1)
    if [[ -n $found ]]; then
      printf '%s' "$found"
      return
    fi
    sleep 0.1
  done
  fail "$1 did not say within ten seconds where it listens"
}

# --- an image of three layers, as an OCI layout --------------------------------------------------

layout_blob() { # FILE: moves it among the layout's blobs, prints its digest
  local hex
  hex=$(sha256sum "$1")
  hex=${hex%% *}
  mv "$1" "$directory/image/blobs/sha256/$hex"
  printf 'sha256:%s' "$hex"
}

blob_size() { stat -c %s "$directory/image/blobs/sha256/${1#sha256:}"; }

make_image() {
  local oci=application/vnd.oci.image n diff digest diffs='' layers='' config manifest
  mkdir -p "$directory/image/blobs/sha256"
  cd "$directory"
  for n in 1 2 3; do
    head -c 2097152 /dev/urandom >"layer$n.bin"
    tar -cf layer.tar --owner=0 --group=0 --numeric-owner "layer$n.bin"
    diff=$(sha256sum layer.tar)
    diffs+=,\"sha256:${diff%% *}\"
    gzip -nf layer.tar
    digest=$(layout_blob layer.tar.gz)
    layers+=$(printf ',{"mediaType":"%s.layer.v1.tar+gzip","size":%d,"digest":"%s"}' \
      "$oci" "$(blob_size "$digest")" "$digest")
    layer_digests+=("$digest")
    rm "layer$n.bin"
  done
  printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "${diffs#,}" >config.json
  config=$(layout_blob config.json)
  printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json","size":%d,"digest":"%s"},"layers":[%s]}' \
    "$oci" "$oci" "$(blob_size "$config")" "$config" "${layers#,}" >manifest.json
  manifest=$(layout_blob manifest.json)
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s.manifest.v1+json","size":%d,"digest":"%s","annotations":{"org.opencontainers.image.ref.name":"v1"}}]}' \
    "$oci" "$(blob_size "$manifest")" "$manifest" >image/index.json
  printf '{"imageLayoutVersion":"1.0.0"}' >image/oci-layout
  cd "$OLDPWD"
}

# --- the registry, and crossmount in front of it -------------------------------------------------

start_registry() {
  mkdir "$directory/store"
  cat >"$directory/registry.yml" <<TEXT
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $directory/store}}
http: {addr: 127.0.0.1:0}
TEXT
  # AWS_CA_BUNDLE makes Debian's registry panic, whatever storage it uses.
  start registry env -u AWS_CA_BUNDLE docker-registry serve "$directory/registry.yml"
  registry=$(address registry 's/.*listening on (127\.0\.0\.1:[0-9]+).*/\1/p')
}

start_crossmount() {
  cat >"$directory/crossmount.yaml" <<TEXT
admin: {address: "127.0.0.1:0"}
upstream: {url: "http://$registry"}
store: {filesystem: {rootdirectory: $directory/store}}
access: {mode: none}
shutdown: {drain_delay: 0s}
TEXT
  start crossmount "$binary" serve \
    --config "$directory/crossmount.yaml" --listen 127.0.0.1:0
  front=$(address crossmount '/"listening"/{/"listener":"registry"/s/.*"address":"([^"]+)".*/\1/p}')
  admin=$(address crossmount '/"listening"/{/"listener":"admin"/s/.*"address":"([^"]+)".*/\1/p}')
}

# skopeo remembers in which repository it saw which blob, and offers that repository for the mount.
# The two variables keep this memory in our directory (root's would be under /var/lib).
copy() {
  env _CONTAINERS_ROOTLESS_UID=1000 XDG_DATA_HOME="$directory/skopeo" \
    skopeo --insecure-policy copy --quiet "$@"
}

metric() { # LINE UP TO ITS VALUE: its value
  curl -sf --noproxy '*' "http://$admin/metrics" | awk -v name="$1" 'index($0, name " ") == 1 {print $2}'
}

# What REPOSITORY took as an upload, by the registry's own access log.
uploaded() {
  local digests digest bytes=0
  mapfile -t digests < <(sed -nE \
    "s|.*\"PUT /v2/$1/blobs/uploads/[^ ]*digest=sha256%3A([0-9a-f]{64}).* HTTP/1.1\" 201 .*|\1|p" \
    "$directory/registry.log")
  for digest in "${digests[@]}"; do
    bytes=$((bytes + $(blob_size "$digest")))
  done
  printf 'blobs %d, bytes %d' "${#digests[@]}" "$bytes"
}

# -------------------------------------------------------------------------------------------------

install_missing

if [[ -z $binary ]]; then
  say 'compiling crossmount'
  cargo build --profile quick --locked
  binary=${CARGO_TARGET_DIR:-target}/quick/crossmount
fi

directory=$(mktemp -d "${TMPDIR:-/tmp}/crossmount-quickstart.XXXXXX")
layer_digests=()
make_image
start_registry
start_crossmount
say "the registry listens on $registry, crossmount in front of it on $front"

say 'pushing the image into demo/one'
copy --dest-tls-verify=false "oci:$directory/image:v1" "docker://$front/demo/one:v1"
echo "uploaded to the registry: $(uploaded demo/one)"

say 'copying demo/one into demo/two'
copy --src-tls-verify=false --dest-tls-verify=false \
  "docker://$front/demo/one:v1" "docker://$front/demo/two:v1"
mounted=$(metric 'crossmount_mounts_total{outcome="mounted",reason="none"}')
echo "uploaded to the registry: $(uploaded demo/two) (the image's configuration)"
echo "mounted by crossmount:    blobs ${mounted:-0}, bytes $(metric 'crossmount_mounted_bytes_total{via="from"}')"
[[ $mounted = 3 ]] || fail "expected three mounts by crossmount, its metrics say ${mounted:-none}"

say 'pulling demo/two back; skopeo checks every digest'
copy --src-tls-verify=false "docker://$front/demo/two:v1" "oci:$directory/pulled:v1"
echo 'it is whole'

say 'one layer, linked in both repositories and stored once'
hex=${layer_digests[0]#sha256:}
(
  cd "$directory/store/docker/registry/v2"
  ls repositories/demo/{one,two}/_layers/sha256/"$hex"/link
  stat -c '%n: inode %i, link count %h, %s bytes' "blobs/sha256/${hex:0:2}/$hex/data"
)

if [[ $keep = yes ]]; then
  cat <<TEXT

== left running
registry through crossmount  $front
page, and /metrics           http://$admin/
directory                    $directory
to stop both and clean up:   kill ${pids[*]}; rm -r $directory
TEXT
fi

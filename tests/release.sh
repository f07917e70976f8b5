#!/usr/bin/env bash
# The steps of .github/workflows/release.yml, on a binary that is there, as far as they go without
# GitHub: files, image, chart and checksums are made, and pushed to a registry on this machine.
#
#   tests/release.sh BINARY DIRECTORY
#
# Needs cargo-deb, cargo-cyclonedx, buildah, skopeo, helm3, helm4, docker-registry and what the
# quickstart needs.
set -euo pipefail
binary=$(realpath "$1")
mkdir -p "$2"
directory=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export HELM=helm4 REPOSITORY=Tests/Crossmount SOURCE=https://example.com/tests/crossmount
export MAINTAINER='crossmount tests <tests@crossmount.dev>'

work=$(mktemp -d)
registry=
# shellcheck disable=SC2317,SC2329 # called by the trap
cleanup() {
  [[ -z $registry ]] || kill "$registry"
  rm -rf "$work"
}
trap cleanup EXIT
say() { printf -- '-- %s\n' "$*"; }
fail() {
  printf 'release.sh: %s\n' "$*" >&2
  exit 1
}

if ((EUID == 0)) && [[ -n ${CI-} ]]; then
  say 'prepare.sh: what the build needs'
  deploy/release/prepare.sh
fi

say 'build.sh: archive, package, list of crates; the binary takes the quickstart'
CROSSMOUNT_BIN=$binary DEB_OPTIONS=--fast deploy/release/build.sh "$directory"
name=$(basename "$directory"/*_linux_*.tar.gz .tar.gz)
tar -xzf "$directory/$name.tar.gz" -C "$work"
for file in crossmount man/crossmount.1 completions/crossmount crossmount.service LICENSE; do
  [[ -s $work/$name/$file ]] || fail "$file is not in the archive"
done
"$work/$name/crossmount" --version
# GitHub's action that signs it refuses a list without version and serial number.
jq -e '.bomFormat == "CycloneDX" and .specVersion == "1.5"
  and (.serialNumber | test("^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$"))
  and any(.components[]; .name == "pingora")
  and all(.components[]; .name != "proptest")' "$directory/crossmount.cdx.json" >/dev/null ||
  fail 'the list of crates is not that of the binary'

say 'image.sh: two processors, labels, the same bytes again'
# This machine has no compiler for the other processor: the same file with its number.
cp "$directory/static/crossmount-amd64" "$directory/static/crossmount-arm64"
printf '\267' | dd of="$directory/static/crossmount-arm64" bs=1 seek=18 conv=notrunc status=none
deploy/release/image.sh "$directory"
cp "$directory/static/image/index.json" "$work/first.json"
touch "$directory"/static/crossmount-*
deploy/release/image.sh "$directory"
cmp "$work/first.json" "$directory/static/image/index.json" || fail 'another build gave other bytes'
version=$("$binary" --version | cut -d' ' -f2)
for architecture in amd64 arm64; do
  skopeo inspect --config --override-arch "$architecture" "oci:$directory/static/image:$version" |
    jq -e --arg version "$version" --arg architecture "$architecture" \
      --arg revision "$(git -c "safe.directory=$PWD" rev-parse HEAD)" --arg source "$SOURCE" '
        .architecture == $architecture and (.config.Labels == {
          "org.opencontainers.image.title": "crossmount",
          "org.opencontainers.image.description": .config.Labels["org.opencontainers.image.description"],
          "org.opencontainers.image.version": $version,
          "org.opencontainers.image.revision": $revision,
          "org.opencontainers.image.source": $source,
          "org.opencontainers.image.licenses": "Apache-2.0"})' >/dev/null ||
    fail "the labels of the image for $architecture are wrong"
done

say 'push.sh, chart.sh, checksums.sh: to a registry on this machine'
cat >"$work/registry.yml" <<TEXT
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $work/store}}
http: {addr: 127.0.0.1:0}
TEXT
env -u AWS_CA_BUNDLE docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
for _ in {1..100}; do
  REGISTRY=$(sed -nE 's/.*listening on (127\.0\.0\.1:[0-9]+).*/\1/p' "$work/registry.log")
  [[ -z $REGISTRY ]] || break
  sleep 0.1
done
export REGISTRY REGISTRY_PLAIN=1 GITHUB_OUTPUT=$work/output DOCKER_CONFIG=$work/docker
deploy/release/chart.sh "$directory"
cp "$directory/crossmount-$version.tgz" "$work/first.tgz"
deploy/release/chart.sh "$directory"
cmp "$work/first.tgz" "$directory/crossmount-$version.tgz" || fail 'another chart has other bytes'
HELM=helm3 deploy/release/chart.sh "$directory"
cmp "$work/first.tgz" "$directory/crossmount-$version.tgz" || fail 'helm 3 makes another chart'
"$HELM" show chart "$directory/crossmount-$version.tgz" | grep -qx "home: $SOURCE"
"$HELM" show values "$directory/crossmount-$version.tgz" |
  grep -q "repository: $REGISTRY/tests/crossmount$" || fail 'the chart names another image'
deploy/release/checksums.sh "$directory"
(cd "$directory" && sha256sum --check --quiet SHA256SUMS)
deploy/release/push.sh "$directory"
output() { sed -n "s/^$1=//p" "$GITHUB_OUTPUT" | tail -n 1; }
digest=$(output digest) chart_digest=$(output chart-digest)
# Without proxies: it is on this machine.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/tests/crossmount@$digest" |
  jq -e '[.manifests[].platform.architecture] == ["amd64", "arm64"]' >/dev/null ||
  fail 'the pushed image is not for both processors'

say 'a version is published once: the same bytes again change nothing, and other bytes are refused'
# published NAME: the digest under which a registry has this version of it.
published() {
  echo "sha256:$(skopeo inspect --raw --tls-verify=false "docker://$1:$version" | sha256sum |
    cut -d' ' -f1)"
}
nothing_changed() {
  [[ $(published "$REGISTRY/tests/crossmount") = "$digest" ]] || fail 'the published image has changed'
  [[ $(published "$(output chart)") = "$chart_digest" ]] || fail 'the published chart has changed'
}
# helm writes the time into what it pushes.
sleep 1
deploy/release/push.sh "$directory" >/dev/null
nothing_changed
other=$work/other
mkdir "$other"
cp -r "$directory/static" "$directory/crossmount-$version.tgz" "$other"
# buildah wants that folder to hold a login, which nothing here has made.
SOURCE=https://example.com/another env -u DOCKER_CONFIG deploy/release/image.sh "$other"
refuses() {
  if deploy/release/push.sh "$2" 2>"$work/refused"; then
    fail "another $1 took the place of a published one"
  fi
  grep -q "$1.* is published already, with other bytes" "$work/refused"
  nothing_changed
}
refuses tests/crossmount "$other"
rm -r "$other/static"
cp -r "$directory/static" "$other"
SOURCE=https://example.com/another deploy/release/chart.sh "$other"
refuses charts/crossmount "$other"
say 'a registry that cannot say what it holds gets nothing'
if REGISTRY=127.0.0.1:1 deploy/release/push.sh "$directory" 2>"$work/refused"; then
  fail 'it pushed without an answer'
fi
grep -q 'connection refused' "$work/refused"

"$HELM" pull --plain-http "oci://$REGISTRY/tests/crossmount/charts/crossmount" \
  --version "$version" --destination "$work"
cmp "$work/crossmount-$version.tgz" "$directory/crossmount-$version.tgz"

say 'notes.sh and announce.sh: of a tag, after the steps that README.md there names'
tagged=$work/tagged
mkdir -p "$tagged/deploy" "$work/bin"
cp -r deploy/release "$tagged/deploy"
cp Cargo.toml "$tagged"
sed "0,/^## .*/s//## $version/" CHANGELOG.md >"$tagged/CHANGELOG.md"
export SOURCE_DATE_EPOCH=0
# GitHub's program needs GitHub.
cat >"$work/bin/gh" <<TEXT
#!/bin/sh
printf '%s\n' "\$@" >'$work/gh.arguments'
cat >'$work/gh.notes'
TEXT
chmod 755 "$work/bin/gh"
TAG=v$version PATH=$work/bin:$PATH "$tagged/deploy/release/announce.sh" "$directory"
grep -qF "]($SOURCE/blob/v$version/docs/" "$work/gh.notes" || fail 'the notes lead nowhere'
said=$(head -n 7 "$work/gh.arguments" | xargs)
[[ $said = "release create v$version --repo tests/crossmount --verify-tag --title" ]] ||
  fail "gh was asked: $said"
for file in "$directory"/*.*; do
  grep -qx "$file" "$work/gh.arguments" || fail "$(basename "$file") is not among the release's files"
done
grep -qx "$directory/SHA256SUMS" "$work/gh.arguments"
for tag in v0.0.0 "$version"; do
  if TAG=$tag "$tagged/deploy/release/notes.sh" 2>/dev/null; then
    fail 'a tag of another version is taken'
  fi
done

say 'the crate'
cargo package --locked --no-verify --allow-dirty --quiet --target-dir "$work/crate"
cargo package --locked --allow-dirty --quiet --list >"$work/packed"
if grep -vE '^(src/.*|Cargo\.(toml|toml\.orig|lock)|\.cargo_vcs_info\.json|README\.md|LICENSE|CHANGELOG\.md)$' \
  "$work/packed"; then
  fail 'the crate holds files that it does not need'
fi

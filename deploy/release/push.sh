#!/usr/bin/env bash
# Pushes image and chart to a registry. Prints the names and digests of both, and gives them to the
# next steps of a workflow. A version that is published with other bytes is left as it is.
#
#   deploy/release/push.sh DIRECTORY
#
#   REGISTRY, REPOSITORY               the image becomes REGISTRY/REPOSITORY:VERSION, the chart
#                                      REGISTRY/REPOSITORY/charts/crossmount:VERSION
#   REGISTRY_USER, REGISTRY_PASSWORD   without them nothing logs in
#   REGISTRY_PLAIN                     set: the registry speaks HTTP
#   HELM                               helm's name, if it is another
#
# Needs skopeo and helm.
set -euo pipefail
directory=$(realpath "$1")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

helm=${HELM:-helm}
image=$REGISTRY/${REPOSITORY,,}
chart=$image/charts/crossmount
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What attests the image looks for the login where docker keeps it.
logins=${DOCKER_CONFIG:-$HOME/.docker}/config.json
copy=(--all --digestfile "$work/digest")
login=(--registry-config "$logins")
look=()
if [[ -n ${REGISTRY_PLAIN-} ]]; then
  copy+=(--dest-tls-verify=false)
  look+=(--tls-verify=false)
  login+=(--plain-http)
fi
if [[ -n ${REGISTRY_PASSWORD-} ]]; then
  mkdir -p "${logins%/*}"
  skopeo login --authfile "$logins" --username "$REGISTRY_USER" --password-stdin "$REGISTRY" \
    <<<"$REGISTRY_PASSWORD"
  copy+=(--authfile "$logins")
  look+=(--authfile "$logins")
fi

# manifest NAME: what is published under the name and this version; nothing if that is nothing. A
# registry that cannot say so ends the script. Some say "denied" for what does not exist: whoever may
# not look may not push either.
manifest() {
  skopeo inspect --raw "${look[@]}" "docker://$1:$(version)" 2>"$work/refusal" ||
    grep -qiE 'manifest unknown|name unknown|not found|denied' "$work/refusal" || {
    cat "$work/refusal" >&2
    return 1
  }
}
taken() {
  echo "$1:$(version) is published already, with other bytes" >&2
  exit 1
}
digest_of() { echo "sha256:$(sha256sum <"$1" | cut -d' ' -f1)"; }

# Both are looked for before one is pushed.
archive=$directory/crossmount-$(version).tgz
skopeo inspect --raw "oci:$directory/static/image:$(version)" >"$work/ours"
manifest "$image" >"$work/image"
[[ ! -s $work/image ]] || cmp -s "$work/image" "$work/ours" || taken "$image"
manifest "$chart" >"$work/chart"
[[ ! -s $work/chart ]] || grep -qF "$(digest_of "$archive")" "$work/chart" || taken "$chart"

skopeo copy "${copy[@]}" "oci:$directory/static/image:$(version)" "docker://$image:$(version)"
# helm's manifest of the chart holds the time: another push of the same chart would replace it.
if [[ ! -s $work/chart ]]; then
  "$helm" push "$archive" "oci://$image/charts" "${login[@]}"
  manifest "$chart" >"$work/chart"
  [[ -s $work/chart ]] || { cat "$work/refusal" >&2 && exit 1; }
fi
printf '%s@%s\n' "$image" "$(<"$work/digest")" "$chart" "$(digest_of "$work/chart")"
if [[ -n ${GITHUB_OUTPUT-} ]]; then
  printf '%s=%s\n' image "$image" digest "$(<"$work/digest")" chart "$chart" \
    chart-digest "$(digest_of "$work/chart")" >>"$GITHUB_OUTPUT"
fi

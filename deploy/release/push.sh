#!/usr/bin/env bash
# Pushes image and chart to a registry. Prints the image's name and digest, and gives them to the
# next steps of a workflow.
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
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What attests the image looks for the login where docker keeps it.
logins=${DOCKER_CONFIG:-$HOME/.docker}/config.json
copy=(--all --digestfile "$work/digest")
chart=(--registry-config "$logins")
look=()
if [[ -n ${REGISTRY_PLAIN-} ]]; then
  copy+=(--dest-tls-verify=false)
  look+=(--tls-verify=false)
  chart+=(--plain-http)
fi
if [[ -n ${REGISTRY_PASSWORD-} ]]; then
  mkdir -p "${logins%/*}"
  skopeo login --authfile "$logins" --username "$REGISTRY_USER" --password-stdin "$REGISTRY" \
    <<<"$REGISTRY_PASSWORD"
  copy+=(--authfile "$logins")
  look+=(--authfile "$logins")
fi

# What is published stays as it is.
ours=$(skopeo inspect --raw "oci:$directory/static/image:$(version)" | sha256sum)
if theirs=$(skopeo inspect --raw "${look[@]}" "docker://$image:$(version)" 2>"$work/refusal" |
  sha256sum) && [[ $theirs != "$ours" ]]; then
  echo "$image:$(version) is published already, with other bytes" >&2
  exit 1
fi

skopeo copy "${copy[@]}" "oci:$directory/static/image:$(version)" "docker://$image:$(version)"
"$helm" push "$directory/crossmount-$(version).tgz" "oci://$image/charts" "${chart[@]}"
echo "$image@$(<"$work/digest")"
if [[ -n ${GITHUB_OUTPUT-} ]]; then
  printf 'image=%s\ndigest=%s\n' "$image" "$(<"$work/digest")" >>"$GITHUB_OUTPUT"
fi

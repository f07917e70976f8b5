#!/usr/bin/env bash
# Packs the chart with the image of this release: DIRECTORY/crossmount-VERSION.tgz.
#
#   deploy/release/chart.sh DIRECTORY
#
#   REGISTRY, REPOSITORY   where the image is; without them it is the image that the chart names
#   HELM                   helm's name, if it is another
set -euo pipefail
directory=$(realpath "$1")
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

place=target/shipped/chart
rm -rf "$place"
mkdir -p "$place"
cp -r helm/crossmount "$place"
if [[ -n ${REPOSITORY-} ]]; then
  # Of the images in this file, crossmount's is the first.
  sed -i "0,/^    repository: .*/s##    repository: $REGISTRY/${REPOSITORY,,}#" \
    "$place/crossmount/values.yaml"
fi
sed -i "0,/^    tag: .*/s##    tag: \"$(version)\"#" "$place/crossmount/values.yaml"
"${HELM:-helm}" package "$place/crossmount" --version "$(version)" --app-version "$(version)" \
  --destination "$directory"

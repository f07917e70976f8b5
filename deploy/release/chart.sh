#!/usr/bin/env bash
# Packs the chart with the image of this release: DIRECTORY/crossmount-VERSION.tgz.
# helm checks the chart and writes the numbers into it. The archive is made anew, because helm's has
# other bytes each time.
#
#   deploy/release/chart.sh DIRECTORY
#
#   REGISTRY, REPOSITORY   where the image is; without them it is the image that the chart names
#   SOURCE                 where the sources are: the chart says so
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
if [[ -n ${SOURCE-} ]]; then
  printf 'home: %s\nsources:\n  - %s\n' "$SOURCE" "$SOURCE" >>"$place/crossmount/Chart.yaml"
fi
"${HELM:-helm}" package "$place/crossmount" --version "$(version)" --app-version "$(version)" \
  --destination "$place"
name=crossmount-$(version).tgz
rm -r "$place/crossmount"
tar -xzf "$place/$name" --directory "$place"
tar --create --directory "$place" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
  --numeric-owner --mode=go=rX,u+w crossmount | gzip --no-name --best >"$directory/$name"

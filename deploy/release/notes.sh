#!/usr/bin/env bash
# Prints what CHANGELOG.md says about a version: Cargo.toml's, or the one that is named. Fails if that
# is nothing.
#
#   deploy/release/notes.sh [VERSION]
#
#   TAG      the release's tag, which must be Cargo.toml's version with a v before it
#   SOURCE   where the sources are: links to files lead there
set -euo pipefail
# shellcheck source=deploy/release/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [[ -n ${TAG-} && $TAG != "v$(version)" ]]; then
  echo "the tag is $TAG, and Cargo.toml has the version $(version)" >&2
  exit 1
fi
notes=$(awk -v heading="## ${1:-$(version)}" '
  /^## / { is_wanted = index($0 " ", heading " ") == 1; next }
  is_wanted' CHANGELOG.md)
if [[ -z $notes ]]; then
  echo "CHANGELOG.md has no section ## ${1:-$(version)}" >&2
  exit 1
fi
# The release's page is not beside the files to which the text links.
links='s#^##'
if [[ -n ${SOURCE-} ]]; then
  links="s#](\(docs/\|helm/\|deploy/\|[A-Z]*\.md\)#]($SOURCE/blob/${TAG:-HEAD}/\1#g"
fi
sed "$links" <<<"$notes"

#!/usr/bin/env bash
# Measures crossmount side by side with the registry and with nginx and haproxy on this machine, in
# one run, and the parts of a mount alone, and writes benches/RESULTS.md. Takes about twenty
# minutes; the machine should do nothing else.
#
#   ./benches/compare.sh                       everything
#   ./benches/compare.sh --rounds 5            more rounds than three
#   ./benches/compare.sh --only mounts base    only these; nothing is written
#
# Stores are made below TMPDIR, or /var/tmp: a real disk, because links are synced to it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
for tool in cargo curl docker-registry haproxy htpasswd nginx openssl python3 wrk; do
  PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]} > 0)); then
  echo "compare.sh: missing: ${missing[*]} (Debian: apache2-utils curl docker-registry haproxy nginx-light openssl wrk)" >&2
  exit 69
fi
# As the image has it: deploy/Dockerfile.
host=$(rustc --print host-tuple)
RUSTFLAGS='-C target-feature=+crt-static' \
  cargo build --profile dist --locked --target "$host"
bench() { # NAME: builds it and prints where it is
  cargo bench --locked --bench "$1" --no-run --message-format json | python3 -c '
import json, sys
for built in map(json.loads, sys.stdin):
    if built.get("executable") and built["target"]["name"] == sys.argv[1]:
        print(built["executable"])' "$1"
}
floor=$(bench floor)

# Filesystems as operators have them, in files. The kernel mounts them for root alone.
images=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
mounted=()
end() {
  local place
  for place in "${mounted[@]}"; do
    umount "$place"
  done
  rm -rf "$images"
}
trap end EXIT
image() { # KIND OPTION...: makes a filesystem of 8 GB and mounts it
  truncate -s 8G "$images/$1.img"
  "mkfs.$1" -q "${@:2}" "$images/$1.img"
  mkdir "$images/$1"
  mount -o loop "$images/$1.img" "$images/$1"
  mounted+=("$images/$1")
}
if ((EUID == 0)) && command -v mkfs.xfs >/dev/null; then
  image ext4 -i 8192 -E lazy_itable_init=0,lazy_journal_init=0
  image xfs
else
  echo 'compare.sh: no measures on ext4 with a journal and XFS: that needs root and xfsprogs' >&2
fi
parts=()
if [[ " $* " != *' --only '* ]]; then
  cargo bench --locked --features micro --bench micro
  parts=(--micro "${CARGO_TARGET_DIR:-target}/criterion")
fi
export PATH=$PATH:/usr/sbin
python3 benches/compare.py --floor "$floor" --images "${mounted[@]}" \
  --binary "${CARGO_TARGET_DIR:-target}/$host/dist/crossmount" "${parts[@]}" "$@"

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
parts=()
if [[ " $* " != *' --only '* ]]; then
  cargo bench --locked --features micro --bench micro
  parts=(--micro "${CARGO_TARGET_DIR:-target}/criterion")
fi
export PATH=$PATH:/usr/sbin
exec python3 benches/compare.py --floor "$floor" \
  --binary "${CARGO_TARGET_DIR:-target}/$host/dist/crossmount" "${parts[@]}" "$@"

#!/usr/bin/env bash
# Measures crossmount side by side with the registry on this machine, in one run, and writes
# benches/RESULTS.md. Takes about six minutes; the machine should do nothing else.
#
#   ./benches/compare.sh              everything
#   ./benches/compare.sh --rounds 5   more rounds than three
#
# Stores are made below TMPDIR, or /var/tmp: a real disk, because links are synced to it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
for tool in cargo docker-registry htpasswd openssl python3 wrk; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]} > 0)); then
  echo "compare.sh: missing: ${missing[*]} (Debian: docker-registry apache2-utils openssl wrk)" >&2
  exit 69
fi
cargo build --release --locked
exec python3 benches/compare.py --binary "${CARGO_TARGET_DIR:-target}/release/crossmount" "$@"

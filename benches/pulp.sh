#!/usr/bin/env bash
# Measures pushes to a real Pulp, directly and through crossmount by turns, and writes
# benches/PULP.md. Takes about a minute and a half; the machine should do nothing else.
#
#   ./benches/pulp.sh              everything
#   ./benches/pulp.sh --rounds 9   more rounds than five
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./tests/pulp.sh install
cargo build --release --locked
exec python3 benches/pulp.py --binary "${CARGO_TARGET_DIR:-target}/release/crossmount" "$@"

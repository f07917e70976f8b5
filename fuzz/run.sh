#!/usr/bin/env bash
# Fuzzes for a time, in equal shares for the targets, and says what came of it.
#
#   ./fuzz/run.sh [--keep] SECONDS [TARGET…]
#
#   --keep               minimise the corpus anew, with what was found
#   CROSSMOUNT_FIGURES   a file that gets a row for each target, for tests/FAULTS.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Kept inputs are small; longer ones find little that they do not.
longest=4096
# Seconds for one input.
patience=10

keep=
if [[ ${1-} = --keep ]]; then
  keep=yes
  shift
fi
seconds=${1:?SECONDS}
shift
targets=("$@")
((${#targets[@]} > 0)) || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
share=$((seconds / ${#targets[@]}))
((share > 0)) || share=1

note() { # TARGET EXECUTIONS HAPPENED
  local row="| Fuzzing | target \`$1\`, from what was kept | $2 | $3 |"
  echo "$row"
  [[ -z ${CROSSMOUNT_FIGURES-} ]] || echo "$row" >>"$CROSSMOUNT_FIGURES"
}

target_directory=${CARGO_TARGET_DIR:-$PWD/target}
cargo fuzz build --fuzz-dir . --sanitizer none --target-dir "$target_directory"
host=$(rustc -vV | sed -n 's/^host: //p')

failed=0
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in "${targets[@]}"; do
  program=$target_directory/$host/release/$target
  mkdir -p "$found/$target" "corpus/$target" "artifacts/$target"
  status=0
  nice -n 19 "$program" -max_total_time="$share" -max_len="$longest" -timeout="$patience" \
    -print_final_stats=1 -artifact_prefix="artifacts/$target/" \
    "$found/$target" "corpus/$target" >"$found/$target.log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$found/$target.log")
  if ((status == 0)); then
    note "$target" "${executions:-0}" "$share seconds, no panic and nothing endless"
  else
    failed=1
    tail -n 40 "$found/$target.log"
    note "$target" "${executions:-0}" "FAILED: see artifacts/$target"
  fi
  if [[ -n $keep ]]; then
    mkdir "$found/$target.kept"
    "$program" -set_cover_merge=1 -use_counters=0 -max_len="$longest" \
      "$found/$target.kept" "corpus/$target" "$found/$target" >/dev/null 2>&1
    # Those with a name of their own show a fault that was mended.
    find "corpus/$target" -regextype posix-extended -type f ! -regex '.*/[0-9a-f]{40}' \
      -exec cp -t "$found/$target.kept" {} +
    rm -rf "corpus/$target"
    mv "$found/$target.kept" "corpus/$target"
  fi
done
exit "$failed"

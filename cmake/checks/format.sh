#!/usr/bin/env bash
# Every C++ file is formatted as clang-format 19 does it (--fix formats them), every bash script passes shellcheck.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
cd "$SKEP_ROOT"

mapfile -t sources < <(find include tests examples benchmarks \( -name '*.hpp' -o -name '*.cpp' \) | sort)
if [[ ${1:-} == --fix ]]; then
  clang-format-19 -i "${sources[@]}"
  exit
fi
passed=0 failed=0
judge() { # judge WHAT TO_DO COMMAND...
  if "${@:3}" >"$output" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf '%s: %s\n' "$1" "$2"
    head -n 20 "$output"
  fi
}
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for source in "${sources[@]}"; do
  judge "$source" "run cmake/checks/format.sh --fix" clang-format-19 --dry-run -Werror "$source"
done
mapfile -t scripts < <(grep -rlE '^#!.*\bbash$|^# shellcheck shell=bash' cmake tests examples benchmarks .ci | sort)
for script in "${scripts[@]}"; do
  judge "$script" "shellcheck" shellcheck -x -P SCRIPTDIR "$script"
done
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]

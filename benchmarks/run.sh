#!/usr/bin/env bash
# Builds the benchmarks at -O2 and runs them: one row a figure, with its limit measured in the same run.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../cmake/common.sh"

suites=()
for file in "$SKEP_ROOT"/benchmarks/*_bench.cpp; do
  name=$(basename "$file" _bench.cpp)
  suites+=("$name")
done

usage() {
  cat <<END
usage: benchmarks/run.sh [--quick] [SUITE ...]

Runs the suites (${suites[*]}), or those that are named. --quick measures for less time: the rows are the same, their
noise is larger. A row compares skep with the limit of the same run, never with a figure of another machine; "holds" or
"short" says whether the goal for the ratio is reached. What else runs on the machine shows in the figures.
END
}

options=() wanted=()
for argument; do
  case $argument in
    -h | --help) usage; exit ;;
    --quick) options+=(--quick) ;;
    -*) usage >&2; skep_fail "no option is called \"$argument\"" ;;
    *)
      [[ " ${suites[*]} " == *" $argument "* ]] || skep_fail "no suite is called \"$argument\"; there are: ${suites[*]}"
      wanted+=("$argument")
      ;;
  esac
done
[[ ${#wanted[@]} -gt 0 ]] || wanted=("${suites[@]}")

"$SKEP_ROOT/cmake/dependencies.sh" including build bench
export SKEP_HIVEMIND_PYTHON=${SKEP_HIVEMIND_PYTHON:-$("$SKEP_ROOT/cmake/dependencies.sh" --print test)/bin/python}
skep_build release "${wanted[@]/%/_bench}"
for suite in "${wanted[@]}"; do
  "$SKEP_BUILD_DIR/benchmarks/${suite}_bench" "${options[@]}"
done

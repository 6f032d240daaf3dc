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

Runs the suites (${suites[*]}), or those that are named.
A row compares skep with the limit of the same run; "holds" or "short" says whether the goal for the ratio is reached.
Where no run can measure a limit it is a fixed goal: 8 us a cached search and 150 k/s in suite beam, for instance. What
else runs on the machine shows in the figures.

--quick measures for less time, with more noise, and does not run Hivemind in the suites beam and dht: their rows stand
beside what it once reached, and the row's name says so ("against ..."). Suite latency takes three round trips in place
of six, suite sim no swarm of 10,000 nodes.
END
}

options=() wanted=() quick=
for argument; do
  case $argument in
    -h | --help) usage; exit ;;
    --quick) options+=(--quick) quick=1 ;;
    -*) usage >&2; skep_fail "no option is called \"$argument\"" ;;
    *)
      [[ " ${suites[*]} " == *" $argument "* ]] || skep_fail "no suite is called \"$argument\"; there are: ${suites[*]}"
      wanted+=("$argument")
      ;;
  esac
done
[[ ${#wanted[@]} -gt 0 ]] || wanted=("${suites[@]}")

"$SKEP_ROOT/cmake/dependencies.sh" including build examples bench  # one folder builds the examples, too
if [[ -z ${SKEP_HIVEMIND_PYTHON:-} ]]; then
  export SKEP_HIVEMIND_PYTHON=$SKEP_HIVEMIND/bin/python
  for suite in "${wanted[@]}"; do
    case $suite in
      codec) ;;
      beam | dht) [[ -z $quick ]] || continue ;;
      *) continue ;;
    esac
    "$SKEP_ROOT/cmake/dependencies.sh" hivemind ||
      skep_say "going on without Hivemind; cmake/dependencies.sh hivemind makes the environment for the rows with it"
    break
  done
fi
skep_configure release  # a library may have come since the last time
skep_build release "${wanted[@]/%/_bench}"
for suite in "${wanted[@]}"; do
  "$SKEP_BUILD_DIR/benchmarks/${suite}_bench" "${options[@]}"
done

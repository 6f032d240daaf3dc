#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests: all of them, those of some names or labels, or every check.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../cmake/common.sh"

usage() {
  cat <<'END'
usage: tests/run.sh [--all] [STEP ...] [LABEL | NAME ...]

Without arguments every test runs, those against Hivemind itself included. --all runs every step. A label (core, p2p,
moe, integration ...) or the name of a test or of a header (moe_server, kademlia/lookup) runs a part. The environment
with Hivemind is made, from PyPI, where everything or integration is to run; other parts do without.

steps, in the order of --all:
  tests     the tests, at -O0
  asan      under AddressSanitizer and UndefinedBehaviorSanitizer: most of what does without LibTorch, and of the rest the
            programs through which foreign bytes reach a tensor
  tsan      what has threads or runs on them, under ThreadSanitizer
  headers   every header compiles alone, with all warnings
  layers    the table of includes; LibTorch stays where it belongs; every header has its test
  format    clang-format, shellcheck
  tidy      clang-tidy on everything below LibTorch
  refusals  wrong uses are refused with the sentence they should be
  package   find_package and add_subdirectory, from outside
  release   commands, the main job and benchmarks at -O2
  gcc       with g++ 14, LibTorch 2.6 and Asio 1.30, in a Debian 13 root of their own: of each folder the tests that
            hold most of its code

examples: tests/run.sh p2p      tests/run.sh asan kademlia/lookup      tests/run.sh headers layers
END
}
all_steps=(tests asan tsan headers layers format tidy refusals package release gcc)

steps=() names=()
for argument; do
  case $argument in
    -h | --help) usage; exit ;;
    --all) steps=("${all_steps[@]}") ;;
    -*) usage >&2; skep_fail "no option is called \"$argument\"" ;;
    *) if [[ " ${all_steps[*]} " == *" $argument "* ]]; then steps+=("$argument"); else names+=("$argument"); fi ;;
  esac
done
[[ ${#steps[@]} -gt 0 ]] || steps=(tests)

# Two LibTorch units at once need 1.5 GB.
memory_gb=$(awk '/MemTotal/ { print int($2 / 1024 / 1024) }' /proc/meminfo)
jobs=${SKEP_JOBS:-$(nproc)}
if ((jobs > memory_gb)); then jobs=$((memory_gb > 0 ? memory_gb : 1)); fi
export CTEST_PARALLEL_LEVEL=$jobs

# select_tests INDEX [FILTER [BUT [STILL]]]: the tests of a build folder that the names ask for and the filter lets
# through, without those that match BUT, unless they match STILL.
select_tests() {
  awk -v filter="${2:-.}" -v but="${3:-^$}" -v still="${4:-^$}" -v names="${names[*]}" '
    BEGIN { n = split(names, wanted, " ") }
    $1 !~ filter && $1 !~ still { next }
    $1 ~ but && $1 !~ still { next }
    {
      hit = n == 0
      for (i = 1; i <= n; i++) {
        name = wanted[i]
        gsub("/", "_", name)
        sub(/_test(\.cpp)?$/, "", name)
        if (index($1, name "_") == 1) hit = 1
        for (field = 2; field < NF; field++) if ($field == wanted[i]) hit = 1
      }
      if (hit) print $1
    }' "$1"
}

# nothing_selected INDEX: why select_tests found nothing.
nothing_selected() {
  if [[ -n $(select_tests "$1") ]]; then
    echo "step $step has no test of \"${names[*]}\"; tests/run.sh ${names[*]} runs them without it"
  else
    echo "no test, header or label is called \"${names[*]}\"; the labels are" \
      "$(awk '{ for (i = 2; i < NF; i++) print $i }' "$1" | sort -u | tr '\n' ' ')"
  fi
}

# ctest without the lines that say nothing: a line per test, the output of those that failed, the summary.
terse() { grep -vE '^ *Start |^Internal ctest|^$|^Could not find executable|^Looked in|^/?[^ ]+_test$|^Unable to find'; }

# build_and_test FOLDER FILTER [BUT [STILL]]: builds the selected tests of a configured folder (all targets when nothing is
# selected by name) and runs them. What does not compile counts as failed, and the rest is run all the same.
build_and_test() {
  local folder=$1 filter=$2 selected targets=()
  mapfile -t selected < <(select_tests "$folder/tests/index.txt" "${@:2}")
  if [[ ${#selected[@]} == 0 ]]; then
    nothing_selected "$folder/tests/index.txt"
    return 1
  fi
  if [[ ${#names[@]} -gt 0 || $filter != . ]]; then targets=("${selected[@]}"); fi
  local broken=0
  ninja -C "$folder" -j "$jobs" -k 0 "${targets[@]}" >"$folder/build.log" 2>&1 || broken=1
  grep -E '^FAILED:|(error|fatal error):|undefined symbol' "$folder/build.log" | head -n 40 || true
  ctest --test-dir "$folder" -R "^($(IFS='|'; echo "${selected[*]}"))\$" --output-on-failure --no-tests=error |
    terse || broken=1
  return "$broken"
}

# A part is built for the edit loop; everything is built once, with skep's own headers precompiled.
step_tests() {
  local preset=whole
  if [[ ${#names[@]} -gt 0 ]]; then preset=debug; fi
  skep_configure "$preset" "${live[@]}" -DSKEP_BUILD_BENCHMARKS=OFF
  build_and_test "$SKEP_BUILD_DIR" .
}
# All that does not link LibTorch, and of what does the programs through which foreign bytes reach a tensor.
step_asan() {
  skep_configure asan "${live[@]}"
  # faults of memory show with the first seeds, all of them were tried in the step before
  SKEP_SIM_SEEDS=${SKEP_SIM_SEEDS:-10} build_and_test "$SKEP_BUILD_DIR" \
    '^(core|codec|crypto|async|kademlia|p2p|dht|sim|fuzz)_|^cli_http|^integration_(p2pd|dht_live)_|^moe_[a-z_]*_test$' \
    '^moe_(tensor|server|client)_' \
    '^moe_(client_call|client_dispatch|tensor_codec|tensor_unpickle|tensor_tensor_sink|tensor_serialize|server_connection_handler|server_trainer|client_remote_expert)_test$'
}
# What has threads, and one program of each floor that runs on them.
step_tsan() {
  skep_configure tsan -DSKEP_LIVE_TESTS=OFF
  build_and_test "$SKEP_BUILD_DIR" \
    '^async_|^(p2p_host|dht_node|dht_dht|dht_future|cli_http_server|moe_task_pool|moe_pool_[a-z]*|moe_batch_scheduler|moe_server_runtime|moe_server_module_backend|moe_server_expert_core)_test$'
}
step_headers() {
  skep_configure headers
  local log=$SKEP_BUILD_DIR/build.log total failed=0
  ninja -C "$SKEP_BUILD_DIR" skep_torch_door >"$log" 2>&1 || { cat "$log"; return 1; }
  total=$(ninja -C "$SKEP_BUILD_DIR" -t targets all | grep -c 'verify_interface_header_sets/.*\.o:' || true)
  ninja -C "$SKEP_BUILD_DIR" -j "$jobs" -k 0 all_verify_interface_header_sets >"$log" 2>&1 ||
    failed=$(grep -c '^FAILED:' "$log" || true)
  grep -E '^FAILED:|(error|fatal error):' "$log" | head -n 40 || true
  echo "$((total - failed)) passed, $failed failed"
  [[ $failed == 0 && $total -gt 0 ]]
}
step_layers() {
  local status=0 build=${SKEP_BUILD_ROOT:-$SKEP_ROOT/build}/headers
  if [[ -f $build/build.ninja ]]; then set -- "$build"; else set --; fi
  python3 "$SKEP_ROOT/cmake/checks/layers.py" "$@" || status=1
  python3 "$SKEP_ROOT/cmake/checks/mirrors.py" || status=1
  return "$status"
}
step_format() { "$SKEP_ROOT/cmake/checks/format.sh"; }
step_tidy() { "$SKEP_ROOT/cmake/checks/tidy.sh"; }
step_refusals() { python3 "$SKEP_ROOT/tests/compile_fail/run.py"; }
step_package() { "$SKEP_ROOT/tests/package/run.sh"; }
step_release() {
  skep_configure release
  local benchmarks=("$SKEP_ROOT"/benchmarks/*_bench.cpp)
  benchmarks=("${benchmarks[@]##*/}")
  ninja -C "$SKEP_BUILD_DIR" -j "$jobs" -k 0 skep-server skep-dht fashion_mnist "${benchmarks[@]%.cpp}" >"$SKEP_BUILD_DIR/build.log" 2>&1 && { echo "1 passed, 0 failed"; return; }
  grep -E '^FAILED:|(error|fatal error):|undefined symbol' "$SKEP_BUILD_DIR/build.log" | head -n 40 || true
  echo "0 passed, 1 failed"
  return 1
}
# Of each floor the programs that hold most of its code.
step_gcc() {
  local root=$SKEP_CACHE/trixie
  "$SKEP_ROOT/cmake/second-root.sh" cmake -S /skep -B /build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 \
    -DCMAKE_CXX_COMPILER=g++-14 -DSKEP_LIVE_TESTS=OFF -DSKEP_BUILD_EXAMPLES=OFF -DSKEP_BUILD_BENCHMARKS=OFF \
    >"$SKEP_ROOT/build/gcc.log" 2>&1 || { tail -n 20 "$SKEP_ROOT/build/gcc.log"; return 1; }
  local selected
  mapfile -t selected < <(select_tests "$root/build/tests/index.txt" \
    '^(core|async|kademlia|sim)_|^codec_(.*messages|msgpack|unary_reader)_test$|^crypto_(aead|ed25519|hash|rsa)_test$|^p2p_(host|identity|multiaddr|noise|peer_routing|peer_store|rpc_stream|unary_call|yamux|upgrade)_test$|^dht_(dht|json|node|protocol|storage)_test$|^moe_(beam_search|declare|task_pool|client_dispatch|tensor_serialize|server_server|client_mixture)_test$')
  [[ ${#selected[@]} -gt 0 ]] || { nothing_selected "$root/build/tests/index.txt"; return 1; }
  local broken=0
  "$SKEP_ROOT/cmake/second-root.sh" ninja -j "$jobs" -k 0 "${selected[@]}" >"$SKEP_ROOT/build/gcc.log" 2>&1 || broken=1
  grep -E '^FAILED:|error:|undefined reference' "$SKEP_ROOT/build/gcc.log" | head -n 40 || true
  "$SKEP_ROOT/cmake/second-root.sh" ctest -j "$jobs" -R "^($(IFS='|'; echo "${selected[*]}"))\$" --output-on-failure \
    --no-tests=error | terse || broken=1
  return "$broken"
}

# counts LOG: "passed failed", added up over the closing lines of test runners and of our checks.
counts() {
  awk '/^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+/ { failed += $4; passed += $NF - $4 }
       /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
       END { print passed + 0, failed + 0 }' "$1"
}

# needs_hivemind: whether a step is to run tests against it.
needs_hivemind() {
  [[ " ${steps[*]} " =~ \ (tests|asan)\  ]] || return
  [[ ${#names[@]} -gt 0 ]] || return 0
  [[ " ${names[*]} " =~ \ (live|integration) ]]
}

groups=(including build examples test)
if needs_hivemind; then groups+=(hivemind); fi
if [[ ${steps[*]} != tests ]]; then groups+=(check); fi
"$SKEP_ROOT/cmake/dependencies.sh" "${groups[@]}"
live=(-DSKEP_LIVE_TESTS=OFF)
if [[ -f $SKEP_HIVEMIND/complete ]]; then
  live=(-DSKEP_LIVE_TESTS=ON "-DSKEP_HIVEMIND_PYTHON=$SKEP_HIVEMIND/bin/python")
fi

mkdir -p "$SKEP_ROOT/build"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
table="" passed=0 failed=0
for step in "${steps[@]}"; do
  started=$SECONDS status=0
  echo "== $step"
  # a subshell with its own set -e: a step ends at the first command that fails unexpectedly
  set +e
  (set -e; "step_$step") 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  set -e
  read -r step_passed step_failed < <(counts "$log")
  if [[ $status != 0 && $step_failed == 0 ]]; then step_failed=1; fi
  if [[ $step_passed == 0 && $step_failed == 0 ]]; then step_failed=1; fi
  passed=$((passed + step_passed)) failed=$((failed + step_failed))
  table+=$(printf '%-9s %5d passed %4d failed %5d s' "$step" "$step_passed" "$step_failed" $((SECONDS - started)))$'\n'
done
if [[ ${#steps[@]} -gt 1 ]]; then printf '\n%s' "$table"; fi
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]

#!/usr/bin/env bash
# clang-tidy 19 with the checks of .clang-tidy, on one unit per folder that includes all its headers. Folders without
# LibTorch only: a unit that sees LibTorch takes over a minute each.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

folders=()
for folder in core codec crypto async kademlia p2p dht sim moe; do
  [[ -d $SKEP_ROOT/include/skep/$folder ]] || continue
  mapfile -t headers < <(cd "$SKEP_ROOT/include" && ls skep/$folder/*.hpp)
  if [[ $folder == moe ]]; then headers+=(skep/moe/client/call.hpp skep/moe/client/dispatch.hpp); fi
  folders+=("$folder")
  printf '#include "%s"\n' "${headers[@]}" >"$work/$folder.cpp"
done

tidy() { # tidy FOLDER: its verdict in FOLDER.out, its status in FOLDER.status
  local status=0
  clang-tidy-19 --quiet --config-file="$SKEP_ROOT/.clang-tidy" --warnings-as-errors='*' \
    --header-filter="include/skep/$1/" "$work/$1.cpp" -- \
    -std=c++20 -DASIO_HAS_CO_AWAIT=1 -I"$SKEP_ROOT/include" >"$work/$1.out" 2>"$work/$1.err" || status=$?
  # a unit that does not compile is no pass
  if grep -q ' error: .*\[clang-diagnostic' "$work/$1.out"; then status=1; fi
  echo "$status" >"$work/$1.status"
}
export -f tidy
export work SKEP_ROOT
printf '%s\n' "${folders[@]}" | xargs -P "$(nproc)" -I{} bash -c 'tidy {}'

passed=0 failed=0
for folder in "${folders[@]}"; do
  if [[ $(cat "$work/$folder.status") == 0 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    cat "$work/$folder.out"
    grep -v 'warnings generated\|Suppressed\|Use -' "$work/$folder.err" | head -n 5 || true
  fi
done
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]

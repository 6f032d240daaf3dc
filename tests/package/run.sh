#!/usr/bin/env bash
# Uses skep as a stranger does: installed or as a subdirectory, the DHT alone without LibTorch or a tool of ours, and an
# expert of one's own. Also that refused compilers are refused with a sentence.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../cmake/common.sh"
here=$SKEP_ROOT/tests/package
work=${SKEP_BUILD_ROOT:-$SKEP_ROOT/build}/package
mkdir -p "$work"
passed=0 failed=0

# check WHAT COMMAND...: one line if it works, the log if it does not
check() {
  local what=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $what"
  else
    failed=$((failed + 1))
    echo "FAILED  $what"
    tail -n 30 "$work/log"
  fi
}
configure() { # configure FOLDER OPTIONS...: our own tools and caches are no part of a user's project
  local folder=$1
  shift
  rm -rf "${work:?}/$folder"
  cmake -G Ninja -B "$work/$folder" -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_CXX_FLAGS=-O0 "$@"
}
bare=(-DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON -DCMAKE_DISABLE_FIND_PACKAGE_spdlog=ON
  -DCMAKE_DISABLE_FIND_PACKAGE_doctest=ON)
installed=(-DCMAKE_PREFIX_PATH="$work/prefix")
subdirectory=(-DSKEP_SOURCE="$SKEP_ROOT")
strict=(-DCMAKE_CXX_FLAGS="-O0 -Wall -Wextra -Wpedantic -Wconversion -Wold-style-cast -Wshadow-all -Wundef -Werror")

install_skep() {
  rm -rf "$work/prefix"
  configure skep -S "$SKEP_ROOT" -DSKEP_BUILD_TESTS=OFF -DSKEP_BUILD_EXAMPLES=OFF -DSKEP_BUILD_BENCHMARKS=OFF
  cmake --install "$work/skep" --prefix "$work/prefix"
}
hello_dht() { # hello_dht FOLDER OPTIONS...: builds the program and sees the value that went round
  configure "$1" -S "$here/dht" "${bare[@]}" "${@:2}"
  ninja -C "$work/$1"
  [[ $("$work/$1/hello_dht") == '"hello"' ]]
}
opened_packages() { # no header of LibTorch, CLI11, spdlog or doctest was opened for the DHT alone
  local foreign
  [[ -x $work/dht-installed/hello_dht ]] || return 1
  foreign=$(ninja -C "$work/dht-installed" -t deps | grep -E '/(torch|ATen|c10|CLI|spdlog|doctest)/' || true)
  [[ -z $foreign ]] || { echo "$foreign"; return 1; }
}
compile_time() { # a figure, not a gate: seconds differ between machines
  local seconds TIMEFORMAT=%U
  rm -f "$work/dht-installed/hello_dht"
  touch "$here/dht/main.cpp"
  seconds=$({ time ninja -C "$work/dht-installed" >&2; } 2>&1 | tail -n 1)
  echo "hello_dht compiles and links in $seconds user s at -O0 (goal: 12)"
}
own_expert() {
  configure "$1" -S "$here/expert" "${@:2}"
  ninja -C "$work/$1"
  "$work/$1/gated_server" --help | grep -- --expert_cls
}
refused() { # refused ID VERSION TEXT
  ! cmake -DCMAKE_CXX_COMPILER_ID="$1" -DCMAKE_CXX_COMPILER_VERSION="$2" -P "$SKEP_ROOT/cmake/SkepCompiler.cmake" \
    2>"$work/refused" || return 1
  tr -s ' \n' ' ' <"$work/refused" | grep -F "$3"
}
in_readme() { # the README shows this very program
  python3 -c 'import sys; sys.exit(open(sys.argv[1]).read().strip() not in open(sys.argv[2]).read())' "$1" "$SKEP_ROOT/README.md"
}

check "install" install_skep
check "hello_dht with find_package, without LibTorch" hello_dht dht-installed "${installed[@]}"
check "it opened nothing but what including needs" opened_packages
compile_time
check "hello_dht with add_subdirectory, without LibTorch, a user's warnings on" \
  hello_dht dht-subdirectory "${subdirectory[@]}" "${strict[@]}"
check "an own expert and a mixture with find_package" own_expert expert-installed "${installed[@]}"
check "an own expert and a mixture with add_subdirectory" own_expert expert-subdirectory "${subdirectory[@]}"
check "GCC 12 is refused" refused GNU 12.2.0 "use GCC 13 or newer"
check "Clang 16 is refused" refused Clang 16.0.6 "use Clang 18 or newer"
check "the README shows hello_dht" in_readme "$here/dht/main.cpp"
check "the README shows the own expert" in_readme "$here/expert/gated_server.cpp"
check "the README shows how to train" in_readme "$here/expert/train.cpp"
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]

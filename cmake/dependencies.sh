#!/usr/bin/env bash
# Installs what skep needs from Debian, by groups, and makes the Hivemind environment for the live tests.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'END'
usage: cmake/dependencies.sh [--list | --print] GROUP...

Says what it is going to install, installs it, and is silent when nothing is missing. Needs root or sudo; without them
it prints the command to run.

  including   what a program needs that includes skep: the libraries, LibTorch among them
  build       the compiler, CMake, Ninja
  examples    the data set and libraries of the examples
  test        doctest and Python
  hivemind    makes an environment with Hivemind itself, from PyPI, for the tests and benchmarks against it
  bench       OpenDHT, the peer of suite dht
  check       sanitizers, formatter, linter, debootstrap
  all         all of these

  --list      print the packages of the groups instead
  --print     print the place of the Hivemind environment instead
END
}

# group <name>: its packages. One reason each:
#   libopenblas0-pthread  LibTorch's matrix products are 30 times slower on the reference BLAS
#   libssl-dev            libcrypto: SHA-1, RSA, a ChaCha20-Poly1305 that is faster on bulk than libsodium's
#   llvm-19               the symbolizer that turns a sanitizer's addresses into lines
group() {
  case $1 in
    including) echo libasio-dev libsodium-dev libssl-dev libprotozero-dev nlohmann-json3-dev libtorch-dev \
      libopenblas0-pthread libcli11-dev libspdlog-dev ;;
    build) echo clang-19 lld-19 cmake ninja-build ccache ;;
    examples) echo dataset-fashion-mnist zlib1g-dev libcairo2-dev ;;
    test) echo doctest-dev python3 ;;
    hivemind) echo python3 python3-venv python3-torch ;;
    bench) echo libopendht-dev ;;
    check) echo libclang-rt-19-dev llvm-19 clang-format-19 clang-tidy-19 shellcheck debootstrap ca-certificates ;;
    *) return 1 ;;
  esac
}

# Hivemind from PyPI over Debian's PyTorch, in an environment of its own.
make_hivemind() {
  [[ -f $SKEP_HIVEMIND/complete ]] && return
  skep_say "making a Python environment with Hivemind $SKEP_HIVEMIND_VERSION in $SKEP_HIVEMIND"
  rm -rf "$SKEP_HIVEMIND"
  local log=$SKEP_CACHE/hivemind.log python=$SKEP_HIVEMIND/bin/python
  skep_quietly "$log" /usr/bin/python3 -m venv --system-site-packages "$SKEP_HIVEMIND"
  skep_quietly "$log" "$python" -m pip install --disable-pip-version-check --retries 5 \
    --constraint "$SKEP_ROOT/cmake/hivemind-constraints.txt" "hivemind==$SKEP_HIVEMIND_VERSION" ||
    skep_fail "pip could not fetch Hivemind; parts of the tests do without it, such as tests/run.sh p2p"
  skep_quietly "$log" "$python" -c "import hivemind, torch; torch.ones(1).numpy()"
  touch "$SKEP_HIVEMIND/complete"
}

mode=install
groups=()
for argument; do
  case $argument in
    -h | --help) usage; exit ;;
    --list | --print) mode=${argument#--} ;;
    all) groups+=(including build examples test hivemind bench check) ;;
    *) group "$argument" >/dev/null || { usage >&2; skep_fail "no group is called \"$argument\""; }
      groups+=("$argument") ;;
  esac
done
if [[ $mode == print ]]; then
  echo "$SKEP_HIVEMIND"
  exit
fi
[[ ${#groups[@]} -gt 0 ]] || { usage >&2; exit 2; }
read -ra packages <<<"$(for name in "${groups[@]}"; do group "$name"; done | tr '\n' ' ')"
if [[ $mode == list ]]; then
  printf '%s\n' "${packages[@]}"
  exit
fi

command -v dpkg-query >/dev/null ||
  skep_fail "this is not Debian; install what these packages hold: ${packages[*]}"
missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if [[ ${#missing[@]} -gt 0 ]]; then
  skep_say "installing ${#missing[@]} Debian packages and what they need: ${missing[*]}"
  log=$SKEP_CACHE/apt.log
  install="apt-get install -y --no-install-recommends ${missing[*]}"
  skep_as_root true || skep_fail "that needs root. Run as root:  apt-get update && $install"
  # a failed update is no harm when the lists are there
  skep_quietly "$log" skep_as_root apt-get update -q ||
    skep_say "apt-get update failed; trying with the lists that are here"
  # shellcheck disable=SC2086
  skep_quietly "$log" skep_as_root env DEBIAN_FRONTEND=noninteractive $install -q -o Acquire::Retries=3 ||
    skep_fail "the packages could not be installed. Run as root:  apt-get update && $install"
fi
for name in "${groups[@]}"; do
  if [[ $name == hivemind ]]; then make_hivemind; fi
done

#!/usr/bin/env bash
# Runs a command in a Debian 13 root of its own: g++ 14, LibTorch 2.6, Asio 1.30. The root is made once (1.8 GB) and
# kept in the cache; it needs debootstrap, and root or sudo. The command sees the source tree read-only as /skep and may
# write to /build, which is kept as well; its mounts vanish with it.
# usage: cmake/second-root.sh COMMAND...
# shellcheck disable=SC2016  # the quoted scripts get their values as arguments
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

release=trixie
packages=(g++-14 cmake ninja-build ccache libtorch-dev libopenblas0-pthread libasio-dev libsodium-dev libssl-dev
  libprotozero-dev nlohmann-json3-dev libcli11-dev libspdlog-dev doctest-dev)
root=$SKEP_CACHE/$release

[[ $# -gt 0 ]] || skep_fail "usage: cmake/second-root.sh COMMAND..."
skep_as_root true || skep_fail "a second root needs root. Run as root:  cmake/second-root.sh $*"

stamp="${packages[*]}"
if [[ $(cat "$root/complete" 2>/dev/null) != "$stamp" ]]; then
  log=$SKEP_CACHE/$release.log
  skep_say "making a Debian 13 root with ${#packages[@]} packages and what they need in $root"
  if [[ ! -f $root/bootstrapped ]]; then
    skep_as_root rm -rf "$root"
    mkdir -p "$SKEP_CACHE"
    skep_quietly "$log" skep_as_root debootstrap --variant=minbase "$release" "$root"
    skep_as_root touch "$root/bootstrapped"
  fi
  install="apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o Acquire::Retries=3 ${packages[*]} && apt-get clean"
  skep_quietly "$log" skep_as_root unshare --mount chroot "$root" /bin/sh -c \
    "mount -t proc proc /proc && export PATH=/usr/sbin:/usr/bin:/sbin:/bin && $install"
  skep_as_root sh -c 'mkdir -p "$1/skep" "$1/build" && printf %s "$2" >"$1/complete"' _ "$root" "$stamp"
fi

# What a program needs of the machine: /proc, a few devices, shared memory; the network is the machine's own.
skep_as_root unshare --mount bash -c '
  set -e
  root=$1 source=$2
  shift 2
  mount --bind "$source" "$root/skep"
  mount -o remount,bind,ro "$root/skep"
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/dev/shm"
  for device in null zero full random urandom; do
    [[ -c $root/dev/$device ]] && continue
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  cd "$root/build"
  exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 CCACHE_DIR=/build/ccache \
    sh -c "cd /build && exec \"\$@\"" _ "$@"
' _ "$root" "$SKEP_ROOT" "$@"

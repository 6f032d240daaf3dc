# What the scripts of this project share (bash; to be sourced): where things are, how they speak, how they become root.
#   SKEP_ROOT      the source tree
#   SKEP_CACHE     what is made once and kept: the Hivemind environment, the second compiler's root
#   SKEP_HIVEMIND  the Python environment with Hivemind, whether it is there or not
#   SKEP_BUILD_DIR the folder of the last skep_build or skep_configure
# shellcheck shell=bash disable=SC2034
SKEP_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -n ${XDG_CACHE_HOME:-} ]]; then SKEP_CACHE=$XDG_CACHE_HOME/skep
elif [[ -n ${HOME:-} && -w $HOME ]]; then SKEP_CACHE=$HOME/.cache/skep
else SKEP_CACHE=$SKEP_ROOT/build/cache
fi
SKEP_HIVEMIND_VERSION=1.1.12
SKEP_HIVEMIND=$SKEP_CACHE/hivemind-$SKEP_HIVEMIND_VERSION
export LC_ALL=C.UTF-8

skep_say() { printf 'skep: %s\n' "$*" >&2; }
skep_fail() {
  skep_say "$*"
  exit 1
}

# skep_quietly LOG COMMAND...: runs a command into a log; says nothing unless it fails, and then shows the log's end.
skep_quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null && return 0
  local status=$?
  tail -n 40 "$log" >&2
  skep_say "failed: $* (whole output: $log)"
  return "$status"
}

# skep_as_root COMMAND...: runs a command as root; 77 when there is no way to become root.
skep_as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 2 ]]; }; then
    sudo "$@"
  else
    return 77
  fi
}

# skep_configure PRESET [CMAKE OPTIONS]: configures build/PRESET.
skep_configure() {
  local preset=$1
  shift
  SKEP_BUILD_DIR=${SKEP_BUILD_ROOT:-$SKEP_ROOT/build}/$preset
  skep_quietly "$SKEP_BUILD_DIR/configure.log" cmake -S "$SKEP_ROOT" --preset "$preset" -B "$SKEP_BUILD_DIR" "$@"
}

# skep_build PRESET TARGETS...: configures build/PRESET once and builds the targets, quiet when nothing is to be done.
skep_build() {
  local preset=$1
  shift
  SKEP_BUILD_DIR=${SKEP_BUILD_ROOT:-$SKEP_ROOT/build}/$preset
  [[ -f $SKEP_BUILD_DIR/build.ninja ]] || skep_configure "$preset" || return
  local left
  left=$(ninja -C "$SKEP_BUILD_DIR" -n "$@" 2>/dev/null | grep -c '^\[' || true)
  [[ $left == 0 ]] || skep_say "building ($left steps, $preset) ..."
  skep_quietly "$SKEP_BUILD_DIR/build.log" ninja -C "$SKEP_BUILD_DIR" "$@"
}

#!/usr/bin/env bash
# The main job: builds what is needed and trains a classifier of real pictures through experts in other processes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/cmake/common.sh"

usage() {
  cat <<'EOF'
usage: examples/run.sh [--quick] [options]

Trains a classifier of Fashion-MNIST pictures through a mixture of 16 experts that live in four other processes, kills
one of these half way, and compares the result with the same experts held locally. Installs what is missing (after
saying what), builds once, leaves no process behind.

  --quick            a tenth of the training
  --picture FILE     where the picture goes (default: fashion_mnist.png in the current directory)
  --epochs N, --batch_size N, --data FOLDER, --seed N
  --large            64 experts on 8 servers, of which two are killed and one hangs; and a run without faults
  --local            only the run with local experts
  --initial_peers A  train through the experts of a running swarm instead of starting one
  -h, --help         this text
EOF
}
takes_values=  # whether the last option does
for argument; do
  case ${argument%%=*} in
    -h | --help) usage; exit ;;
    --quick | --large | --local) takes_values= ;;
    --picture | --epochs | --batch_size | --data | --seed | --initial_peers) takes_values=yes ;;
    -[!0-9]*) usage >&2; skep_fail "no option is called \"$argument\"" ;;
    *) [[ -n $takes_values ]] || { usage >&2; skep_fail "\"$argument\" belongs to no option"; } ;;
  esac
done

"$here/cmake/dependencies.sh" including build examples
skep_build release skep-server skep-dht fashion_mnist
exec "$SKEP_BUILD_DIR/examples/fashion_mnist" --commands "$SKEP_BUILD_DIR/examples" "$@"

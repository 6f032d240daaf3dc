// skep-server: hosts experts of Hivemind's classes, and TorchScript files. `skep-server --help` tells the rest; a
// server with experts of your own is the same line with their types in it.
#include "skep/cli/server_main.hpp"

int main(int argc, char** argv) {
  using namespace skep::moe;  // NOLINT(*-using-namespace)
  return skep::cli::server_main<Ffn, Transformer, Nop, NopDelay, DetDropout>(argc, argv);
}

// skep-server: hosts experts of the classes ffn and nop. `skep-server --help` tells the rest; a server with experts of
// your own is the same line with their types in it.
#include "skep/cli/server_main.hpp"

int main(int argc, char** argv) { return skep::cli::server_main<skep::moe::Ffn, skep::moe::Nop>(argc, argv); }

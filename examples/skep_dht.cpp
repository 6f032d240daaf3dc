// skep-dht: one node of a DHT, for others to join a swarm through. `skep-dht --help` tells the rest.
#include "skep/cli/dht_main.hpp"

int main(int argc, char** argv) { return skep::cli::dht_main(argc, argv); }

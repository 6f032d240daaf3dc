// The flags of skep-dht.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "skep/cli/command_line.hpp"
#include "skep/cli/network_flags.hpp"

namespace skep::inline v0::cli {

struct DhtFlags {
  NetworkFlags network;
  bool use_ipfs = false;
  double refresh_period = 30;  ///< seconds
};

[[nodiscard]] inline Parsed<DhtFlags> parse_dht_flags(std::vector<std::string> arguments) {
  DhtFlags flags;
  CommandLine line("skep-dht", "Runs one node of a DHT, for others to join a swarm through.");
  declare(line, flags.network);
  line.toggle("Network", "--use_ipfs", flags.use_ipfs, "not supported: it needs the public IPFS network");
  line.value("Reports", "--refresh_period", "S", flags.refresh_period, positive_number(),
             "seconds between two reports, each with a search that weeds out dead peers");
  return line.parse<DhtFlags>(std::move(arguments), flags, [&flags] {
    if (!flags.use_ipfs) return;
    throw UsageError{
        "--use_ipfs: this program does not search the public IPFS network; give whole addresses to "
        "--initial_peers"};
  });
}

}  // namespace skep::inline v0::cli

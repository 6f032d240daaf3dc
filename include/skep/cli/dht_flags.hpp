// The flags of skep-dht and of its subcommands.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "skep/cli/checks.hpp"
#include "skep/cli/command_line.hpp"
#include "skep/cli/network_flags.hpp"

namespace skep::inline v0::cli {

/// `skep-dht` itself: a node.
struct DhtFlags {
  NetworkFlags network;
  bool use_ipfs = false;
  double refresh_period = 30;  ///< seconds
  bool json = false;
};

/// What the subcommands share: they look at a swarm for a moment, as a client.
struct DhtClientFlags {
  std::vector<std::string> initial_peers;
  double timeout = 30;  ///< seconds
  bool json = false;
};

struct DhtGetFlags {
  DhtClientFlags client;
  std::string key;
  bool latest = false;
};

struct DhtStoreFlags {
  DhtClientFlags client;
  std::string key;
  std::string value;
  std::string subkey;        ///< empty: a regular value
  double expires_in = 3600;  ///< seconds
};

struct DhtPingFlags {
  DhtClientFlags client;  ///< `initial_peers` stays empty
  std::string address;
  int count = 4;
};

struct DhtCrawlFlags {
  DhtClientFlags client;
  std::string graph;  ///< file; empty: no drawing
  int max_nodes = 10'000;
  int parallel = 32;
};

namespace detail {

inline constexpr auto answer_group = "Answer";

inline void declare_swarm(CommandLine& line, DhtClientFlags& flags) {
  line.list("Network", "--initial_peers", "MADDR", flags.initial_peers, multiaddress(names_a_peer),
            "peers of the swarm, as skep-dht prints them when it starts");
}
inline void declare_answer(CommandLine& line, DhtClientFlags& flags) {
  line.value("Network", "--timeout", "S", flags.timeout, positive_number(), "seconds to wait at most");
  line.toggle(answer_group, "--json", flags.json, "print JSON, and log lines as JSON on standard error");
}

inline void require_swarm(const DhtClientFlags& flags) {
  if (!flags.initial_peers.empty()) return;
  throw UsageError{"--initial_peers: name a peer of the swarm, such as /ip4/192.0.2.5/tcp/31337/p2p/12D3KooW..."};
}

}  // namespace detail

[[nodiscard]] inline Parsed<DhtFlags> parse_dht_flags(std::vector<std::string> arguments) {
  DhtFlags flags;
  CommandLine line("skep-dht",
                   "Runs one node of a DHT, for others to join a swarm through. Records under an owner's tag are kept\n"
                   "only with the owner's signature (RSA as by Hivemind's validator, or Ed25519).\n\n"
                   "With a subcommand it looks at a swarm instead; each has its own --help:\n"
                   "  skep-dht get KEY           prints what is stored under a key\n"
                   "  skep-dht store KEY VALUE   stores a value under a key\n"
                   "  skep-dht ping MADDR        asks one peer for signs of life\n"
                   "  skep-dht crawl             walks the swarm and lists its nodes; --graph FILE.svg draws it\n");
  declare(line, flags.network);
  line.toggle("Network", "--use_ipfs", flags.use_ipfs, "not supported: it needs the public IPFS network");
  line.value("Reports", "--refresh_period", "S", flags.refresh_period, positive_number(),
             "seconds between two reports, each with a search that weeds out dead peers");
  line.toggle("Reports", "--json", flags.json, "log lines as JSON, one object a line");
  return line.parse<DhtFlags>(std::move(arguments), flags, [&flags] {
    if (!flags.use_ipfs) return;
    throw UsageError{
        "--use_ipfs: this program does not search the public IPFS network; give whole addresses to "
        "--initial_peers"};
  });
}

[[nodiscard]] inline Parsed<DhtGetFlags> parse_dht_get_flags(std::vector<std::string> arguments) {
  DhtGetFlags flags;
  CommandLine line(
      "skep-dht get",
      "Prints what is stored under a key, as JSON; a dictionary item by item. Ends with code 1 when nothing "
      "is there.");
  line.positional("KEY", flags.key, {}, "the key, a text");
  detail::declare_swarm(line, flags.client);
  detail::declare_answer(line, flags.client);
  line.toggle(detail::answer_group, "--latest", flags.latest, "ask all the nearest nodes for the freshest value");
  return line.parse<DhtGetFlags>(std::move(arguments), flags, [&] { detail::require_swarm(flags.client); });
}

[[nodiscard]] inline Parsed<DhtStoreFlags> parse_dht_store_flags(std::vector<std::string> arguments) {
  DhtStoreFlags flags;
  CommandLine line("skep-dht store",
                   "Stores a value under a key. Ends with code 1 unless a majority of the replicas took it.");
  line.positional("KEY", flags.key, {}, "the key, a text");
  line.positional("VALUE", flags.value, {},
                  "JSON; what is no JSON is a text: 5 is a number, hello and \"5\" are texts");
  line.value("Record", "--subkey", "SUBKEY", flags.subkey, {},
             "store one item of the key's dictionary, under this subkey: JSON or a text, as the value");
  line.value("Record", "--expires_in", "S", flags.expires_in, positive_number(), "seconds until the record is over");
  detail::declare_swarm(line, flags.client);
  detail::declare_answer(line, flags.client);
  return line.parse<DhtStoreFlags>(std::move(arguments), flags, [&] { detail::require_swarm(flags.client); });
}

[[nodiscard]] inline Parsed<DhtPingFlags> parse_dht_ping_flags(std::vector<std::string> arguments) {
  DhtPingFlags flags;
  CommandLine line("skep-dht ping",
                   "Asks one peer for signs of life: its round trips, the program it is, its place in\n"
                   "the DHT and its clock.");
  line.positional("MADDR", flags.address, detail::multiaddress(detail::names_a_peer),
                  "the peer, such as /ip4/192.0.2.5/tcp/31337/p2p/12D3KooW...");
  line.value("Network", "--count", "N", flags.count, whole_number(1), "how many round trips to measure");
  detail::declare_answer(line, flags.client);
  return line.parse<DhtPingFlags>(std::move(arguments), flags, [] {});
}

[[nodiscard]] inline Parsed<DhtCrawlFlags> parse_dht_crawl_flags(std::vector<std::string> arguments) {
  DhtCrawlFlags flags;
  CommandLine line("skep-dht crawl",
                   "Walks the swarm: asks every node for the nodes it knows, until none is new.\n"
                   "Lists them with the programs they are and their round trips.");
  detail::declare_swarm(line, flags.client);
  line.value("Network", "--parallel", "N", flags.parallel, whole_number(1), "how many nodes to ask at once");
  line.value("Network", "--max_nodes", "N", flags.max_nodes, whole_number(1),
             "stop after so many; how many more were named is said at the end");
  detail::declare_answer(line, flags.client);
  line.value(detail::answer_group, "--graph", "FILE", flags.graph, {},
             "draw the swarm as an SVG picture: nodes on the ring of ids, lines to the neighbours they name");
  return line.parse<DhtCrawlFlags>(std::move(arguments), flags, [&] { detail::require_swarm(flags.client); });
}

}  // namespace skep::inline v0::cli

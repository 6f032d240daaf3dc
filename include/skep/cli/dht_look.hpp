// A look at a swarm: the subcommands get, store, ping and crawl of skep-dht.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/cli/command.hpp"
#include "skep/cli/console.hpp"
#include "skep/cli/dht_answers.hpp"
#include "skep/cli/dht_flags.hpp"
#include "skep/cli/dht_graph.hpp"
#include "skep/cli/dht_walk.hpp"
#include "skep/cli/joining.hpp"
#include "skep/cli/json_log.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// A line of the answer, on standard output.
inline void print(const std::string& line) { std::printf("%s\n", line.c_str()); }

/// Runs a subcommand on a member of the swarm that serves nobody: `work(dht)` prints the answer and returns the code.
template <class Work>
[[nodiscard]] int run_client(const std::string& command, const DhtClientFlags& flags, Work work) {
  flags.json ? start_json_log() : start_console();
  return run_command(command, [&] {
    dht::DHTOptions options{.initial_peers = flags.initial_peers, .client_mode = true};
    options.node.bootstrap_timeout = seconds(flags.timeout);
    CheckedDHT dht(std::move(options), owner_checks());
    const int code = work(dht);
    std::fflush(stdout);
    dht.shutdown();
    return code;
  });
}

[[nodiscard]] inline awaitable<PeerSigns> signs_of(CheckedNode node, std::string address, int count, Duration limit) {
  auto& network = node.network();
  const p2p::PeerId peer = co_await network.connect(address, {.timeout = limit});
  PeerSigns signs{.peer = peer.to_string()};
  for (int i = 0; i < count; ++i) {
    const Duration round_trip = co_await network.ping(peer, {.timeout = limit});
    signs.round_trips.push_back(round_trip);
  }
  signs.agent = printable(network.agent(peer));
  try {
    const WallTime sent = network.wall_now();
    auto& protocol = node.protocol();
    const dht::Pong pong =
        co_await std::remove_reference_t<decltype(protocol)>::call_ping(protocol.shared_from_this(), peer, false);
    const double middle = (sent.seconds + network.wall_now().seconds) / 2;
    signs.serves_dht = true;
    signs.node_id = pong.node_id;
    if (pong.time != WallTime{}) signs.clock_ahead = pong.time.seconds - middle;
  } catch (const std::exception& error) {
    if (is_cancellation(std::current_exception())) throw;
    signs.no_node = error.what();
  }
  co_return signs;
}

}  // namespace detail

/// `skep-dht get`. @return 0 when something is stored under the key, 1 when nothing is or the swarm cannot be joined
[[nodiscard]] inline int dht_get(const DhtGetFlags& flags) {
  return detail::run_client("skep-dht get", flags.client, [&](CheckedDHT& dht) {
    const auto found = dht.get(flags.key, {.latest = flags.latest, .timeout = detail::seconds(flags.client.timeout)});
    if (!found) {
      throw Error(errc::not_found, "nothing is stored under \"" + printable(flags.key) +
                                       "\", or it has expired: is the key right, and is this the right swarm?");
    }
    detail::print(flags.client.json ? detail::found_json(flags.key, *found)
                                    : detail::found_text(*found, system_wall_now()));
    return exit_ok;
  });
}

/// `skep-dht store`. @return 0 when a majority of the replicas took the record, 1 otherwise
[[nodiscard]] inline int dht_store(const DhtStoreFlags& flags) {
  return detail::run_client("skep-dht store", flags.client, [&](CheckedDHT& dht) {
    const WallTime expiration = expires_in(std::chrono::duration<double>(flags.expires_in));
    const dht::StoreOptions options{.timeout = detail::seconds(flags.client.timeout)};
    const auto value = detail::value_from(flags.value);
    const auto result = flags.subkey.empty()
                            ? dht.store(flags.key, value, expiration, options)
                            : dht.store_subkey(flags.key, detail::value_from(flags.subkey), value, expiration, options);
    if (flags.client.json) {
      detail::print(detail::json_text({{"key", flags.key},
                                       {"stored", static_cast<bool>(result)},
                                       {"expiration", expiration.seconds},
                                       {"accepted", result.accepted},
                                       {"rejected", result.rejected},
                                       {"failed", result.failed}}));
    }
    if (!result) {
      throw Error(errc::refused, "\"" + printable(flags.key) + "\" was not stored: of its replicas " +
                                     std::to_string(result.accepted) + " took it, " + std::to_string(result.rejected) +
                                     " refused it, " + std::to_string(result.failed) +
                                     " did not answer; one that lives longer may be there already: raise --expires_in");
    }
    if (!flags.client.json) {
      detail::print("stored at " + std::to_string(result.accepted) + " nodes (expires " +
                    detail::time_left(expiration, system_wall_now()) + ")");
    }
    return exit_ok;
  });
}

/// `skep-dht ping`. @return 0 when the peer answered, 1 when it did not
[[nodiscard]] inline int dht_ping(const DhtPingFlags& flags) {
  return detail::run_client("skep-dht ping", flags.client, [&](CheckedDHT& dht) {
    const auto signs = dht.run_coroutine([&](CheckedNode node) {
      return detail::signs_of(std::move(node), flags.address, flags.count, detail::seconds(flags.client.timeout));
    });
    detail::print(flags.client.json ? detail::signs_json(signs) : detail::signs_text(signs));
    return exit_ok;
  });
}

/// `skep-dht crawl`. @return 0, or 1 when the swarm cannot be joined or the picture not be written
[[nodiscard]] inline int dht_crawl(const DhtCrawlFlags& flags) {
  return detail::run_client("skep-dht crawl", flags.client, [&](CheckedDHT& dht) {
    std::ofstream picture;
    if (!flags.graph.empty()) {
      picture.open(flags.graph, std::ios::trunc);
      if (!picture) throw Error(errc::invalid_argument, "--graph: cannot write \"" + printable(flags.graph) + "\"");
    }
    const Crawl crawl = dht.run_coroutine([&](CheckedNode node) {
      return walk_swarm(std::move(node), static_cast<std::size_t>(flags.max_nodes),
                        static_cast<std::size_t>(flags.parallel), detail::seconds(flags.client.timeout));
    });
    if (flags.client.json) {
      for (const auto& node : crawl.nodes) detail::print(detail::crawled_json(node));
      if (crawl.not_asked > 0) detail::print(detail::not_asked_json(crawl.not_asked));
    } else {
      detail::print(detail::crawl_table(crawl.nodes, crawl.not_asked));
    }
    if (picture.is_open() && !(picture << draw_swarm(crawl.nodes) << std::flush)) {
      throw Error(errc::refused, "--graph: writing \"" + printable(flags.graph) + "\" failed; is the disk full?");
    }
    return exit_ok;
  });
}

}  // namespace skep::inline v0::cli

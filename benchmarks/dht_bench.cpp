// Suite dht: what storing and finding cost in swarms on loopback, beside one call between two of their nodes and beside
// OpenDHT where it is installed; what nodes cost to make and to keep.
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/when_all.hpp"
#include "support/dht_swarm.hpp"
#include "support/opendht_swarm.hpp"
#include "support/pin.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace skep::bench {
namespace {

constexpr std::size_t reader = 3;
constexpr std::size_t writer = 9;
constexpr std::size_t at_once = 16;  // gets in flight when throughput is measured
constexpr std::size_t bulk = 256;    // keys of one get_many or store_many

/// Processor time of this thread, which is all there is of a swarm: both ends of every call. It passes as fast as real
/// time while the swarm has work, and stands still while other programs have the processor.
double now_in_microseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

awaitable<void> time_echoes(Node from, p2p::PeerId to, int count, Series& series) {
  CountingHost host = from.network();
  for (int i = 0; i < count; ++i) {
    const double start = now_in_microseconds();
    (void)co_await host.call(to, std::string(echo_method), Bytes(64, 1));
    series.add(now_in_microseconds() - start);
  }
}

/// Find requests as a get sends them, each to any node, as the keys have it.
awaitable<void> time_finds(Node from, std::vector<Node> others, std::vector<std::string> keys, Series& series) {
  const auto protocol = from.protocol().shared_from_this();
  for (const auto& key : keys) {
    std::vector<dht::DHTID> target{dht::key_id(key)};
    const Node& to = others[std::hash<dht::DHTID>{}(target.front()) % others.size()];
    if (to.id() == from.id()) continue;
    const dht::NodeEntry node{to.id(), to.peer_id()};
    const double start = now_in_microseconds();
    const auto answer = co_await protocol->call_find(protocol, node, std::move(target));
    series.add(now_in_microseconds() - start);
    if (!answer) throw std::runtime_error("a find failed");
  }
}

awaitable<void> time_stores(Node node, std::vector<std::string> keys, Series& series) {
  for (const auto& key : keys) {
    const WallTime expiration = node.now() + 1h;
    const double start = now_in_microseconds();
    const auto result = co_await node.store(key, 1, expiration);
    series.add(now_in_microseconds() - start);
    if (!result) throw std::runtime_error("a store failed");
  }
}

awaitable<void> get_each(Node node, std::vector<std::string> keys, dht::GetOptions options, Series* series) {
  for (const auto& key : keys) {
    const double start = now_in_microseconds();
    const auto found = co_await node.get(key, options);
    if (series) series->add(now_in_microseconds() - start);
    if (!found) throw std::runtime_error("a key was not found");
  }
}
/// The same with several readers at a time.
awaitable<void> get_at_once(Node node, std::vector<std::string> keys) {
  std::vector<std::vector<std::string>> shares(at_once);
  for (std::size_t i = 0; i < keys.size(); ++i) shares[i % at_once].push_back(keys[i]);
  std::vector<awaitable<void>> readers;
  for (auto& share : shares) readers.push_back(get_each(node, std::move(share), {}, nullptr));
  co_await when_all(std::move(readers));
}

awaitable<void> time_get_many(Node node, std::vector<std::string> keys, Series& series) {
  const auto count = static_cast<double>(keys.size());
  const double start = now_in_microseconds();
  const auto found = co_await node.get_many(std::move(keys));
  series.add((now_in_microseconds() - start) / count);
  for (const auto& each : found) {
    if (!each) throw std::runtime_error("a key was not found");
  }
}
awaitable<void> time_store_many(Node node, std::vector<std::string> keys, Series& series) {
  std::vector<dht::StoreItem> items;
  for (const auto& key : keys) items.push_back({key, 1, node.now() + 1h, {}});
  const double start = now_in_microseconds();
  const auto stored = co_await node.store_many(std::move(items));
  series.add((now_in_microseconds() - start) / static_cast<double>(keys.size()));
  for (const auto& each : stored) {
    if (!each) throw std::runtime_error("a store failed");
  }
}

/// Keys that the reader does not hold: a get must ask.
std::vector<std::string> keys_for(Swarm& swarm, std::size_t count, int& next) {
  std::vector<std::string> keys;
  while (keys.size() < count) {
    const std::string key = "key" + std::to_string(next++);
    const auto target = dht::key_id(key);
    std::size_t nearer = 0;
    for (const Node& node : swarm.nodes) nearer += (node.id() ^ target) < (swarm.nodes[reader].id() ^ target);
    if (nearer >= 6) keys.push_back(key);
  }
  return keys;
}

std::string rate_text(double per_second) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), per_second < 1e4 ? "%.0f /s" : "%.0fk /s",
                per_second < 1e4 ? per_second : per_second / 1e3);
  return text.data();
}

/// Keys a second of Hivemind, 16 nodes.
struct BulkRates {
  double get_many = 1800;  // where it is not measured: its best run on two such cores
  double store_many = 56;
};

/// What Hivemind reaches among 16 nodes of its own, in this run on the same core, its caches off, too: the middle of
/// three turns. Nothing where its Python is not there.
std::optional<BulkRates> measure_hivemind() {
  const char* const python = std::getenv("SKEP_HIVEMIND_PYTHON");
  if (python == nullptr || access(python, X_OK) != 0) return std::nullopt;
  const std::string script = R"(
import functools, hivemind, time
from hivemind.utils.timed_storage import get_dht_time
async def store(dht, node, keys):
    stored = await node.store_many(keys, [1] * len(keys), get_dht_time() + 3600)
    assert all(stored.values())
async def get(dht, node, keys):
    found = await node.get_many(keys)
    assert all(found.values())
options = dict(start=True, host_maddrs=["/ip4/127.0.0.1/tcp/0"], cache_locally=False, cache_on_store=False, cache_nearest=0)
nodes = [hivemind.DHT(**options)]
peers = [str(address) for address in nodes[0].get_visible_maddrs()]
nodes += [hivemind.DHT(initial_peers=peers, **options) for _ in range(15)]
rates = {store: [], get: []}
for turn in range(3):
    keys = [f"key{turn}_{i}" for i in range()" +
                             std::to_string(bulk) + R"()]
    for act, node in (store, nodes[9]), (get, nodes[3]):
        start = time.perf_counter()
        node.run_coroutine(functools.partial(act, keys=keys))
        rates[act].append(len(keys) / (time.perf_counter() - start))
print(sorted(rates[get])[1], sorted(rates[store])[1], flush=True)
for node in nodes:
    node.shutdown()
)";
  const std::string command = "\"" + std::string(python) + "\" -W ignore -c '" + script + "' 2>/dev/null";
  FILE* const output = popen(command.c_str(), "r");
  if (output == nullptr) return std::nullopt;
  BulkRates rates;
  const bool read = std::fscanf(output, "%lf %lf", &rates.get_many, &rates.store_many) == 2;
  pclose(output);
  return read ? std::optional(rates) : std::nullopt;
}

/// Many keys at once, beside what Hivemind does.
void print_bulk(Table& table, const std::string& where, const Series& get_many, const Series& store_many,
                std::optional<BulkRates> hivemind) {
  const auto print = [&](const std::string& name, const Series& series, double BulkRates::* which, double goal) {
    const double rate = 1e6 / series.p50();
    const double theirs = hivemind.value_or(BulkRates{}).*which;
    table.print({.name = "dht " + name + (hivemind ? ", keys" + where : ", against " + rate_text(theirs)),
                 .skep = rate_text(rate),
                 .peer = hivemind ? rate_text(theirs) : "-",
                 .ratio = rate / theirs,
                 .direction = Goal::at_least,
                 .goal = goal});
  };
  print("get_many", get_many, &BulkRates::get_many, 80);
  print("store_many", store_many, &BulkRates::store_many, 1000);
}

/// The operations of one swarm, each beside the calls that it is made of.
void measure_operations(Table& table, Swarm& swarm, OpenDhtSwarm* peer, std::optional<BulkRates> hivemind, bool quick) {
  const int rounds = quick ? 3 : 10;
  const std::size_t count = quick ? 40 : 100;
  int next = 0;
  Node& reads = swarm.nodes[reader];
  Node& writes = swarm.nodes[writer];
  Calls storing;
  std::size_t stored = 0;
  std::size_t latest_finds = 0;
  std::size_t latest_gets = 0;
  std::vector<std::string> keys;
  std::vector<std::string> bulk_keys;

  const auto series = interleave(
      rounds, {
                  [&](Series& to) { swarm.run(time_echoes(reads, writes.peer_id(), static_cast<int>(5 * count), to)); },
                  [&](Series& to) {
                    keys = keys_for(swarm, count, next);
                    const Calls before = swarm.calls;
                    swarm.run(time_stores(writes, keys, to));
                    storing.find += swarm.calls.find - before.find;
                    storing.store += swarm.calls.store - before.store;
                    stored += keys.size();
                  },
                  [&](Series& to) { swarm.run(get_each(reads, keys, {}, &to)); },
                  [&](Series& to) {
                    const std::size_t before = swarm.calls.find;
                    swarm.run(get_each(reads, keys, {.latest = true}, &to));
                    latest_finds += swarm.calls.find - before;
                    latest_gets += keys.size();
                  },
                  [&](Series& to) { swarm.run(time_finds(reads, swarm.nodes, keys, to)); },
                  [&](Series& to) {
                    bulk_keys = keys_for(swarm, bulk, next);
                    swarm.run(time_store_many(writes, bulk_keys, to));
                  },
                  [&](Series& to) {
                    for (int i = 0; i < 3; ++i) swarm.run(time_get_many(reads, bulk_keys, to));
                  },
                  [&](Series& to) {
                    to.add(microseconds([&] { swarm.run(get_at_once(reads, keys)); }) / static_cast<double>(count));
                  },
                  [&](Series& to) {
                    if (!peer) return to.add(1);
                    peer->put(writer, keys, at_once);
                    to.add(microseconds([&] { peer->get(reader, keys, at_once); }) / static_cast<double>(count));
                  },
              });
  const Series& echo = series[0];
  const Series& find = series[4];
  const auto ratio = [&](const Series& to, double calls, const Series& call) {
    return median_over_rounds(call.rounds(),
                              [&](std::size_t i) { return to.median_of(i) / (calls * call.median_of(i)); });
  };
  const auto per = [](std::size_t calls, std::size_t acts) {
    return static_cast<double>(calls) / static_cast<double>(acts);
  };
  const std::string where = ", " + std::to_string(swarm.nodes.size()) + " nodes";
  table.print({.name = "dht get" + where,
               .skep = time_text(series[2].p50()),
               .limit = time_text(echo.p50()),
               .ratio = ratio(series[2], 1, echo),
               .goal = 5});
  const double finds_latest = per(latest_finds, latest_gets);
  table.print({.name = "dht get latest" + where,
               .skep = time_text(series[3].p50()),
               .limit = time_text(finds_latest * find.p50()),
               .ratio = ratio(series[3], finds_latest, find),
               .goal = 1.5});
  const double calls_a_store = per(storing.find + storing.store, stored);
  table.print({.name = "dht store" + where,
               .skep = time_text(series[1].p50()),
               .limit = time_text(calls_a_store * find.p50()),
               .ratio = ratio(series[1], calls_a_store, find),
               .goal = 1.2});
  const double most_finds = swarm.nodes.size() <= 16 ? 6 : 12;  // Hivemind: 20 to 25
  table.print({.name = "dht finds a store" + where,
               .skep = std::to_string(per(storing.find, stored)).substr(0, 4),
               .limit = std::to_string(static_cast<int>(most_finds)),
               .ratio = per(storing.find, stored) / most_finds,
               .goal = 1});
  if (swarm.nodes.size() == 16) print_bulk(table, where, series[6], series[5], hivemind);
  if (swarm.nodes.size() > 64 || !peer) return;  // a rate is no figure without its peer
  table.print({.name = "dht gets a second" + where,
               .skep = rate_text(1e6 / series[7].p50()),
               .peer = rate_text(1e6 / series[8].p50()),
               .ratio = ratio(series[8], 1, series[7]),
               .direction = Goal::at_least,
               .goal = 8});
}

double heap_bytes() {
  const auto info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

/// Makes the nodes of a swarm and says what that took and what they keep.
void measure_creation(Table& table, Swarm& swarm, std::size_t count, bool handshakes) {
  const double before = heap_bytes();
  const double seconds = microseconds([&] { swarm.add(count); }) / 1e6;
  const double rate = static_cast<double>(count) / seconds;
  const double goal = handshakes ? 60 : 2000;
  const std::string where = (handshakes ? " joined, " : " made, ") + std::to_string(count);
  table.print({.name = "dht nodes" + where,
               .skep = rate_text(rate),
               .limit = rate_text(goal),
               .ratio = rate / goal,
               .direction = Goal::at_least,
               .goal = 1});
  std::size_t connections = 0;
  for (const Node& node : swarm.nodes) connections += node.network().peers().size();
  const double allowed = 64.0 * 1024 * static_cast<double>(count) + 24.0 * 1024 * static_cast<double>(connections);
  const auto kib = [&](double bytes) {
    return std::to_string(static_cast<int>(bytes / 1024 / static_cast<double>(count))) + " KiB";
  };
  table.print({.name = "dht memory a node" + where,
               .skep = kib(heap_bytes() - before),
               .limit = kib(allowed),
               .ratio = (heap_bytes() - before) / allowed,
               .goal = 1});
}

/// Two connections of one node to each other need two descriptors a node, and a listener.
void allow_descriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void measure_swarm(Table& table, std::size_t size, std::optional<BulkRates> hivemind, bool quick) {
  std::optional<OpenDhtSwarm> peer;  // first, since it cannot use descriptors above 1024
  if (OpenDhtSwarm::available && size <= 64) peer.emplace(size);
  Swarm swarm(size <= 64 ? Acquaintance::join : Acquaintance::nobody);
  measure_creation(table, swarm, size, size <= 64);
  swarm.meet();
  swarm.connect(reader);
  swarm.connect(writer);
  measure_operations(table, swarm, peer ? &*peer : nullptr, hivemind, quick);
}

}  // namespace
}  // namespace skep::bench

int main(int argc, char** argv) {
  using namespace skep::bench;
  try {
    const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
    pin_to(allowed_cores().front());
    const auto hivemind = quick ? std::nullopt : measure_hivemind();  // on the same core
    allow_descriptors();
    Table table;
    if (argc > 2) {  // one swarm alone
      measure_swarm(table, std::stoul(argv[2]), hivemind, quick);
      return 0;
    }
    for (const std::size_t size : {16U, 64U, 1024U}) measure_swarm(table, size, hivemind, quick);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "dht_bench: %s\n", failure.what());
    return 1;
  }
}

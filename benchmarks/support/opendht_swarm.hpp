// OpenDHT as the peer of the suite dht, where libopendht-dev is installed; otherwise there is no such swarm.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#ifdef SKEP_BENCH_OPENDHT

#include <opendht.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace skep::bench {

/// Nodes of OpenDHT in this process, each with threads of its own, all limits of requests lifted.
class OpenDhtSwarm {
 public:
  static constexpr bool available = true;

  explicit OpenDhtSwarm(std::size_t size) {
    ::dht::DhtRunner::Config config;
    config.dht_config.node_config.max_req_per_sec = -1;
    config.dht_config.node_config.max_peer_req_per_sec = -1;
    config.threaded = true;
    for (std::size_t i = 0; i < size; ++i) {
      auto& node = nodes_.emplace_back(std::make_unique<::dht::DhtRunner>());
      node->run(0, config);
      if (i > 0) node->bootstrap("127.0.0.1", std::to_string(nodes_.front()->getBoundPort()));
    }
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (std::size_t i = 1; i < size; ++i) {
      while (nodes_[i]->getNodesStats(AF_INET).good_nodes == 0) {
        if (std::chrono::steady_clock::now() > patience) throw std::runtime_error("OpenDHT's nodes do not connect");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
    std::this_thread::sleep_for(std::chrono::seconds(2));  // its tables fill
  }
  ~OpenDhtSwarm() {
    for (auto& node : nodes_) node->join();
  }
  OpenDhtSwarm(const OpenDhtSwarm&) = delete;
  OpenDhtSwarm& operator=(const OpenDhtSwarm&) = delete;

  /// Stores a small value under each key, a few at a time.
  void put(std::size_t writer, const std::vector<std::string>& keys, std::size_t at_once) {
    run(keys, at_once, [&](const std::string& key, auto done) {
      nodes_[writer]->put(::dht::InfoHash::get(key), ::dht::Value("v"), [done](bool) { done(); });
    });
  }
  /// Reads each key, so many at a time.
  void get(std::size_t reader, const std::vector<std::string>& keys, std::size_t at_once) {
    run(keys, at_once, [&](const std::string& key, auto done) {
      nodes_[reader]->get(
          ::dht::InfoHash::get(key),
          [done](const std::vector<std::shared_ptr<::dht::Value>>&) {
            done();
            return false;  // one value is enough
          },
          [](bool) {});
    });
  }

 private:
  template <class Act>
  void run(const std::vector<std::string>& keys, std::size_t at_once, Act act) {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t begun = 0;
    std::size_t ended = 0;
    for (std::unique_lock lock(mutex); ended < keys.size();) {
      if (begun < keys.size() && begun - ended < at_once) {
        const std::string& key = keys[begun++];
        lock.unlock();
        act(key, [&, told = std::make_shared<bool>(false)] {
          const std::lock_guard guard(mutex);
          if (std::exchange(*told, true)) return;
          ++ended;
          changed.notify_one();
        });
        lock.lock();
      } else if (!changed.wait_for(lock, std::chrono::seconds(20), [&, before = ended] { return ended != before; })) {
        throw std::runtime_error("OpenDHT does not answer");
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // late callbacks of this round
  }

  std::vector<std::unique_ptr<::dht::DhtRunner>> nodes_;
};

}  // namespace skep::bench

#else

namespace skep::bench {

struct OpenDhtSwarm {
  static constexpr bool available = false;
  explicit OpenDhtSwarm(std::size_t) {}
  void put(std::size_t, const std::vector<std::string>&, std::size_t) {}
  void get(std::size_t, const std::vector<std::string>&, std::size_t) {}
};

}  // namespace skep::bench

#endif

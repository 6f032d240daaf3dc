// A table of experts in memory, filled as `declare_experts` fills the DHT: a store for searches in tests.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/moe/uid.hpp"

namespace skep::test {

/// A peer id that differs for every number.
inline p2p::PeerId peer(std::uint8_t number) {
  Bytes key{8, 1, 18, 32};  // the PublicKey message of an Ed25519 key
  key.resize(36, number);
  return p2p::PeerId::of_public_key(key);
}

/// A KeyValueStore that counts what is asked of it.
struct Table {
  using Records = std::map<int, moe::UidEndpoint>;

  std::map<std::string, Records> records;
  std::map<std::string, int> asked;  ///< how often each prefix was looked up
  int calls = 0;

  void declare(const std::string& uid, p2p::PeerId at = peer(1)) {
    const auto entries = moe::prefix_entries(uid);
    for (const auto& [prefix, coordinate] : *entries) records[prefix][coordinate] = {uid, at};
  }
  [[nodiscard]] std::optional<Records> find(const std::string& prefix) {
    ++asked[prefix];
    const auto found = records.find(prefix);
    return found == records.end() ? std::nullopt : std::optional(found->second);
  }
  awaitable<std::vector<std::optional<Records>>> get_many(std::vector<std::string> prefixes) {
    ++calls;
    std::vector<std::optional<Records>> found;
    for (const auto& prefix : prefixes) found.push_back(find(prefix));
    co_return found;
  }
};

}  // namespace skep::test

// give: hands records to a node, however many they are.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/bytes.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/traversal.hpp"

namespace skep::inline v0::dht::detail {

/// Gives records to a node, in as many requests as their size takes; or keeps them, if the node is this one.
template <class State>
awaitable<std::optional<NodeAnswer>> give(std::shared_ptr<State> self, NodeEntry node, std::vector<StoreEntry> records,
                                          bool in_cache = false) {
  NodeAnswer all;
  if (node.id == self->id) {
    for (const auto& record : records) all.kept.push_back(self->keep(record, in_cache, self->now()));
    co_return all;
  }
  for (std::size_t next = 0; next < records.size();) {
    std::vector<StoreEntry> some;
    for (std::size_t bytes = 0; next < records.size() && (some.empty() || bytes < State::answer_budget); ++next) {
      bytes += records[next].value.size() + 64;
      if (!some.empty() && bytes > State::answer_budget) break;
      some.push_back(std::move(records[next]));
    }
    const auto answer = co_await State::call_store(self, node, std::move(some), in_cache);
    if (!answer) co_return std::nullopt;
    append(all.kept, answer->kept);
  }
  co_return all;
}

}  // namespace skep::inline v0::dht::detail

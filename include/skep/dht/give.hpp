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

/// The records of one request, as many as a message holds.
class Parcel {
 public:
  explicit Parcel(std::size_t budget) : budget_(budget) {}

  /// @return false when the record, left where it is, has to go with the next request; the first always fits
  bool take(StoreEntry& entry) {
    const std::size_t bytes = entry.tag.size() + entry.value.size() + 64;  // and its key, its expiration, the fields
    if (!entries.empty() && bytes_ + bytes > budget_) return false;
    bytes_ += bytes;
    entries.push_back(std::move(entry));
    return true;
  }

  std::vector<StoreEntry> entries;

 private:
  std::size_t budget_;
  std::size_t bytes_ = 0;
};

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
    Parcel parcel(State::answer_budget);
    while (next < records.size() && parcel.take(records[next])) ++next;
    const auto answer = co_await State::call_store(self, node, std::move(parcel.entries), in_cache);
    if (!answer) co_return std::nullopt;
    append(all.kept, answer->kept);
  }
  co_return all;
}

}  // namespace skep::inline v0::dht::detail

// PendingGet: a get that runs while its caller does something else, and can be given up.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/get.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/searches.hpp"

namespace skep::inline v0::dht {

/// One key that is being read. Giving it up, or destroying it, ends the search of this key only, and only when nobody
/// else waits for it. Lives on the node's executor.
template <class State>
class PendingGet {
 public:
  PendingGet(std::shared_ptr<State> node, DHTID key, GetOptions options)
      : node_(std::move(node)),
        key_(key),
        deadline_(deadline_after(node_->net.steady_now(), options.timeout)),
        reader_(detail::begin_get(node_, detail::wants(*node_, std::vector{key}, options), options.num_workers)) {}
  PendingGet(PendingGet&&) noexcept = default;
  PendingGet(const PendingGet&) = delete;
  PendingGet& operator=(PendingGet&&) = delete;
  PendingGet& operator=(const PendingGet&) = delete;
  ~PendingGet() { cancel(); }

  /// Whether the result is there.
  [[nodiscard]] bool ready() const noexcept { return !reader_->is_pending(); }
  /// Waits for the result, as `Node::get` does. Throws errc::cancelled when it was given up before.
  [[nodiscard]] awaitable<std::optional<Found>> get() { return get(node_, key_, reader_, deadline_); }
  /// Nothing happens when the result is there already.
  void cancel() {
    if (!reader_ || !reader_->is_pending()) return;
    reader_->cancelled = true;
    reader_->leave();
  }

 private:
  static awaitable<std::optional<Found>> get(std::shared_ptr<State> node, DHTID key, std::shared_ptr<Reader> reader,
                                             SteadyTime deadline) {
    co_await detail::await_records(node, reader, deadline);
    if (reader->cancelled) throw Error(errc::cancelled, "this get of the DHT was given up");
    const auto& record = reader->records.front();
    co_return record ? detail::decode(*node, key, *record) : std::nullopt;
  }

  std::shared_ptr<State> node_;
  DHTID key_;
  SteadyTime deadline_;
  std::shared_ptr<Reader> reader_;
};

}  // namespace skep::inline v0::dht

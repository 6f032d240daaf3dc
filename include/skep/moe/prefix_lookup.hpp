// PrefixLookup: how searches look prefixes up in a store: parsed once, cached, within a time budget, ahead of need.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/key_value_store.hpp"
#include "skep/moe/prefix_cache.hpp"

namespace skep::inline v0::moe {

/// For how long what was found is believed.
struct LookupOptions {
  Duration cache_time = 0s;          ///< a prefix under which something was found
  Duration missing_cache_time = 0s;  ///< a prefix under which nothing was found
  Duration mark_missing = 0s;        ///< how long the store tells other readers so; zero: not at all
};

/// The store of a searcher and what was read from it. Shared by all searches, which keep it alive; on the store's
/// executor but for `cached`.
template <KeyValueStore Store>
class PrefixLookup {
 public:
  using Pointer = std::shared_ptr<PrefixLookup>;

  PrefixLookup(Store&& store, LookupOptions options) : store_(std::forward<Store>(store)), options_(options) {}

  /// What is cached, and the time by which that is to be judged. Any thread.
  [[nodiscard]] std::shared_ptr<const PrefixTable> cached() const { return cache_.snapshot(); }
  [[nodiscard]] SteadyTime now() {
    if constexpr (TimedStore<Store>) {
      return store_.steady_now();
    } else {
      return {};
    }
  }
  [[nodiscard]] std::remove_reference_t<Store>& store() noexcept { return store_; }

  /// Reads prefixes from the store, all in one get_many.
  static awaitable<FoundSuccessors> look_up(Pointer self, std::vector<std::string> prefixes) {
    PrefixRecords records = co_await self->store_.get_many(prefixes);
    self->mark(prefixes, records);
    FoundSuccessors found = parse(prefixes, std::move(records));
    self->remember(std::move(prefixes), found);
    co_return found;
  }

  /// The same until `end`; nullopt when that comes first. A store with a background then goes on reading, and what it
  /// finds is cached; another store's get_many is cancelled.
  static awaitable<std::optional<FoundSuccessors>> look_up_until(Pointer self, std::vector<std::string> prefixes,
                                                                 SteadyTime end) {
    if (end == SteadyTime::max()) co_return co_await look_up(std::move(self), std::move(prefixes));
    const SteadyTime start = co_await time(self);
    if (start >= end) co_return std::nullopt;
    try {
      if constexpr (BackgroundStore<Store>) {
        const auto pending = std::make_shared<Pending>(co_await asio::this_coro::executor);
        self->store_.spawn(fetch(self, std::move(prefixes), pending));
        co_await within(self, end - start, pending->done.wait(), "a look-up");
        if (pending->failure) std::rethrow_exception(pending->failure);
        co_return std::move(pending->found);
      } else {
        co_return co_await within(self, end - start, look_up(self, std::move(prefixes)), "a look-up");
      }
    } catch (const Error& error) {
      if (error.code() != errc::timed_out) throw;
    }
    co_return std::nullopt;
  }

  /// What is known without asking anybody: what the store remembers, else what was read last, though its time is over.
  [[nodiscard]] FoundSuccessors at_hand(const std::vector<std::string>& prefixes) {
    FoundSuccessors found(prefixes.size());
    if constexpr (RememberingStore<Store>) found = parse(prefixes, store_.get_known(prefixes));
    const auto table = cached();
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
      if (found[i]) continue;
      if (const KnownPrefix* old = table->find(prefixes[i], SteadyTime::min())) found[i] = old->successors;
    }
    return found;
  }

  /// Begins to read prefixes that may be needed soon; those on their way are not asked for again.
  static void prefetch(Pointer self, std::vector<std::string> prefixes) {
    if constexpr (BackgroundStore<Store>) {
      std::erase_if(prefixes, [&](const std::string& prefix) { return !self->on_their_way_.insert(prefix).second; });
      if (prefixes.empty()) return;
      auto& store = self->store_;
      store.spawn(fetch_ahead(std::move(self), std::move(prefixes)));
    }
  }

  /// Puts a time limit on an operation, by the store's clock where it has one.
  template <class T>
  static awaitable<T> within(Pointer self, Duration limit, awaitable<T> operation, const char* what) {
    if constexpr (Clock<std::remove_reference_t<Store>>) {
      co_return co_await with_timeout(self->store_, limit, std::move(operation), what);
    } else {
      AsioClock clock(co_await asio::this_coro::executor);
      co_return co_await with_timeout(clock, limit, std::move(operation), what);
    }
  }
  /// Now, by the clock of `within`.
  static awaitable<SteadyTime> time(Pointer self) {
    if constexpr (Clock<std::remove_reference_t<Store>>) {
      co_return self->store_.steady_now();
    } else {
      co_return AsioClock(co_await asio::this_coro::executor).steady_now();
    }
  }

 private:
  struct Pending {
    explicit Pending(const Executor& executor) : done(executor) {}
    Event done;
    FoundSuccessors found;
    std::exception_ptr failure;
  };

  static awaitable<void> fetch(Pointer self, std::vector<std::string> prefixes, std::shared_ptr<Pending> pending) {
    try {
      pending->found = co_await look_up(std::move(self), std::move(prefixes));
    } catch (...) {
      pending->failure = std::current_exception();
    }
    if (pending->failure && is_cancellation(pending->failure)) {
      pending->failure = std::make_exception_ptr(Error(errc::closed, "the key-value store was closed"));
    }
    pending->done.set();
  }

  static awaitable<void> fetch_ahead(Pointer self, std::vector<std::string> prefixes) {
    struct Arrived {
      ~Arrived() {
        for (const auto& prefix : prefixes) set.erase(prefix);
      }
      std::unordered_set<std::string>& set;
      std::vector<std::string> prefixes;
    } const arrived{self->on_their_way_, prefixes};
    co_await look_up(self, std::move(prefixes));
  }

  static FoundSuccessors parse(const std::vector<std::string>& prefixes, PrefixRecords records) {
    if (records.size() != prefixes.size()) {
      throw Error(errc::malformed, "a key-value store answered " + std::to_string(records.size()) + " of " +
                                       std::to_string(prefixes.size()) + " keys; get_many returns one entry per key");
    }
    FoundSuccessors found;
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
      auto successors = records[i] ? std::make_shared<const Successors>(prefixes[i], *std::move(records[i])) : nullptr;
      if (successors && successors->size() == 0) successors = nullptr;
      found.push_back(std::move(successors));
    }
    return found;
  }

  void mark(const std::vector<std::string>& prefixes, const PrefixRecords& records) {
    if constexpr (MarkingStore<Store>) {
      if (options_.mark_missing <= 0s) return;
      std::vector<std::string> missing;
      for (std::size_t i = 0; i < std::min(prefixes.size(), records.size()); ++i) {
        if (!records[i]) missing.push_back(prefixes[i]);
      }
      if (!missing.empty()) store_.mark_missing(std::move(missing), options_.mark_missing);
    }
  }

  void remember(std::vector<std::string> prefixes, const FoundSuccessors& found) {
    if (options_.cache_time <= 0s && options_.missing_cache_time <= 0s) return;
    const SteadyTime time = now();
    std::vector<std::pair<std::string, KnownPrefix>> news;
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
      const Duration life = found[i] ? options_.cache_time : options_.missing_cache_time;
      if (life > 0s) news.emplace_back(std::move(prefixes[i]), KnownPrefix{found[i], deadline_after(time, life)});
    }
    if (!news.empty()) cache_.add(std::move(news), time);
  }

  Store store_;
  LookupOptions options_;
  PrefixCache cache_;
  std::unordered_set<std::string> on_their_way_;  // asked for ahead of need
};

}  // namespace skep::inline v0::moe

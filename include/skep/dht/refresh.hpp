// refresh: records that are read from the cache are found anew before they expire there.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/searches.hpp"

namespace skep::inline v0::dht::detail {

// in dht/get.hpp, which includes this header
template <class State>
std::shared_ptr<Reader> begin_get(const std::shared_ptr<State>& self, const std::vector<Wanted>& wanted,
                                  std::size_t num_workers);
template <class State>
awaitable<void> await_records(std::shared_ptr<State> self, std::shared_ptr<Reader> reader, SteadyTime deadline);

/// Finds again what was read from the cache, a moment before it expires or when it is known to be old.
template <class State>
awaitable<void> keep_fresh(std::shared_ptr<State> self) {
  while (const auto due = self->refreshes.next()) {
    const WallTime now = self->now();
    if (now < *due) {
      const auto wait = std::chrono::duration_cast<Duration>(std::min(*due - now, std::chrono::duration<double>(1h)));
      co_await wait_until(self->net, self->refresh_news, deadline_after(self->net.steady_now(), wait + 1ms));
      self->refresh_news.reset();
      continue;
    }
    std::vector<Wanted> wanted;
    for (const DHTID& key : self->refreshes.take(now, self->options.chunk_size)) {
      const Record* const cached = self->cache.find(key, now);
      if (!cached) continue;
      const double later = std::nextafter(cached->expiration().seconds, latest_time.seconds);
      wanted.push_back({key, {later}, self->majority(), false});
    }
    if (wanted.empty()) continue;
    const SteadyTime limit = deadline_after(self->net.steady_now(), 10s);
    co_await await_records(self, begin_get(self, wanted, 0), limit);
  }
  self->refreshing = false;
}
template <class State>
void refresh_at(const std::shared_ptr<State>& self, const DHTID& key, WallTime due) {
  const auto before = self->refreshes.next();
  self->refreshes.schedule(key, due);
  if (!self->refreshing) {
    self->refreshing = true;
    self->children.spawn(keep_fresh(self));
  } else if (!before || due < *before) {
    self->refresh_news.set();
  }
}
/// Called when a key was read at home: who reads it again shall not have to wait when it has expired.
template <class State>
void schedule_refresh(const std::shared_ptr<State>& self, const DHTID& key, WallTime now) {
  const Duration ahead = self->options.cache_refresh_before_expiry;
  if (ahead <= Duration::zero()) return;
  const Record* const cached = self->cache.find(key, now);
  if (!cached) return;
  const WallTime due = cached->expiration() - std::chrono::duration<double>(ahead);
  // the time has come and nothing newer was there: again in half of the time that is left
  if (now < due) return refresh_at(self, key, due);
  if (self->refreshes.contains(key)) return;
  refresh_at(self, key, now + std::max((cached->expiration() - now) / 2, std::chrono::duration<double>(100ms)));
}

}  // namespace skep::inline v0::dht::detail

// BlockingBeamSearcher: the searches for experts for programs that block, on the thread of a DHT.
#pragma once

#include <cstddef>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/dht/dht.hpp"
#include "skep/dht/options.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/dht_store.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// A `MoEBeamSearcher` over a `dht::DHT`; each search exists twice, waiting for its result and as a future.
///
/// *Lifetime:* keeps the DHT alive. *Threads:* any but those that run others' work, where a call that waits throws
/// errc::wrong_thread. *Cancellation:* none; each search ends by its timeout, shutting the DHT down ends all of them.
/// *Errors:* those of `MoEBeamSearcher`, errc::closed when the DHT is closed.
class BlockingBeamSearcher {
 public:
  using ActiveSuccessors = std::map<std::string, std::map<Coordinate, UidEndpoint>>;

  /// @param uid_prefix  what all uids begin with; a missing dot at its end is added
  /// @param grid_size   how many values each further coordinate has
  BlockingBeamSearcher(dht::DHT dht, std::string uid_prefix, std::vector<Coordinate> grid_size,
                       BeamOptions options = {})
      : dht_(std::move(dht)), searcher_(Store(dht_.node()), std::move(uid_prefix), std::move(grid_size), options) {}

  [[nodiscard]] const std::string& uid_prefix() const noexcept { return searcher_.uid_prefix(); }
  [[nodiscard]] const std::vector<Coordinate>& grid_size() const noexcept { return searcher_.grid_size(); }

  // What the arguments mean: see MoEBeamSearcher
  std::vector<BeamItem> get_initial_beam(std::vector<Score> scores, std::size_t beam_size, SearchOptions options = {}) {
    return block_on(searcher_.get_initial_beam(std::move(scores), beam_size, options));
  }
  ActiveSuccessors get_active_successors(std::vector<std::string> prefixes,
                                         std::optional<Coordinate> grid_size = std::nullopt,
                                         SearchOptions options = {}) {
    return block_on(searcher_.get_active_successors(std::move(prefixes), grid_size, options));
  }
  BestExperts find_best_experts(std::vector<std::vector<Score>> grid_scores, std::size_t beam_size,
                                SearchOptions options = {}) {
    return block_on(searcher_.find_best_experts(std::move(grid_scores), beam_size, options));
  }
  std::vector<BestExperts> batch_find_best_experts(std::vector<std::vector<std::vector<Score>>> batch_grid_scores,
                                                   std::size_t beam_size, SearchOptions options = {}) {
    return block_on(searcher_.batch_find_best_experts(std::move(batch_grid_scores), beam_size, options));
  }

  // The same without waiting
  [[nodiscard]] std::future<std::vector<BeamItem>> get_initial_beam_future(std::vector<Score> scores,
                                                                           std::size_t beam_size,
                                                                           SearchOptions options = {}) {
    return begin(searcher_.get_initial_beam(std::move(scores), beam_size, options));
  }
  [[nodiscard]] std::future<ActiveSuccessors> get_active_successors_future(
      std::vector<std::string> prefixes, std::optional<Coordinate> grid_size = std::nullopt,
      SearchOptions options = {}) {
    return begin(searcher_.get_active_successors(std::move(prefixes), grid_size, options));
  }
  [[nodiscard]] std::future<BestExperts> find_best_experts_future(std::vector<std::vector<Score>> grid_scores,
                                                                  std::size_t beam_size, SearchOptions options = {}) {
    return begin(searcher_.find_best_experts(std::move(grid_scores), beam_size, options));
  }
  [[nodiscard]] std::future<std::vector<BestExperts>> batch_find_best_experts_future(
      std::vector<std::vector<std::vector<Score>>> batch_grid_scores, std::size_t beam_size,
      SearchOptions options = {}) {
    return begin(searcher_.batch_find_best_experts(std::move(batch_grid_scores), beam_size, options));
  }

 private:
  using Store = DhtStore<dht::Node<>>;

  template <class T>
  T block_on(awaitable<T> search) {
    return dht_.run_coroutine([search = std::move(search)](const auto&) mutable { return std::move(search); });
  }
  template <class T>
  std::future<T> begin(awaitable<T> search) {
    return dht_.run_coroutine_future([search = std::move(search)](const auto&) mutable { return std::move(search); });
  }

  dht::DHT dht_;
  MoEBeamSearcher<Store> searcher_;
};

}  // namespace skep::inline v0::moe

// MoEBeamSearcher: finds the best live experts of a grid through any awaitable key-value store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/beam.hpp"
#include "skep/moe/expert_choice.hpp"
#include "skep/moe/key_value_store.hpp"
#include "skep/moe/prefix_lookup.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// Options of a searcher.
struct BeamOptions {
  std::size_t num_workers = 0;  ///< first-dimension prefixes a row may wait for at a time; 0: those its beam lacks
  Duration cache_time = 0s;     ///< how long a prefix that was found is not asked for again; needs a store with a clock
  Duration missing_cache_time = 0s;  ///< the same for a prefix without experts; a new expert may go unseen for so long
  /// Tell other readers in the store for `cache_expiration` that nothing was found under a prefix, so that they need
  /// not ask every node that might have it. An expert that is declared meanwhile is found all the same.
  bool negative_caching = false;
  Duration cache_expiration = 300s;
  /// After a search, read so many of the next-best prefixes of the first dimension in the background, for the whole
  /// batch; needs `cache_time` and a store with a background.
  std::size_t prefetch = 0;
  /// Experts whose scores differ by at most so much are ties, and the faster are taken (see `fastest_of_best`); 0: only
  /// equal scores. None: speed makes no difference. Needs a store that learns how busy servers are.
  std::optional<Score> near_tie = std::nullopt;
};

/// Options of one search.
struct SearchOptions {
  Duration timeout = 60s;  ///< from the call to the answer; then errc::timed_out
  /// From the call to the last thing that is waited for: when it is over, the search for experts answers from what is
  /// at hand and its answer is marked as partial. What was asked for still arrives in the background and is cached.
  Duration time_budget = unlimited;
};
static_assert(std::is_aggregate_v<SearchOptions> && std::is_trivially_copyable_v<SearchOptions>);

/// Finds the experts with the highest scores among those that are alive, by left-to-right beam search over the
/// dictionaries that `declare_experts` writes (see `BeamSearch` for the rules and the cost).
///
/// *Lifetime:* a store given as an lvalue is used where it is and must outlive every search; an rvalue is moved in.
/// Searches share the searcher's state, which they keep alive. *Threads:* searches run where they are awaited, which is
/// where the store lives; `begin` may be called from any thread. *Cancellation:* a cancelled search cancels the
/// get_many it waits for. *Errors:* errc::invalid_argument for what does not fit the grid, errc::timed_out, and what
/// the store throws.
template <KeyValueStore Store>
class MoEBeamSearcher {
 public:
  /// @param uid_prefix  what all uids begin with; a missing dot at its end is added
  /// @param grid_size   how many values each further coordinate has
  MoEBeamSearcher(Store store, std::string uid_prefix, std::vector<Coordinate> grid_size, BeamOptions options = {})
      : state_(std::make_shared<State>(std::forward<Store>(store), checked(std::move(uid_prefix)),
                                       checked(std::move(grid_size)), options)) {
    const auto needs = [](bool wanted, bool there, const char* sentence) {
      if (wanted && !there) throw Error(errc::invalid_argument, sentence);
    };
    needs(options.cache_time > 0s || options.missing_cache_time > 0s, TimedStore<Store>,
          "this key-value store has no clock (steady_now), so a searcher cannot cache for it");
    needs(
        options.negative_caching, MarkingStore<Store>,
        "this key-value store only reads (it has no mark_missing), so a searcher cannot leave negative entries in it");
    needs(options.prefetch > 0, BackgroundStore<Store>,
          "this key-value store has no background (spawn), so a searcher cannot prefetch from it");
    needs(options.prefetch > 0, options.cache_time > 0s, "a searcher that prefetches needs a cache_time");
    needs(options.near_tie.has_value(), DelayStore<Store> && TimedStore<Store>,
          "this key-value store does not know how busy servers are (delays), so a searcher cannot prefer the faster");
  }

  [[nodiscard]] const std::string& uid_prefix() const noexcept { return state_->prefix; }
  [[nodiscard]] const std::vector<Coordinate>& grid_size() const noexcept { return state_->grid; }

  /// The up to `beam_size` best prefixes of the first dimension that have experts, best first. Below a prefix with
  /// coordinates that dimension must not be the only one.
  /// @param scores  of the first dimension's coordinates
  [[nodiscard]] awaitable<std::vector<BeamItem>> get_initial_beam(std::vector<Score> scores, std::size_t beam_size,
                                                                  SearchOptions options = {}) const {
    require_size(scores.size(), 0);
    for (std::size_t dimension = 1; dimension < state_->grid.size(); ++dimension) {
      scores.resize(scores.size() + static_cast<std::size_t>(state_->grid[dimension]));
    }
    BeamQuery query = make_query(std::move(scores), 1, beam_size);
    query.initial_beam_only = true;
    if (query.grid.dimensions() == 1 && !query.grid.bare_name()) {
      throw Error(errc::invalid_argument, "the one dimension of the grid under \"" + state_->prefix +
                                              "\" holds experts, no prefixes: find_best_experts finds them");
    }
    return initial_beam(state_, BeamSearch(std::move(query), state_->lookup->cached(), state_->lookup->now()), options);
  }

  /// The live experts, or examples of those below, under each prefix; an empty map where there are none.
  /// @param grid_size  leaves out coordinates outside [0, grid_size)
  [[nodiscard]] awaitable<std::map<std::string, std::map<Coordinate, UidEndpoint>>> get_active_successors(
      std::vector<std::string> prefixes, std::optional<Coordinate> grid_size = std::nullopt,
      SearchOptions options = {}) const {
    for (const auto& prefix : prefixes) {
      if (!is_valid_prefix(prefix)) throw invalid_prefix(prefix);
    }
    return active_successors(state_, std::move(prefixes), grid_size, options);
  }

  /// Up to `beam_size` live experts, the one with the highest score first.
  /// @param grid_scores  for each dimension the scores of its coordinates
  [[nodiscard]] awaitable<BestExperts> find_best_experts(std::vector<std::vector<Score>> grid_scores,
                                                         std::size_t beam_size, SearchOptions options = {}) const {
    require_dimensions(grid_scores.size());
    std::vector<Score> scores;
    for (std::size_t dimension = 0; dimension < grid_scores.size(); ++dimension) {
      require_size(grid_scores[dimension].size(), dimension);
      scores.insert(scores.end(), grid_scores[dimension].begin(), grid_scores[dimension].end());
    }
    return first_row(state_, begin(std::move(scores), 1, beam_size), options);
  }

  /// The same for many samples in one search: a prefix that several of them need is looked up once.
  /// @param batch_grid_scores  for each dimension, for each sample, the scores of its coordinates
  [[nodiscard]] awaitable<std::vector<BestExperts>> batch_find_best_experts(
      std::vector<std::vector<std::vector<Score>>> batch_grid_scores, std::size_t beam_size,
      SearchOptions options = {}) const {
    require_dimensions(batch_grid_scores.size());
    const std::size_t rows = batch_grid_scores.front().size();
    std::vector<Score> scores;
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t dimension = 0; dimension < batch_grid_scores.size(); ++dimension) {
        const auto& samples = batch_grid_scores[dimension];
        if (samples.size() != rows) {
          throw Error(errc::invalid_argument, "dimension " + std::to_string(dimension) + " has scores for " +
                                                  std::to_string(samples.size()) + " samples, dimension 0 for " +
                                                  std::to_string(rows));
        }
        require_size(samples[row].size(), dimension);
        scores.insert(scores.end(), samples[row].begin(), samples[row].end());
      }
    }
    return all_rows(state_, begin(std::move(scores), rows, beam_size), options);
  }

  /// Begins a search on what is cached, without waiting: a caller on another thread drives `advance()` first, and only
  /// when something is missing goes to the store's executor to `finish`. Any thread.
  /// @param scores  float[rows, sum(grid)]: the dimensions of the grid side by side
  /// @param skip    experts that must not be chosen now
  [[nodiscard]] BeamSearch begin(std::vector<Score> scores, std::size_t rows, std::size_t beam_size,
                                 std::function<bool(const ExpertInfo&)> skip = nullptr) const {
    BeamQuery query = make_query(std::move(scores), rows, beam_size);
    query.grid.skip = std::move(skip);
    query.grid.delay = delay();
    return BeamSearch(std::move(query), state_->lookup->cached(), state_->lookup->now());
  }
  /// Looks up what a search still misses, all of a stage in one get_many, and gives its answer. On the store's
  /// executor.
  [[nodiscard]] awaitable<ExpertChoice> finish(BeamSearch search, SearchOptions options = {}) const {
    return finish(state_, std::move(search), options);
  }

 private:
  using Lookup = PrefixLookup<Store>;

  struct State {
    State(Store&& store, std::string p, std::vector<Coordinate> g, BeamOptions o)
        : lookup(std::make_shared<Lookup>(
              std::forward<Store>(store),
              LookupOptions{o.cache_time, o.missing_cache_time, o.negative_caching ? o.cache_expiration : Duration{}})),
          prefix(std::move(p)),
          grid(std::move(g)),
          options(o) {}
    std::shared_ptr<Lookup> lookup;
    std::string prefix;
    std::vector<Coordinate> grid;
    BeamOptions options;
  };
  using StatePtr = std::shared_ptr<State>;

  static awaitable<std::vector<BeamItem>> initial_beam(StatePtr state, BeamSearch search, SearchOptions options) {
    co_await limited(state, drive(state, search, unlimited), options);
    co_return search.beam(0);
  }
  static awaitable<BestExperts> first_row(StatePtr state, BeamSearch search, SearchOptions options) {
    const ExpertChoice choice = co_await finish(state, std::move(search), options);
    co_return experts_of(choice, 0);
  }
  static awaitable<std::vector<BestExperts>> all_rows(StatePtr state, BeamSearch search, SearchOptions options) {
    const ExpertChoice choice = co_await finish(state, std::move(search), options);
    std::vector<BestExperts> best;
    best.reserve(choice.rows());
    for (std::size_t row = 0; row < choice.rows(); ++row) best.push_back(experts_of(choice, row));
    co_return best;
  }
  static BestExperts experts_of(const ExpertChoice& choice, std::size_t row) {
    BestExperts best;
    for (const std::uint32_t expert : choice.row(row)) best.push_back(choice.experts[expert]);
    best.partial = choice.is_partial(row);
    return best;
  }
  static awaitable<ExpertChoice> finish(StatePtr state, BeamSearch search, SearchOptions options) {
    co_await limited(state, drive(state, search, options.time_budget), options);
    if (state->options.prefetch > 0) Lookup::prefetch(state->lookup, search.likely(state->options.prefetch));
    co_return std::move(search).take();
  }
  static awaitable<std::map<std::string, std::map<Coordinate, UidEndpoint>>> active_successors(
      StatePtr state, std::vector<std::string> prefixes, std::optional<Coordinate> grid_size, SearchOptions options) {
    const auto found = co_await limited(state, Lookup::look_up(state->lookup, prefixes), options);
    std::map<std::string, std::map<Coordinate, UidEndpoint>> active;
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
      auto& successors = active[prefixes[i]];
      for (std::size_t at = 0; found[i] && at < found[i]->size(); ++at) {
        const Coordinate coordinate = found[i]->coordinate(at);
        if (grid_size && (coordinate < 0 || coordinate >= *grid_size)) continue;
        successors.emplace(coordinate, found[i]->expert(at));
      }
    }
    co_return active;
  }

  /// `search` lives in the frame that awaits this.
  static awaitable<void> drive(StatePtr state, BeamSearch& search, Duration budget) {
    SteadyTime end = SteadyTime::max();
    if (budget != unlimited) end = deadline_after(co_await Lookup::time(state->lookup), budget);
    while (!search.advance().empty()) {
      if (const auto found = co_await Lookup::look_up_until(state->lookup, search.missing(), end)) {
        search.learn(*found);
      } else {
        search.learn_guesses(state->lookup->at_hand(search.missing()));
      }
    }
  }

  template <class T>
  static awaitable<T> limited(StatePtr state, awaitable<T> operation, SearchOptions options) {
    return Lookup::within(state->lookup, options.timeout, std::move(operation), "the search for experts");
  }

  [[nodiscard]] std::function<Duration(const ExpertInfo&)> delay() const {
    if constexpr (DelayStore<Store> && TimedStore<Store>) {
      if (!state_->options.near_tie) return nullptr;
      return [delays = state_->lookup->store().delays(), now = state_->lookup->now()](const ExpertInfo& expert) {
        return delays->of(expert.peer_id, now);
      };
    } else {
      return nullptr;
    }
  }
  [[nodiscard]] BeamQuery make_query(std::vector<Score> scores, std::size_t rows, std::size_t beam_size) const {
    if (beam_size == 0) throw Error(errc::invalid_argument, "a beam search needs a beam_size of at least 1");
    return {.grid = {state_->prefix, state_->grid},
            .scores = std::move(scores),
            .rows = rows,
            .beam_size = beam_size,
            .num_workers = state_->options.num_workers,
            .near_tie = state_->options.near_tie.value_or(0)};
  }

  void require_dimensions(std::size_t given) const {
    if (given == state_->grid.size()) return;
    throw Error(errc::invalid_argument, "scores for " + std::to_string(given) + " dimensions, but the grid under \"" +
                                            state_->prefix + "\" has " + std::to_string(state_->grid.size()));
  }
  void require_size(std::size_t given, std::size_t dimension) const {
    if (given == static_cast<std::size_t>(state_->grid[dimension])) return;
    throw Error(errc::invalid_argument, std::to_string(given) + " scores for dimension " + std::to_string(dimension) +
                                            " of the grid under \"" + state_->prefix + "\", which has " +
                                            std::to_string(state_->grid[dimension]) + " coordinates");
  }
  static Error invalid_prefix(const std::string& prefix) {
    return {errc::invalid_argument,
            "\"" + printable(prefix) +
                "\" is not an expert prefix: a name without dots, then coordinates if any, each "
                "followed by a dot, as in \"ffn.\" or \"ffn.3.\""};
  }
  static std::string checked(std::string prefix) {
    if (!prefix.ends_with(uid_delimiter)) prefix += uid_delimiter;
    if (!is_valid_prefix(prefix)) throw invalid_prefix(prefix);
    return prefix;
  }
  static std::vector<Coordinate> checked(std::vector<Coordinate> grid) {
    bool fits = !grid.empty();
    for (const Coordinate size : grid) fits = fits && size > 0;
    if (!fits)
      throw Error(errc::invalid_argument, "a grid of experts has at least one dimension, each of size 1 or more");
    return grid;
  }

  StatePtr state_;
};

template <class Store>
MoEBeamSearcher(Store&&, std::string, std::vector<Coordinate>, BeamOptions = {}) -> MoEBeamSearcher<Store>;

}  // namespace skep::inline v0::moe

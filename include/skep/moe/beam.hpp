// The search for each sample's best experts as a pure machine: it says which prefixes it must know, is told, goes on.
#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/moe/beam_tree.hpp"
#include "skep/moe/expert_choice.hpp"
#include "skep/moe/fastest_of_best.hpp"
#include "skep/moe/prefix_cache.hpp"
#include "skep/moe/score_ranking.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// What to search for.
struct BeamQuery {
  ExpertGrid grid;
  std::vector<Score> scores = {};  ///< float[rows, sum(grid)]: the dimensions side by side; see `BeamSearch`
  std::size_t rows = 1;            ///< samples
  std::size_t beam_size = 1;       ///< prefixes followed, and experts returned, at most per row
  std::size_t num_workers = 0;     ///< first-dimension prefixes a row may wait for; at least those its beam lacks
  Score near_tie = 0;              ///< with `grid.delay`: scores that differ by at most this are ties
  bool initial_beam_only = false;  ///< stop when the first dimension is decided: prefixes are sought, no experts
};

/// One followed prefix: its score, its text and the entries under it that the search can use.
struct BeamItem {
  Score score = 0;
  std::string prefix;
  std::map<Coordinate, UidEndpoint> successors;
};

/// Left-to-right beam search over a grid of uids (Learning@home, section 3.2) for all rows of a batch at once: a prefix
/// that several rows need is asked for once. The score of an expert is the sum of its row's scores at its coordinates;
/// equal scores are ordered by uid; NaN counts as minus infinity, infinity as a number so large that sums of it stay
/// finite. When the beam covers every prefix the answer equals that of an exhaustive search.
/// Rows ask for no more first-dimension prefixes than their beam still lacks (or `num_workers`), then for `beam_size`
/// prefixes per further dimension.
///
///     while (!search.advance().empty()) search.learn(look_up(search.missing()));
///     auto best = std::move(search).take();
class BeamSearch {
 public:
  /// @param known  prefixes that need not be asked for, as far as they are fresh at `now`
  explicit BeamSearch(BeamQuery query, std::shared_ptr<const PrefixTable> known = nullptr, SteadyTime now = {})
      : query_(std::move(query)), tree_(std::move(query_.grid), std::move(known), now), rows_(query_.rows) {
    const ExpertGrid& grid = tree_.grid();
    for (const Coordinate size : grid.size) {
      column_.push_back(row_width_);
      row_width_ += static_cast<std::size_t>(size);
    }
    assert(query_.beam_size > 0 && query_.scores.size() == query_.rows * row_width_);
    // so that no sum is infinity, and none NaN, which no order has a place for
    const Score most = std::numeric_limits<Score>::max() / static_cast<Score>(2 * grid.dimensions());
    for (Score& score : query_.scores) {
      score = std::isnan(score) ? -std::numeric_limits<Score>::infinity() : std::min(score, most);
    }
    last_level_ = query_.initial_beam_only || grid.flat() ? 1 : grid.dimensions() - 1;
    assert(!query_.initial_beam_only || grid.bare_name() || grid.dimensions() > 1);
    grid_has_examples_ = last_level_ > (grid.bare_name() ? 1U : 0U);
    for (Row& row : rows_) {
      row.begun = !grid.bare_name();
      if (row.begun) row.beam.push_back({0, tree_.root()});
    }
  }

  /// Goes on as far as what is known allows.
  /// @return the prefixes to look up, each until it is learned; empty: the search is finished
  const std::vector<std::string>& advance() {
    tree_.begin_round();
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      while (!rows_[r].finished && step(r)) {
      }
    }
    return tree_.missing();
  }
  [[nodiscard]] const std::vector<std::string>& missing() const noexcept { return tree_.missing(); }

  /// Takes what was found under the missing prefixes, in their order; null where there is nothing.
  void learn(const FoundSuccessors& found) { tree_.learn(found); }
  /// The same when time is over and this is what was at hand: rows that need it are marked as partial.
  void learn_guesses(const FoundSuccessors& found) { tree_.learn(found, true); }

  /// The answer, when advance() had nothing to ask for.
  [[nodiscard]] ExpertChoice take() && {
    choice_.offsets.push_back(0);
    for (const Row& row : rows_) {
      for (const Scored& best : row.best) {
        choice_.chosen.push_back(best.item);
        choice_.scores.push_back(best.score);
      }
      choice_.offsets.push_back(static_cast<std::uint32_t>(choice_.chosen.size()));
    }
    if (std::any_of(rows_.begin(), rows_.end(), [](const Row& row) { return row.partial; })) {
      for (const Row& row : rows_) choice_.partial.push_back(row.partial);
    }
    return std::move(choice_);
  }

  /// The prefixes of the first dimension that searches with slightly different scores would need, of those that are not
  /// known: the best one of each row, then the second best of each, and so on.
  [[nodiscard]] std::vector<std::string> likely(std::size_t count) {
    tree_.begin_round();
    if (!tree_.grid().bare_name()) return {};
    std::vector<std::vector<Coordinate>> ranked;  // per row, best first
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      const Score* scores = scores_of(r, 0);
      auto& order = ranked.emplace_back(static_cast<std::size_t>(tree_.grid().size[0]));
      std::iota(order.begin(), order.end(), 0);
      const std::size_t looked_at = std::min(order.size(), query_.beam_size + count);
      std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(looked_at), order.end(),
                        [&](Coordinate a, Coordinate b) { return scores[a] > scores[b]; });
      order.resize(looked_at);
    }
    for (std::size_t place = 0; place < query_.beam_size + count; ++place) {
      for (const auto& order : ranked) {
        if (tree_.missing().size() == count) return tree_.missing();
        if (place < order.size()) tree_.ask(tree_.first(order[place]));
      }
    }
    return tree_.missing();
  }

  /// The prefixes that a row follows after the first dimension (with `initial_beam_only`), best first.
  [[nodiscard]] std::vector<BeamItem> beam(std::size_t row) const {
    std::vector<BeamItem> items;
    for (const Scored& followed : rows_[row].beam) {
      const Node& node = tree_[followed.item];
      BeamItem item{followed.score, node.prefix, {}};
      for (std::size_t i = 0; i < node.usable(); ++i) {
        const std::uint32_t at = node.usable(i);
        item.successors.emplace(node.successors->coordinate(at), node.successors->expert(at));
      }
      items.push_back(std::move(item));
    }
    return items;
  }

 private:
  using Node = BeamTree::Node;

  struct Scored {
    Score score = 0;
    std::uint32_t item = 0;  ///< a node or an expert
  };
  /// A successor of a node, on its way into the beam or among the best.
  struct Candidate {
    Score score = 0;
    std::uint32_t node = 0;
    std::uint32_t at = 0;
  };
  struct Row {
    bool begun = false;  ///< the first dimension is decided
    bool finished = false;
    bool partial = false;  ///< it needed a prefix that was only guessed
    std::size_t level = 0;
    std::vector<Scored> beam;         ///< nodes, best first
    std::vector<Candidate> examples;  ///< experts met at shorter prefixes
    std::vector<Scored> best;         ///< experts, best first
  };

  [[nodiscard]] const Score* scores_of(std::size_t row, std::size_t dimension) const {
    return query_.scores.data() + row * row_width_ + column_[dimension];
  }

  /// One stage of one row. @return false when it has to wait or is finished
  bool step(std::size_t r) {
    Row& row = rows_[r];
    if (!row.begun) return first_dimension(r);
    if (std::any_of(row.beam.begin(), row.beam.end(), [&](const Scored& s) { return !tree_[s.item].resolved; })) {
      for (const Scored& followed : row.beam) tree_.ask(followed.item);
      return false;
    }
    std::erase_if(row.beam, [&](const Scored& followed) {
      row.partial |= tree_[followed.item].guessed;
      return tree_[followed.item].usable() == 0;
    });
    if (row.level < last_level_) return next_dimension(r);
    if (!query_.initial_beam_only) choose(r);
    row.finished = true;
    return false;
  }

  /// Walks the first dimension from the best index on until the beam is full of prefixes that have experts.
  bool first_dimension(std::size_t r) {
    Row& row = rows_[r];
    const Score* scores = scores_of(r, 0);
    const auto first_of_equals = [](Coordinate a, Coordinate b) { return std::to_string(a) < std::to_string(b); };
    const auto size = static_cast<std::size_t>(tree_.grid().size[0]);

    row.beam.clear();
    std::size_t waiting = 0;
    std::size_t ranked = 0;
    for (std::size_t next = 0; next < size; ++next) {
      const bool enough = row.beam.size() + waiting >= query_.beam_size;
      if (enough && (waiting == 0 || waiting >= query_.num_workers)) break;
      if (next == ranked)
        ranked = ranking_.rank(scores, size, ranked == 0 ? query_.beam_size + 1 : size, first_of_equals);
      const Coordinate coordinate = ranking_[next].coordinate;
      const BeamTree::Index node = tree_.first(coordinate);
      row.partial |= tree_[node].guessed;
      if (!tree_[node].resolved) {
        tree_.ask(node);
        ++waiting;
      } else if (tree_[node].usable() > 0) {
        row.beam.push_back({scores[coordinate], node});
      }
    }
    if (waiting > 0) return false;
    row.begun = true;
    row.level = 1;
    return true;
  }

  /// Follows the best successors of the beam by one more dimension.
  bool next_dimension(std::size_t r) {
    Row& row = rows_[r];
    const Score* scores = scores_of(r, row.level);
    const auto path = [this](const Candidate& c) { return tree_.path(c.node, c.at); };
    top_.clear();
    for (const Scored& followed : row.beam) {
      const Node& node = tree_[followed.item];
      for (std::size_t i = 0; i < node.usable(); ++i) {
        const std::uint32_t at = node.usable(i);
        keep({followed.score + scores[node.successors->coordinate(at)], followed.item, at}, path);
        if (node.successors->rest(at).size() == tree_.grid().dimensions() - node.level && tree_.eligible(node, at)) {
          row.examples.push_back({followed.score, followed.item, at});
        }
      }
    }
    row.beam.clear();
    for (const Candidate& next : top_) row.beam.push_back({next.score, tree_.child(next.node, next.at)});
    ++row.level;
    return true;
  }

  /// Chooses the best experts under the beam, and examples from shorter prefixes where they are better.
  void choose(std::size_t r) {
    Row& row = rows_[r];
    const auto uid = [this](const Candidate& c) -> std::string_view { return expert(c).uid; };
    top_.clear();
    const Score* scores = tree_.grid().flat() ? nullptr : scores_of(r, last_level_);
    dense_.clear();
    for (const Scored& followed : row.beam) {
      const Node& node = tree_[followed.item];
      if (scores && !tree_.grid().delay && node.all_usable() && node.successors->dense()) {
        dense_.push_back(followed);
        continue;
      }
      for (std::size_t i = 0; i < node.usable(); ++i) {
        const std::uint32_t at = node.usable(i);
        const Score score = scores ? followed.score + scores[node.successors->coordinate(at)] : followed.score;
        consider({score, followed.item, at}, uid);
      }
    }
    if (!dense_.empty()) choose_by_column(scores, uid);
    for (Candidate example : row.examples) {
      const Node& node = tree_[example.node];
      for (std::size_t level = node.level; const Coordinate coordinate : node.successors->rest(example.at)) {
        example.score += scores_of(r, level++)[coordinate];
      }
      const bool there =
          std::any_of(top_.begin(), top_.end(), [&](const Candidate& c) { return uid(c) == uid(example); });
      if (!there && !tree_.contradicts(example.node, example.at)) consider(example, uid);
    }
    if (tree_.grid().delay) prefer_fast();
    for (const Candidate& best : top_) row.best.push_back({best.score, chosen_index(best)});
  }

  /// Goes through the experts of the prefixes in `dense_`, the best column first and in it the best prefix first, until
  /// no further one can be among the best: of a large grid a few columns are looked at, and ranked.
  template <class Text>
  void choose_by_column(const Score* scores, Text uid) {
    const auto columns = static_cast<std::size_t>(tree_.grid().size.back());
    const auto is_out = [this](Score score) { return top_.size() == query_.beam_size && score < top_.back().score; };
    std::size_t ranked = 0;
    for (std::size_t next = 0; next < columns; ++next) {
      if (next == ranked) {
        constexpr std::size_t few = 8;
        const std::size_t wanted = ranked == 0 ? std::min(query_.beam_size + 1, few) : 4 * ranked;
        ranked = ranking_.rank(scores, columns, wanted, std::less<>());
      }
      const auto at = static_cast<std::uint32_t>(ranking_[next].coordinate);
      if (is_out(dense_.front().score + ranking_[next].score)) break;
      for (const Scored& followed : dense_) {
        const Score score = followed.score + ranking_[next].score;
        if (is_out(score)) break;
        if (at < tree_[followed.item].usable()) keep({score, followed.item, at}, uid);
      }
    }
  }

  /// Puts a candidate among the best `beam_size`, in order. `text` names it where scores are equal.
  template <class Text>
  void keep(const Candidate& candidate, Text text) {
    if (top_.size() == query_.beam_size && candidate.score < top_.back().score) return;
    const auto place =
        std::upper_bound(top_.begin(), top_.end(), candidate, [&](const Candidate& a, const Candidate& b) {
          return a.score != b.score ? a.score > b.score : text(a) < text(b);
        });
    if (place == top_.end() && top_.size() == query_.beam_size) return;
    if (top_.size() == query_.beam_size) top_.pop_back();
    top_.insert(place, candidate);
  }
  /// Puts an expert among those to choose from: all of them where delays decide between near ties.
  template <class Text>
  void consider(const Candidate& candidate, Text text) {
    if (tree_.grid().delay) {
      top_.push_back(candidate);
    } else {
      keep(candidate, text);
    }
  }
  void prefer_fast() {
    drop_hopeless();
    std::vector<RatedExpert> rated;
    rated.reserve(top_.size());
    for (std::uint32_t i = 0; i < top_.size(); ++i) {
      rated.push_back({top_[i].score, tree_.grid().delay(expert(top_[i])), expert(top_[i]).uid, i});
    }
    std::vector<Candidate> best;
    for (const RatedExpert& chosen : fastest_of_best(std::move(rated), query_.beam_size, query_.near_tie)) {
      best.push_back(top_[chosen.item]);
    }
    top_ = std::move(best);
  }
  /// Drops those that are no near ties of any of the best `beam_size`: asking for a delay costs more than ranking.
  void drop_hopeless() {
    if (top_.size() <= query_.beam_size) return;
    const auto last_place = top_.begin() + static_cast<std::ptrdiff_t>(query_.beam_size - 1);
    std::ranges::nth_element(top_, last_place, std::greater<>(), &Candidate::score);
    const Score last = last_place->score;
    std::erase_if(top_, [&](const Candidate& c) { return c.score < last && !(last - c.score <= query_.near_tie); });
  }
  [[nodiscard]] const ExpertInfo& expert(const Candidate& c) const { return tree_[c.node].successors->expert(c.at); }

  /// The place of an expert in the answer.
  std::uint32_t chosen_index(const Candidate& best) {
    const auto next = static_cast<std::uint32_t>(choice_.experts.size());
    std::uint32_t* place = nullptr;
    if (grid_has_examples_) {  // an expert may have been met at several prefixes
      place = &by_uid_.try_emplace(expert(best).uid, next).first->second;
    } else {
      if (by_node_.size() <= best.node) by_node_.resize(best.node + 1);
      auto& places = by_node_[best.node];
      if (places.empty()) places.assign(tree_[best.node].successors->size(), BeamTree::none);
      if (places[best.at] == BeamTree::none) places[best.at] = next;
      place = &places[best.at];
    }
    if (*place == next) choice_.experts.push_back(expert(best));
    return *place;
  }

  BeamQuery query_;
  BeamTree tree_;
  std::size_t row_width_ = 0;
  std::size_t last_level_ = 1;  ///< prefixes that have decided this many dimensions hold the experts themselves
  std::vector<std::size_t> column_;
  std::vector<Row> rows_;
  ScoreRanking ranking_;                                        ///< scratch
  std::vector<Scored> dense_;                                   ///< scratch
  std::vector<Candidate> top_;                                  ///< scratch
  bool grid_has_examples_ = false;                              ///< dimensions lie between the first and the last
  std::unordered_map<std::string_view, std::uint32_t> by_uid_;  ///< the text belongs to a node's successors
  std::vector<std::vector<std::uint32_t>> by_node_;             ///< the same in a grid without examples
  ExpertChoice choice_;
};

}  // namespace skep::inline v0::moe

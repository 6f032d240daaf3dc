// The pure half of dispatch: which rows travel to which expert, and when enough experts have answered.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "skep/moe/expert_choice.hpp"

namespace skep::inline v0::moe {

/// The layout in which a batch is sent: all rows for one expert side by side, the experts of one server next to each
/// other. A place is an index into that layout; each (row, expert) pair of the choice has one.
struct DispatchPlan {
  std::vector<std::uint32_t> experts;  ///< in sending order, indices into ExpertChoice::experts
  std::vector<std::uint32_t> offsets;  ///< experts[i] gets the places offsets[i] to offsets[i + 1]
  std::vector<std::uint32_t> rows;     ///< the row at each place
  std::vector<std::uint32_t> places;   ///< the place of each entry of ExpertChoice::chosen

  [[nodiscard]] std::size_t calls() const noexcept { return experts.size(); }
  [[nodiscard]] std::span<const std::uint32_t> rows_of(std::size_t call) const noexcept {
    return {rows.data() + offsets[call], rows.data() + offsets[call + 1]};
  }
};

/// Groups a choice by expert: one request carries all rows of an expert.
[[nodiscard]] inline DispatchPlan plan_dispatch(const ExpertChoice& choice) {
  DispatchPlan plan;
  plan.experts.resize(choice.experts.size());
  std::iota(plan.experts.begin(), plan.experts.end(), 0U);
  std::ranges::stable_sort(plan.experts, {}, [&](std::uint32_t e) -> const auto& { return choice.experts[e].peer_id; });

  std::vector<std::uint32_t> next(choice.experts.size(), 0);  // by expert: first its rows' number, then its next place
  for (const std::uint32_t expert : choice.chosen) ++next[expert];
  plan.offsets.reserve(plan.experts.size() + 1);
  plan.offsets.push_back(0);
  for (const std::uint32_t expert : plan.experts) {
    plan.offsets.push_back(plan.offsets.back() + next[expert]);
    next[expert] = plan.offsets[plan.offsets.size() - 2];
  }
  plan.rows.resize(choice.chosen.size());
  plan.places.resize(choice.chosen.size());
  for (std::size_t row = 0; row < choice.rows(); ++row) {
    for (std::uint32_t entry = choice.offsets[row]; entry < choice.offsets[row + 1]; ++entry) {
      const std::uint32_t place = next[choice.chosen[entry]]++;
      plan.rows[place] = static_cast<std::uint32_t>(row);
      plan.places[entry] = place;
    }
  }
  return plan;
}

/// Counts the answers for each row and says when every row has `k_min` of them, or can no longer get them, and when
/// every row has as many as it asked for. Calls end in any order, each once. Of a call and those that repeat it at
/// other servers one answer counts: a row is promised distinct experts. A call without rows is awaited like a row of
/// its own.
class KMinCounter {
 public:
  /// @param rows_of_call  for each call the rows that it serves; a row may be served by many calls
  KMinCounter(std::vector<std::vector<std::uint32_t>> rows_of_call, std::size_t k_min)
      : rows_of_call_(std::move(rows_of_call)), k_min_(k_min), requests_(rows_of_call_.size()) {
    for (std::uint32_t call = 0; call < rows_of_call_.size(); ++call) {
      request_of_call_.push_back(call);
      rowless_ += rows_of_call_[call].empty() ? 1 : 0;
      for (const std::uint32_t row : rows_of_call_[call]) {
        if (row >= counts_.size()) counts_.resize(row + 1);
        ++counts_[row].pending;
        ++counts_[row].wanted;
      }
    }
    for (const Count& count : counts_) {
      unsettled_ += settled(count) ? 0 : 1;
      lacking_ += count.wanted > 0 ? 1 : 0;
    }
  }

  /// One more call, in place of others: its rows want no more answers than before. It has the next number.
  /// @param repeats  the call, with the same rows, whose expert it asks at another server
  void add(std::vector<std::uint32_t> rows, std::optional<std::size_t> repeats = std::nullopt) {
    if (!repeats) requests_.push_back({.pending = 0});
    request_of_call_.push_back(repeats ? request_of_call_[*repeats] : static_cast<std::uint32_t>(requests_.size() - 1));
    Request& request = requests_[request_of_call_.back()];
    const bool hoped = request.hopes();
    ++request.pending;
    rowless_ += rows.empty() ? 1 : 0;
    if (!hoped && request.hopes()) {
      for (const std::uint32_t row : rows) {
        Count& count = counts_[row];
        const bool was = settled(count);
        ++count.pending;
        if (was && !settled(count)) ++unsettled_;
      }
    }
    rows_of_call_.push_back(std::move(rows));
  }

  /// The call has ended. @return true when that settled the last row
  bool end(std::size_t call, bool answered) {
    Request& request = requests_[request_of_call_[call]];
    const bool hoped = request.hopes();
    --request.pending;
    const bool first = answered && !std::exchange(request.answered, true);
    const bool was_settled = all_settled();
    if (rows_of_call_[call].empty()) --rowless_;
    if (hoped && !request.hopes()) {
      for (const std::uint32_t row : rows_of_call_[call]) {
        Count& count = counts_[row];
        const bool was = settled(count);
        --count.pending;
        if (first && ++count.answers == count.wanted) --lacking_;
        if (!was && settled(count)) --unsettled_;
      }
    }
    return !was_settled && all_settled();
  }

  /// Every row has k_min answers, or too few calls left to get them.
  [[nodiscard]] bool all_settled() const noexcept { return unsettled_ == 0 && rowless_ == 0; }
  /// Every row has an answer for each call that it began with.
  [[nodiscard]] bool all_full() const noexcept { return lacking_ == 0 && rowless_ == 0; }
  [[nodiscard]] std::size_t answers(std::uint32_t row) const noexcept {
    return row < counts_.size() ? counts_[row].answers : 0;
  }

 private:
  /// A call and its repetitions.
  struct Request {
    std::uint32_t pending = 1;  ///< calls
    bool answered = false;
    [[nodiscard]] bool hopes() const noexcept { return pending > 0 && !answered; }
  };
  struct Count {
    std::uint32_t answers = 0;
    std::uint32_t pending = 0;  ///< requests that hope for their answer
    std::uint32_t wanted = 0;
  };
  [[nodiscard]] bool settled(const Count& count) const noexcept {
    return count.answers >= k_min_ || count.answers + count.pending < k_min_;
  }

  std::vector<std::vector<std::uint32_t>> rows_of_call_;
  std::size_t k_min_;
  std::vector<Request> requests_;
  std::vector<std::uint32_t> request_of_call_;
  std::vector<Count> counts_;
  std::size_t unsettled_ = 0;
  std::size_t lacking_ = 0;
  std::size_t rowless_ = 0;  ///< calls without rows that have not ended
};

}  // namespace skep::inline v0::moe

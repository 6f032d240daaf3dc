// StandIns: which rows of a batch lose their experts while it is under way, and who takes them over in the same step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/expert_choice.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// Keeps account of a batch whose calls fail or are late. Calls are numbered: first those of the plan, then those that
/// stand in, in the order in which they were given out. A row asks an expert once at most.
class StandIns {
 public:
  /// One request more.
  struct Call {
    ExpertInfo expert;
    std::vector<std::uint32_t> rows;
    std::optional<std::size_t> repeats = std::nullopt;  ///< the call whose expert it asks at another server
  };
  /// What came of the batch.
  struct Settled {
    /// For every row the experts that answered, best first, no more of them than the row asked at first.
    ExpertChoice choice;
    /// Beside `choice.chosen`: the place of the answer, when those of all calls that answered stand side by side.
    std::vector<std::uint32_t> answers;
  };

  StandIns(const ExpertChoice& choice, const DispatchPlan& plan)
      : experts_(choice.experts), partial_(choice.partial), rows_(choice.rows()) {
    std::vector<Score> scores(choice.chosen.size());  // by place
    for (std::size_t entry = 0; entry < choice.chosen.size(); ++entry)
      scores[plan.places[entry]] = choice.scores[entry];
    for (std::size_t call = 0; call < plan.calls(); ++call) {
      const auto rows = plan.rows_of(call);
      calls_.push_back({plan.experts[call], {rows.begin(), rows.end()}, {}});
      calls_.back().scores.assign(scores.begin() + plan.offsets[call], scores.begin() + plan.offsets[call + 1]);
    }
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const auto asked = choice.row(row);
      rows_[row].asked.assign(asked.begin(), asked.end());
      rows_[row].wanted = rows_[row].hopes = static_cast<std::uint32_t>(asked.size());
    }
  }

  /// These calls have failed, or are late. @return the rows that should ask somebody else, in ascending order
  [[nodiscard]] std::vector<std::uint32_t> lose(std::span<const std::size_t> calls) {
    std::vector<std::uint32_t> lacking;
    for (const std::size_t call : calls) {
      if (std::exchange(calls_[call].lost, true)) continue;  // late first, failed then
      for (const std::uint32_t row : calls_[call].rows) {
        --rows_[row].hopes;
        lacking.push_back(row);
      }
    }
    std::ranges::sort(lacking);
    const auto repeated = std::ranges::unique(lacking);
    lacking.erase(repeated.begin(), repeated.end());
    return lacking;
  }

  /// Gives the rows of a lost call to another server of its expert.
  [[nodiscard]] Call repeat(std::size_t call, ExpertInfo replica) {
    const auto index = static_cast<std::uint32_t>(experts_.size());
    experts_.push_back(std::move(replica));
    calls_.push_back({index, calls_[call].rows, calls_[call].scores});
    for (const std::uint32_t row : calls_.back().rows) ++rows_[row].hopes;
    return {experts_.back(), calls_.back().rows, call};
  }
  /// How many there are, those given out included.
  [[nodiscard]] std::size_t calls() const noexcept { return calls_.size(); }
  /// Whether a row has fewer answers to hope for than it asked for at first.
  [[nodiscard]] bool lacks(std::uint32_t row) const { return rows_[row].hopes < rows_[row].wanted; }

  /// Gives rows to the best of those experts that they have not asked yet, as many as they lack.
  /// @param found  for each of `rows` its best experts
  [[nodiscard]] std::vector<Call> take_over(std::span<const std::uint32_t> rows, const ExpertChoice& found) {
    constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
    std::vector<std::uint32_t> known;                              // our index of each expert found
    std::vector<std::size_t> call_of(found.experts.size(), none);  // the call to it
    known.reserve(found.experts.size());
    for (const ExpertInfo& expert : found.experts) known.push_back(index_of(expert));
    const std::size_t first = calls_.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Row& row = rows_[rows[i]];
      for (std::uint32_t entry = found.offsets[i]; entry < found.offsets[i + 1] && row.hopes < row.wanted; ++entry) {
        const std::uint32_t expert = known[found.chosen[entry]];
        if (std::ranges::find(row.asked, expert) != row.asked.end()) continue;
        std::size_t& call = call_of[found.chosen[entry]];
        if (call == none) {
          call = calls_.size();
          calls_.push_back({expert, {}, {}});
        }
        calls_[call].rows.push_back(rows[i]);
        calls_[call].scores.push_back(found.scores[entry]);
        row.asked.push_back(expert);
        ++row.hopes;
      }
    }
    std::vector<Call> given;
    for (std::size_t call = first; call < calls_.size(); ++call) {
      given.push_back({experts_[calls_[call].expert], calls_[call].rows});
    }
    return given;
  }

  /// @param answered  by call; what was given out and never sent may be missing at the end
  [[nodiscard]] Settled settle(const std::vector<bool>& answered) const {
    struct Answer {
      Score score;
      std::uint32_t expert;
      std::uint32_t place;
    };
    std::vector<std::vector<Answer>> answers(rows_.size());
    std::uint32_t place = 0;
    for (std::size_t call = 0; call < calls_.size(); ++call) {
      if (call >= answered.size() || !answered[call]) continue;
      for (std::size_t i = 0; i < calls_[call].rows.size(); ++i) {
        answers[calls_[call].rows[i]].push_back({calls_[call].scores[i], calls_[call].expert, place++});
      }
    }
    Settled settled;
    ExpertChoice& choice = settled.choice;
    choice.partial = partial_;
    choice.offsets.push_back(0);
    constexpr std::uint32_t unused = std::numeric_limits<std::uint32_t>::max();
    std::vector<std::uint32_t> index(experts_.size(), unused);
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      std::ranges::sort(answers[row], [&](const Answer& a, const Answer& b) {
        return a.score != b.score ? a.score > b.score : experts_[a.expert].uid < experts_[b.expert].uid;
      });
      const auto repeated = std::ranges::unique(
          answers[row], {}, [&](const Answer& answer) -> const std::string& { return experts_[answer.expert].uid; });
      answers[row].erase(repeated.begin(), repeated.end());
      if (answers[row].size() > rows_[row].wanted) answers[row].resize(rows_[row].wanted);
      for (const Answer& answer : answers[row]) {
        std::uint32_t& expert = index[answer.expert];
        if (expert == unused) {
          expert = static_cast<std::uint32_t>(choice.experts.size());
          choice.experts.push_back(experts_[answer.expert]);
        }
        choice.chosen.push_back(expert);
        choice.scores.push_back(answer.score);
        settled.answers.push_back(answer.place);
      }
      choice.offsets.push_back(static_cast<std::uint32_t>(choice.chosen.size()));
    }
    return settled;
  }

 private:
  struct Serving {
    std::uint32_t expert = 0;
    std::vector<std::uint32_t> rows;
    std::vector<Score> scores;  ///< beside them
    bool lost = false;
  };
  struct Row {
    std::vector<std::uint32_t> asked;  ///< experts
    std::uint32_t wanted = 0;
    std::uint32_t hopes = 0;  ///< calls that are not lost
  };

  [[nodiscard]] std::uint32_t index_of(const ExpertInfo& expert) {
    const auto found = std::ranges::find(experts_, expert.uid, &ExpertInfo::uid);
    const auto index = static_cast<std::uint32_t>(found - experts_.begin());
    if (found == experts_.end()) experts_.push_back(expert);
    return index;
  }

  std::vector<ExpertInfo> experts_;
  std::vector<bool> partial_;
  std::vector<Row> rows_;
  std::vector<Serving> calls_;
};

}  // namespace skep::inline v0::moe

// MixtureExchange: the calls of one direction of a mixture's pass, what came of them, and what is said of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/stand_ins.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// A call is added, sent, and has an outcome; those that stand in for others come behind the first ones.
struct MixtureExchange {
  struct Sent {
    ExpertInfo expert;
    std::vector<std::uint32_t> rows;
    std::shared_ptr<ExpertAnswer> answer;
    CallOutcome outcome = {};
  };

  void add(const ExpertInfo& expert, std::span<const std::uint32_t> rows, PreparedCall prepared) {
    sent.push_back({expert, {rows.begin(), rows.end()}, std::move(prepared.answer)});
    prepared.call.rows = sent.back().rows;
    calls.push_back(std::move(prepared.call));
  }

  [[nodiscard]] std::vector<bool> answered() const {
    std::vector<bool> which;
    for (const Sent& one : sent) which.push_back(one.outcome.answered());
    return which;
  }
  [[nodiscard]] std::vector<std::shared_ptr<ExpertAnswer>> answers() const {
    std::vector<std::shared_ptr<ExpertAnswer>> all;
    for (const Sent& one : sent) all.push_back(one.answer);
    return all;
  }
  /// Whether this expert was asked at this server.
  [[nodiscard]] bool has_asked(const ExpertInfo& expert) const {
    return std::ranges::any_of(sent, [&](const Sent& one) { return one.expert == expert; });
  }
  /// Whether nobody answered as the contract says, and somebody with other tensors or with more.
  [[nodiscard]] bool misfit() const {
    const auto other = [](const Sent& one) {
      return (one.answer && one.answer->misfits()) || one.outcome.code == errc::limit_exceeded;
    };
    return std::ranges::any_of(sent, other) &&
           std::ranges::none_of(sent, [](const Sent& one) { return one.outcome.answered(); });
  }
  /// Whether a server was late with all of several calls.
  [[nodiscard]] bool silent(const p2p::PeerId& server) const {
    std::size_t late = 0;
    for (const Sent& one : sent) {
      if (one.expert.peer_id != server) continue;
      if (!one.outcome.overtaken) return false;
      ++late;
    }
    return late > 1;
  }

  /// Lays a pass out anew for those who answered, stand-ins among them.
  /// @param batch  the inputs, batch first
  /// @return for each output [places, ...]
  [[nodiscard]] std::vector<Tensor> settle(MixturePass& pass, const std::vector<Tensor>& batch) const {
    StandIns::Settled settled = stand_ins->settle(answered());
    pass = pass.settled(std::move(settled.choice), batch);
    const Tensor from = at::empty(pass.rows.sizes(), at::kLong);
    for (std::size_t entry = 0; entry < settled.answers.size(); ++entry) {
      from.data_ptr<std::int64_t>()[pass.plan.places[entry]] = settled.answers[entry];
    }
    std::vector<Tensor> outputs;
    for (std::size_t t = 0; t < pass.contract->outputs.size(); ++t) {
      std::vector<Tensor> parts{pass.contract->outputs[t].make_zeros(0)};
      for (const Sent& one : sent) {
        if (one.outcome.answered()) parts.push_back(one.answer->tensors()[t]);
      }
      outputs.push_back(at::cat(parts).index_select(0, from));
    }
    return outputs;
  }

  /// Puts what each expert did into a report.
  void report_to(MixtureReport& report) const {
    for (std::size_t n = 0; n < sent.size(); ++n) {
      const auto& [expert, rows, answer, outcome] = sent[n];
      report.experts.push_back(
          {expert, rows.size(), outcome.code, outcome.sentence, outcome.latency, outcome.bytes, n >= first});
    }
  }
  /// The error for rows with too few answers.
  /// @param row     the first of them: its experts are named
  /// @param needed  answers
  [[nodiscard]] Error too_few(const MixtureReport& report, std::size_t row, std::size_t needed) const {
    std::error_code code = errc::not_found;
    std::string why;
    for (const Sent& one : sent) {
      if (one.outcome.answered() || !std::ranges::count(one.rows, row)) continue;
      code = one.outcome.code;
      why += (why.empty() ? "" : "; ") + one.outcome.sentence;
    }
    if (why.empty()) why = "no expert was found for it";
    return {code, std::string("too few experts answered in the ") + (report.backward ? "backward" : "forward") +
                      " pass: " + std::to_string(report.rows_without) + " of " + std::to_string(report.rows) +
                      " samples have fewer than " + std::to_string(needed) + " answers; sample " + std::to_string(row) +
                      ": " + why + " (allow_zero_outputs goes on without them)"};
  }

  std::vector<ExpertCall> calls;  ///< on their way out
  std::vector<Sent> sent;         ///< all
  std::size_t first = 0;          ///< how many are not stand-ins
  SteadyTime started{};
  Duration duration{};
  std::optional<StandIns> stand_ins;        ///< since the first call was lost
  std::unordered_set<std::string> lost;     ///< experts that failed or were late
  std::unordered_set<p2p::PeerId> strayed;  ///< servers that could not be reached or were late
};

}  // namespace skep::inline v0::moe

// MixturePass: one batch on its way through the experts of a mixture, and what forward leaves for backward.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/expert_choice.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// A batch in the layout of its plan. A call is a request to one expert; a place is a row in the layout.
struct MixturePass {
  ExpertChoice choice;
  DispatchPlan plan;
  std::shared_ptr<const ExpertContract> contract;
  Tensor scores;                       ///< float[rows, sum(grid)] by which the experts were chosen; undefined: nobody
                                       ///< stands in for one that fails
  bool drop_impossible = false;        ///< experts whose score is minus infinity are not chosen
  Tensor rows;                         ///< int64[places]: the row at each place
  std::vector<Tensor> inputs;          ///< gathered into the layout: [places, ...]
  std::vector<bool> alive;             ///< by call: it answered forward
  std::vector<std::uint32_t> answers;  ///< by row: how many experts answered forward

  /// Lays the rows out for a choice of experts.
  [[nodiscard]] static MixturePass make(ExpertChoice choice, std::shared_ptr<const ExpertContract> contract) {
    MixturePass pass;
    pass.plan = plan_dispatch(choice);
    pass.choice = std::move(choice);
    pass.contract = std::move(contract);
    pass.rows = at::empty({static_cast<std::int64_t>(pass.plan.rows.size())}, at::kLong);
    std::copy(pass.plan.rows.begin(), pass.plan.rows.end(), pass.rows.data_ptr<std::int64_t>());
    return pass;
  }

  /// The same for what was settled by stand-ins: every call has answered.
  /// @param batch  the inputs, batch first
  [[nodiscard]] MixturePass settled(ExpertChoice what, const std::vector<Tensor>& batch) const {
    MixturePass pass = make(std::move(what), contract);
    for (const Tensor& input : batch) pass.inputs.push_back(input.index_select(0, pass.rows));
    pass.alive.assign(pass.plan.calls(), true);
    pass.answers = pass.count_answers(pass.alive);
    return pass;
  }

  [[nodiscard]] const ExpertInfo& expert(std::size_t call) const { return choice.experts[plan.experts[call]]; }

  /// The part of each tensor [places, ...] that belongs to one call; shares its storage.
  [[nodiscard]] std::vector<Tensor> slices(const std::vector<Tensor>& tensors, std::size_t call) const {
    const std::int64_t begin = plan.offsets[call];
    const std::int64_t size = plan.offsets[call + 1] - begin;
    std::vector<Tensor> parts;
    parts.reserve(tensors.size());
    for (const Tensor& tensor : tensors) parts.push_back(tensor.narrow(0, begin, size));
    return parts;
  }

  /// The answers of all calls side by side: [places, ...] for each descriptor, zeros where an answer is null or was not
  /// accepted.
  [[nodiscard]] std::vector<Tensor> join(const std::vector<BatchTensorDescriptor>& descriptors,
                                         const std::vector<std::shared_ptr<ExpertAnswer>>& answers_by_call) const {
    std::vector<Tensor> joined;
    for (std::size_t t = 0; t < descriptors.size(); ++t) {
      std::vector<Tensor> parts;
      for (std::size_t i = 0; i < answers_by_call.size(); ++i) {
        const auto& answer = answers_by_call[i];
        const std::int64_t size = plan.offsets[i + 1] - plan.offsets[i];
        parts.push_back(answer && !answer->tensors().empty() ? answer->tensors()[t] : descriptors[t].make_zeros(size));
      }
      joined.push_back(parts.empty() ? descriptors[t].make_zeros(0) : at::cat(parts));
    }
    return joined;
  }

  /// How many of the calls that answered serve each row.
  [[nodiscard]] std::vector<std::uint32_t> count_answers(const std::vector<bool>& answered) const {
    std::vector<std::uint32_t> counts(choice.rows());
    for (std::size_t i = 0; i < answered.size(); ++i) {
      if (!answered[i]) continue;
      for (const std::uint32_t row : plan.rows_of(i)) ++counts[row];
    }
    return counts;
  }
};

}  // namespace skep::inline v0::moe

// The arithmetic of a mixture: what its experts' scores are and how their outputs are added up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/expert_choice.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// Where the scores of each row's experts stand in a grid.
struct GridPlaces {
  std::vector<Tensor> index;  ///< for each dimension int64[rows, k]: the expert's coordinate
  Tensor padding;             ///< bool[rows, k]: there is no such expert
};

/// k is the longest list of the batch, at least 1.
[[nodiscard]] inline GridPlaces grid_places(const ExpertChoice& choice, std::size_t dimensions) {
  const std::size_t rows = choice.rows();
  std::size_t width = 1;
  for (std::size_t row = 0; row < rows; ++row) width = std::max(width, choice.row(row).size());
  std::vector<std::vector<Coordinate>> coordinates;  // of each expert
  for (const auto& expert : choice.experts) {
    const auto all = coordinates_of(expert.uid);
    coordinates.emplace_back(all->end() - static_cast<std::ptrdiff_t>(dimensions), all->end());
  }

  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(width)};
  GridPlaces places{{}, at::ones(shape, at::kBool)};
  std::vector<std::int64_t*> at;
  for (std::size_t d = 0; d < dimensions; ++d) {
    places.index.push_back(at::zeros(shape, at::kLong));
    at.push_back(places.index.back().data_ptr<std::int64_t>());
  }
  bool* const padding = places.padding.data_ptr<bool>();
  for (std::size_t row = 0; row < rows; ++row) {
    const auto experts = choice.row(row);
    for (std::size_t k = 0; k < experts.size(); ++k) {
      padding[row * width + k] = false;
      for (std::size_t d = 0; d < dimensions; ++d) at[d][row * width + k] = coordinates[experts[k]][d];
    }
  }
  return places;
}

/// Combines each expert's scores, one for each dimension; minus infinity where there is no expert.
template <class Combine>
[[nodiscard]] Tensor combine_grid_scores(const std::vector<Tensor>& grid_scores, const ExpertChoice& choice,
                                         Combine combine) {
  const GridPlaces places = grid_places(choice, grid_scores.size());
  const at::Device device = grid_scores.front().device();
  Tensor scores = grid_scores[0].gather(1, places.index[0].to(device));
  for (std::size_t d = 1; d < grid_scores.size(); ++d) {
    scores = combine(scores, grid_scores[d].gather(1, places.index[d].to(device)));
  }
  return scores.masked_fill(places.padding.to(device), -std::numeric_limits<double>::infinity());
}

/// Who answered whom, in the order of the scores and in that of the plan.
struct AnswerMask {
  Tensor dead;   ///< bool[rows, k]: no answer of that expert counts
  Tensor poor;   ///< bool[rows, 1]: the row has fewer answers than needed, or none
  Tensor entry;  ///< int64[places]: where each place stands in [rows, k]
  bool any_poor = false;
};

[[nodiscard]] inline AnswerMask answer_mask(const MixturePass& pass, std::int64_t width, std::size_t needed) {
  const auto rows = static_cast<std::int64_t>(pass.choice.rows());
  AnswerMask mask{at::ones({rows, width}, at::kBool), at::zeros({rows, 1}, at::kBool),
                  at::empty(pass.rows.sizes(), at::kLong)};
  std::vector<bool> alive(pass.choice.experts.size());
  for (std::size_t i = 0; i < pass.plan.calls(); ++i) alive[pass.plan.experts[i]] = pass.alive[i];
  bool* const dead = mask.dead.data_ptr<bool>();
  bool* const all_poor = mask.poor.data_ptr<bool>();
  auto* const entry = mask.entry.data_ptr<std::int64_t>();
  for (std::size_t row = 0; row < pass.choice.rows(); ++row) {
    const bool poor = pass.answers[row] < std::max<std::size_t>(needed, 1);
    all_poor[row] = poor;
    mask.any_poor = mask.any_poor || poor;
    const auto experts = pass.choice.row(row);
    for (std::size_t k = 0; k < experts.size(); ++k) {
      const std::size_t at = row * static_cast<std::size_t>(width) + k;
      dead[at] = !alive[experts[k]];
      entry[pass.plan.places[pass.choice.offsets[row] + k]] = static_cast<std::int64_t>(at);
    }
  }
  return mask;
}

}  // namespace detail

/// The logits of each row's experts: for each the sum of the grid's scores at its coordinates.
/// @param grid_scores  for each dimension float[rows, size]
/// @return float[rows, k], k the longest list of the batch, at least 1; shorter ones are filled with minus infinity
[[nodiscard]] inline Tensor sum_grid_scores(const std::vector<Tensor>& grid_scores, const ExpertChoice& choice) {
  return detail::combine_grid_scores(grid_scores, choice, [](const Tensor& a, const Tensor& b) { return a + b; });
}

/// The probabilities of each row's experts: for each the product of the grid's probabilities at its coordinates.
/// @return as `sum_grid_scores`
[[nodiscard]] inline Tensor multiply_grid_scores(const std::vector<Tensor>& grid_probs, const ExpertChoice& choice) {
  return detail::combine_grid_scores(grid_probs, choice, [](const Tensor& a, const Tensor& b) { return a * b; });
}

/// The weight of the output at each place of the plan: the softmax of a row's logits over the experts that answered;
/// zero in rows with fewer than `needed` answers, or none.
/// @param logits  float[rows, k] of `sum_grid_scores`
/// @return float[places]
[[nodiscard]] inline Tensor place_weights(const Tensor& logits, const MixturePass& pass, std::size_t needed) {
  const detail::AnswerMask mask = detail::answer_mask(pass, logits.size(1), needed);
  const at::Device device = logits.device();
  const Tensor poor = mask.poor.to(device);
  Tensor weights = logits.masked_fill(mask.dead.to(device), -std::numeric_limits<double>::infinity());
  if (mask.any_poor) weights = weights.masked_fill(poor, 0);  // the softmax of nothing would be NaN
  weights = weights.softmax(-1);
  if (mask.any_poor) weights = weights.masked_fill(poor, 0);
  return weights.flatten().index_select(0, mask.entry.to(device));
}

/// The weight of the output at each place of the plan: its expert's own probability, whoever else answered; zero where
/// no answer came and in rows with fewer than `needed` answers.
/// @param probabilities  float[rows, k] of `multiply_grid_scores`
/// @return float[places]
[[nodiscard]] inline Tensor place_probabilities(const Tensor& probabilities, const MixturePass& pass,
                                                std::size_t needed) {
  const detail::AnswerMask mask = detail::answer_mask(pass, probabilities.size(1), needed);
  const at::Device device = probabilities.device();
  const Tensor nothing = mask.dead.logical_or(mask.poor).to(device);
  return probabilities.masked_fill(nothing, 0).flatten().index_select(0, mask.entry.to(device));
}

/// By how much the gradients of the inputs grow where experts that answered forward miss the backward pass: for each
/// place the weight of all that answered forward over the weight of those that answered now, as if the average had been
/// taken over these. Undefined when nobody is missing.
/// @param weights  float[places] of the forward pass
/// @return float[places]
[[nodiscard]] inline Tensor missing_factors(const MixturePass& pass, const std::vector<bool>& answered,
                                            const Tensor& weights) {
  if (answered == pass.alive) return {};
  const Tensor values = weights.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* const weight = values.data_ptr<float>();
  std::vector<float> had(pass.choice.rows());
  std::vector<float> has(pass.choice.rows());
  for (std::size_t call = 0; call < pass.plan.calls(); ++call) {
    for (std::uint32_t place = pass.plan.offsets[call]; place < pass.plan.offsets[call + 1]; ++place) {
      if (pass.alive[call]) had[pass.plan.rows[place]] += weight[place];
      if (answered[call]) has[pass.plan.rows[place]] += weight[place];
    }
  }
  Tensor factors = at::ones(values.sizes(), at::kFloat);
  for (std::size_t place = 0; place < pass.plan.rows.size(); ++place) {
    const std::uint32_t row = pass.plan.rows[place];
    if (has[row] > 0) factors.data_ptr<float>()[place] = had[row] / has[row];
  }
  return factors;
}

/// [places, ...] times float[places].
[[nodiscard]] inline Tensor scale_places(const Tensor& tensor, const Tensor& factors) {
  std::vector<std::int64_t> broadcast(static_cast<std::size_t>(tensor.dim()), 1);
  broadcast[0] = -1;
  return tensor * factors.to(tensor.device(), tensor.scalar_type()).view(broadcast);
}

namespace detail {

/// `add_up` for float32 on the CPU as one node of the graph: no product of outputs and weights has storage of its own,
/// which would be as large as the outputs, once forward and twice backward.
class WeightedSum : public torch::autograd::Function<WeightedSum> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& outputs, const Tensor& weights,
                        const Tensor& rows, const std::vector<std::int64_t>& shape) {
    context->save_for_backward({outputs, weights, rows});
    Tensor sum = at::zeros(shape, outputs.options());
    const Places places(outputs, weights, rows);
    const float* from = places.outputs.data_ptr<float>();
    float* const to = sum.data_ptr<float>();
    for (std::int64_t place = 0; place < places.count; ++place, from += places.width) {
      const float weight = places.weight[place];
      float* const row = to + places.row[place] * places.width;
      for (std::int64_t i = 0; i < places.width; ++i) row[i] += weight * from[i];
    }
    return sum;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    if (at::GradMode::is_enabled()) {  // it is to be differentiated again
      const Tensor spread = gradients[0].index_select(0, saved[2]);
      return {scale_places(spread, saved[1]), (spread * saved[0]).unsqueeze(-1).flatten(1).sum(1), Tensor(), Tensor()};
    }
    const Places places(saved[0], saved[1], saved[2]);
    const Tensor gradient = gradients[0].contiguous();
    Tensor of_outputs = at::empty_like(places.outputs);
    const float* const of_sum = gradient.data_ptr<float>();
    const auto for_each = [&](auto&& with) {  // with(place, its row's gradient, where that of its output goes)
      float* to = of_outputs.data_ptr<float>();
      for (std::int64_t place = 0; place < places.count; ++place, to += places.width) {
        with(place, of_sum + places.row[place] * places.width, to);
      }
    };
    const float* const outputs = places.outputs.data_ptr<float>();
    for_each([&](std::int64_t place, const float* row, float* to) {
      const float* const output = outputs + place * places.width;
      for (std::int64_t i = 0; i < places.width; ++i) to[i] = row[i] * output[i];
    });
    // rounds as local autograd does
    const Tensor of_weights = of_outputs.view({places.count, places.width}).sum(1);
    for_each([&](std::int64_t place, const float* row, float* to) {
      const float weight = places.weight[place];
      for (std::int64_t i = 0; i < places.width; ++i) to[i] = weight * row[i];
    });
    return {of_outputs, of_weights, Tensor(), Tensor()};
  }

 private:
  struct Places {
    Places(const Tensor& of_outputs, const Tensor& of_weights, const Tensor& of_rows)
        : outputs(of_outputs.contiguous()), weights(of_weights.contiguous()), rows(of_rows.contiguous()) {}
    Tensor outputs, weights, rows;
    std::int64_t count = rows.numel();
    std::int64_t width = count == 0 ? 0 : outputs.numel() / count;
    const float* weight = weights.data_ptr<float>();
    const std::int64_t* row = rows.data_ptr<std::int64_t>();
  };
};

}  // namespace detail

/// Adds up for each row its experts' outputs, each times its weight.
/// @param outputs  of one kind, [places, ...]
/// @param weights  float[places]
[[nodiscard]] inline Tensor add_up(const Tensor& outputs, const Tensor& weights, const MixturePass& pass) {
  std::vector<std::int64_t> shape = outputs.sizes().vec();
  shape[0] = static_cast<std::int64_t>(pass.choice.rows());
  const bool plain = outputs.is_cpu() && weights.is_cpu() && outputs.scalar_type() == at::kFloat &&
                     weights.scalar_type() == at::kFloat;
  if (plain) return detail::WeightedSum::apply(outputs, weights, pass.rows, shape);
  return at::zeros(shape, outputs.options())
      .index_add(0, pass.rows.to(outputs.device()), scale_places(outputs, weights));
}

}  // namespace skep::inline v0::moe

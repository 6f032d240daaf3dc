// The arithmetic of a mixture: what its experts' scores are and how their outputs are averaged.
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

/// The logits of each row's experts: for each the sum of the grid's scores at its coordinates.
/// @param grid_scores  for each dimension float[rows, size]
/// @return float[rows, k], k the longest list of the batch, at least 1; shorter ones are filled with minus infinity
[[nodiscard]] inline Tensor sum_grid_scores(const std::vector<Tensor>& grid_scores, const ExpertChoice& choice) {
  const std::size_t rows = choice.rows();
  const std::size_t dimensions = grid_scores.size();
  std::size_t width = 1;
  for (std::size_t row = 0; row < rows; ++row) width = std::max(width, choice.row(row).size());
  std::vector<std::vector<Coordinate>> coordinates;  // of each expert
  for (const auto& expert : choice.experts) {
    const auto all = coordinates_of(expert.uid);
    coordinates.emplace_back(all->end() - static_cast<std::ptrdiff_t>(dimensions), all->end());
  }

  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(width)};
  Tensor padding = at::ones(shape, at::kBool);
  std::vector<Tensor> index;  // for each dimension, the coordinate to look up
  std::vector<std::int64_t*> at;
  for (std::size_t d = 0; d < dimensions; ++d) {
    index.push_back(at::zeros(shape, at::kLong));
    at.push_back(index.back().data_ptr<std::int64_t>());
  }
  for (std::size_t row = 0; row < rows; ++row) {
    const auto experts = choice.row(row);
    for (std::size_t k = 0; k < experts.size(); ++k) {
      padding.data_ptr<bool>()[row * width + k] = false;
      for (std::size_t d = 0; d < dimensions; ++d) at[d][row * width + k] = coordinates[experts[k]][d];
    }
  }
  const at::Device device = grid_scores.front().device();
  Tensor scores = grid_scores[0].gather(1, index[0].to(device));
  for (std::size_t d = 1; d < dimensions; ++d) scores = scores + grid_scores[d].gather(1, index[d].to(device));
  return scores.masked_fill(padding.to(device), -std::numeric_limits<double>::infinity());
}

/// The weight of the output at each place of the plan: the softmax of a row's logits over the experts that answered;
/// zero in rows with fewer than `needed` answers, or none.
/// @param logits  float[rows, k] of `sum_grid_scores`
/// @return float[places]
[[nodiscard]] inline Tensor place_weights(const Tensor& logits, const MixturePass& pass, std::size_t needed) {
  const auto width = static_cast<std::size_t>(logits.size(1));
  Tensor dead = at::ones(logits.sizes(), at::kBool);
  Tensor empty = at::zeros({logits.size(0), 1}, at::kBool);
  Tensor entry = at::empty(pass.rows.sizes(), at::kLong);  // where the weight of each place stands in [rows, k]
  std::vector<bool> alive(pass.choice.experts.size());
  for (std::size_t i = 0; i < pass.plan.calls(); ++i) alive[pass.plan.experts[i]] = pass.alive[i];
  bool any_empty = false;
  for (std::size_t row = 0; row < pass.choice.rows(); ++row) {
    const bool poor = pass.answers[row] < std::max<std::size_t>(needed, 1);
    empty.data_ptr<bool>()[row] = poor;
    any_empty = any_empty || poor;
    const auto experts = pass.choice.row(row);
    for (std::size_t k = 0; k < experts.size(); ++k) {
      const std::size_t at = row * width + k;
      dead.data_ptr<bool>()[at] = !alive[experts[k]];
      entry.data_ptr<std::int64_t>()[pass.plan.places[pass.choice.offsets[row] + k]] = static_cast<std::int64_t>(at);
    }
  }
  const at::Device device = logits.device();
  empty = empty.to(device);
  Tensor weights = logits.masked_fill(dead.to(device), -std::numeric_limits<double>::infinity());
  if (any_empty) weights = weights.masked_fill(empty, 0);  // the softmax of nothing would be NaN
  weights = weights.softmax(-1);
  if (any_empty) weights = weights.masked_fill(empty, 0);
  return weights.flatten().index_select(0, entry.to(device));
}

/// Adds up for each row its experts' outputs, each times its weight.
/// @param outputs       of one kind, [places, ...]
/// @param weights       float[places]
/// @param row_of_place  int64[places]
[[nodiscard]] inline Tensor add_up(const Tensor& outputs, const Tensor& weights, const Tensor& row_of_place,
                                   std::int64_t rows) {
  std::vector<std::int64_t> broadcast(static_cast<std::size_t>(outputs.dim()), 1);
  broadcast[0] = -1;
  std::vector<std::int64_t> shape = outputs.sizes().vec();
  shape[0] = rows;
  const Tensor weighted = outputs * weights.to(outputs.scalar_type()).view(broadcast);
  return at::zeros(shape, outputs.options()).index_add(0, row_of_place, weighted);
}

}  // namespace skep::inline v0::moe

// How a switch mixture spreads its load: noise and dropout of the gate, who was used how much, the balancing loss.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// A copy of the gate's input with every element multiplied by noise, uniform in [1 - eps, 1 + eps]
/// (Switch Transformers, section 2.2).
[[nodiscard]] inline Tensor jitter(const Tensor& input, double eps) {
  return input * at::empty_like(input).uniform_(1 - eps, 1 + eps);
}

/// Scores with some coordinates dropped, minus infinity: each coordinate of each dimension is kept with probability
/// `keep`, the same for the whole batch. Of every dimension at least one coordinate is kept.
/// @param grid_scores  for each dimension float[rows, size]
[[nodiscard]] inline std::vector<Tensor> drop_coordinates(const std::vector<Tensor>& grid_scores, double keep) {
  std::vector<Tensor> kept;
  for (const Tensor& scores : grid_scores) {
    const Tensor luck = at::rand({scores.size(1)}, scores.options().requires_grad(false));
    const Tensor dropped = (luck >= keep).logical_and(luck > luck.min());
    kept.push_back(scores.masked_fill(dropped, -std::numeric_limits<double>::infinity()));
  }
  return kept;
}

/// For each dimension the fractions of the batch's answers that came from each coordinate, side by side; undefined
/// when nobody answered.
/// @return float[sum(grid)]
[[nodiscard]] inline Tensor batch_utilization(const MixturePass& pass, const std::vector<std::int64_t>& grid) {
  std::vector<Tensor> counts;
  for (const std::int64_t size : grid) counts.push_back(at::zeros({size}, at::kFloat));
  std::size_t answers = 0;
  for (std::size_t call = 0; call < pass.plan.calls(); ++call) {
    if (!pass.alive[call]) continue;
    const auto coordinates = coordinates_of(pass.expert(call).uid);
    const std::size_t rows = pass.plan.rows_of(call).size();
    const std::size_t skipped = coordinates->size() - grid.size();  // those that belong to the prefix
    for (std::size_t d = 0; d < grid.size(); ++d) {
      counts[d].data_ptr<float>()[(*coordinates)[skipped + d]] += static_cast<float>(rows);
    }
    answers += rows;
  }
  if (answers == 0) return {};
  return at::cat(counts) / static_cast<double>(answers);
}

/// Low when the probability mass avoids the coordinates that are used most: the sum over dimensions of
/// size^2 * mean(mean_over_batch(softmax) * utilization), 1 for each dimension that is used evenly (Switch
/// Transformers, section 2.2, for each dimension of a grid).
/// @param grid_softmax  for each dimension float[rows, size]
/// @param utilization   float[sum(grid)], the dimensions side by side
[[nodiscard]] inline Tensor balancing_loss(const std::vector<Tensor>& grid_softmax, const Tensor& utilization) {
  Tensor loss;
  std::int64_t begin = 0;
  for (const Tensor& probabilities : grid_softmax) {
    const std::int64_t size = probabilities.size(1);
    const Tensor used = utilization.narrow(0, begin, size).to(probabilities.device(), probabilities.scalar_type());
    const Tensor one = (probabilities.mean(0) * used).mean() * static_cast<double>(size * size);
    loss = loss.defined() ? loss + one : one;
    begin += size;
  }
  return loss;
}

}  // namespace skep::inline v0::moe

// Trainer: turns the gradients of an expert's parameters into steps of its optimizer.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/server/backend_options.hpp"
#include "skep/moe/server/expert_state.hpp"
#include "skep/moe/server/finite.hpp"
#include "skep/moe/server/optimizer_state.hpp"

namespace skep::inline v0::moe {

/// A sum of gradients that never writes into a gradient which somebody else may hold: autograd gives one tensor for
/// several parameters, and views of what the caller sent.
class GradientSum {
 public:
  void add(std::span<const Tensor> gradients) {
    if (sums_.empty()) {
      sums_.assign(gradients.begin(), gradients.end());
      owned_.assign(gradients.size(), false);
      return;
    }
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].defined()) continue;
      if (!sums_[i].defined()) {
        sums_[i] = gradients[i];
      } else if (owned_[i]) {
        sums_[i].add_(gradients[i]);
      } else {
        sums_[i] = sums_[i] + gradients[i];
        owned_[i] = true;
      }
    }
  }
  [[nodiscard]] std::vector<Tensor> take() {
    owned_.clear();
    return std::exchange(sums_, {});
  }

 private:
  std::vector<Tensor> sums_;
  std::vector<bool> owned_;
};

/// The parameters of one expert, their optimizer and its schedule. Without an optimizer gradients are dropped.
/// *Threads:* one at a time; the counts from any.
class Trainer {
 public:
  /// Throws errc::invalid_argument when the options do not fit.
  Trainer(std::vector<TrainedParameter> parameters, const BackendOptions& options)
      : parameters_(std::move(parameters)),
        optimizer_(make_optimizer(parameters_, options.optimizer)),
        schedule_(options.schedule),
        clip_grad_norm_(options.clip_grad_norm),
        accumulate_samples_(static_cast<std::int64_t>(options.accumulate_samples)),
        reduction_(options.gradient_reduction) {
    check(schedule_);
    if (clip_grad_norm_ && !(*clip_grad_norm_ > 0)) {
      throw Error(errc::invalid_argument, "clip_grad_norm must be above 0");
    }
    if (!optimizer_ && !parameters_.empty() && (clip_grad_norm_ || has_schedule())) {
      throw Error(errc::invalid_argument, "a schedule and clip_grad_norm need an optimizer");
    }
    if (optimizer_ && has_schedule()) {
      for (const auto& group : optimizer_->param_groups()) initial_rates_.push_back(group.options().get_lr());
      set_rates();
    }
  }

  /// Whether gradients of the parameters are of use.
  [[nodiscard]] bool trains() const noexcept { return optimizer_ != nullptr; }
  [[nodiscard]] std::span<const TrainedParameter> parameters() const noexcept { return parameters_; }
  [[nodiscard]] torch::optim::Optimizer* optimizer() noexcept { return optimizer_.get(); }
  [[nodiscard]] std::uint64_t updates() const noexcept { return updates_.load(std::memory_order_relaxed); }
  /// How many batches of gradients were refused because of NaN or infinity.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }
  void count_refused() noexcept { refused_.fetch_add(1, std::memory_order_relaxed); }

  /// Takes the gradients of the parameters (`grad()`), which no later call sees again, and makes a step with them, or,
  /// with `accumulate_samples`, when enough samples have come together. Throws errc::invalid_argument, and changes
  /// nothing, when one is not finite; when only the sum of what came together is not, all of that is dropped.
  void on_backward(std::int64_t samples) {
    const at::NoGradGuard no_grad;
    const std::vector<Tensor> gradients = take_gradients();
    if (!optimizer_) return;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (all_finite(gradients[i])) continue;
      count_refused();
      throw Error(errc::invalid_argument, "the gradient of \"" + parameters_[i].name + "\" is not finite");
    }
    const bool joined = pending_samples_ > 0;
    pending_.add(gradients);
    pending_samples_ += samples;
    if (pending_samples_ >= accumulate_samples_) step(joined);
  }

  /// Writes what the optimizer and the schedule know.
  void save(ExpertState& state) const {
    state.updates = updates();
    if (!optimizer_) return;
    state.optimizer = state_of(*optimizer_, parameters_);
    if (!has_schedule()) return;
    state.schedule_step = schedule_step_;
    state.optimizer->options.insert_or_assign("initial_lr", initial_rates_.front());
  }
  /// Checks that a state fits. @return what loads it, and forgets gradients that wait for a step. Throws
  /// errc::invalid_argument with a sentence, and changes nothing, when it does not fit.
  [[nodiscard]] std::function<void()> prepare_load(const ExpertState& state) {
    std::function<void()> load_optimizer = [] {};
    std::optional<double> initial_rate;
    if (optimizer_ && state.optimizer) {
      load_optimizer = moe::prepare_load(*optimizer_, parameters_, *state.optimizer);
      const auto& options = state.optimizer->options;
      auto rate = options.find("initial_lr");
      if (rate == options.end()) rate = options.find("lr");
      if (rate != options.end()) detail::read_option(rate->second, rate->first, initial_rate.emplace());
    }
    return [this, load_optimizer = std::move(load_optimizer), initial_rate, step = state.schedule_step.value_or(0),
            updates = state.updates] {
      load_optimizer();
      updates_.store(updates, std::memory_order_relaxed);
      (void)pending_.take();
      pending_samples_ = 0;
      if (!optimizer_ || !has_schedule()) return;
      if (initial_rate) initial_rates_.front() = *initial_rate;
      schedule_step_ = step;
      set_rates();
    };
  }

 private:
  [[nodiscard]] static std::unique_ptr<torch::optim::Optimizer> make_optimizer(
      std::span<const TrainedParameter> parameters, const OptimizerFactory& factory) {
    if (!factory || parameters.empty()) return nullptr;
    std::vector<Tensor> tensors;
    for (const TrainedParameter& parameter : parameters) tensors.push_back(parameter.tensor);
    return factory(std::move(tensors));
  }
  [[nodiscard]] bool has_schedule() const noexcept { return schedule_.kind != LearningRateSchedule::Kind::none; }

  [[nodiscard]] std::vector<Tensor> take_gradients() {
    std::vector<Tensor> gradients;
    gradients.reserve(parameters_.size());
    for (TrainedParameter& parameter : parameters_) {
      gradients.push_back(std::exchange(parameter.tensor.mutable_grad(), Tensor()));
    }
    return gradients;
  }

  /// @param joined  the gradients are a sum of several, of which each was finite
  void step(bool joined) {
    std::vector<Tensor> gradients = pending_.take();
    const auto samples = static_cast<double>(std::exchange(pending_samples_, 0));
    for (std::size_t i = 0; joined && i < gradients.size(); ++i) {
      if (all_finite(gradients[i])) continue;
      count_refused();
      throw Error(errc::invalid_argument, "the accumulated gradient of \"" + parameters_[i].name +
                                              "\" is not finite; all that waited for this step are dropped");
    }
    double scale = reduction_ == GradientReduction::mean ? 1 / samples : 1;
    if (clip_grad_norm_) scale *= std::min(1.0, *clip_grad_norm_ / (scale * global_norm(gradients) + 1e-6));
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (scale != 1 && gradients[i].defined()) gradients[i] = gradients[i] * scale;
      parameters_[i].tensor.mutable_grad() = std::move(gradients[i]);
    }
    try {
      optimizer_->step();
    } catch (...) {
      (void)take_gradients();
      throw;
    }
    (void)take_gradients();
    updates_.fetch_add(1, std::memory_order_relaxed);
    ++schedule_step_;
    if (has_schedule()) set_rates();
  }
  /// Of all gradients together; those that are too long for their own type are measured in float64.
  [[nodiscard]] static double global_norm(std::span<const Tensor> gradients) {
    double squares = 0;
    for (const Tensor& gradient : gradients) {
      if (!gradient.defined() || gradient.numel() == 0) continue;
      double norm = gradient.norm().item<double>();
      if (!std::isfinite(norm)) norm = gradient.to(at::kDouble).norm().item<double>();
      squares += norm * norm;
    }
    return std::sqrt(squares);
  }
  void set_rates() {
    for (std::size_t i = 0; i < initial_rates_.size(); ++i) {
      optimizer_->param_groups()[i].options().set_lr(initial_rates_[i] * schedule_.factor(schedule_step_));
    }
  }

  std::vector<TrainedParameter> parameters_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  LearningRateSchedule schedule_;
  std::optional<double> clip_grad_norm_;
  std::int64_t accumulate_samples_;
  GradientReduction reduction_;
  std::vector<double> initial_rates_;  // of each group of the optimizer; empty without a schedule
  std::int64_t schedule_step_ = 0;
  GradientSum pending_;
  std::int64_t pending_samples_ = 0;
  std::atomic<std::uint64_t> updates_ = 0;
  std::atomic<std::uint64_t> refused_ = 0;
};

}  // namespace skep::inline v0::moe

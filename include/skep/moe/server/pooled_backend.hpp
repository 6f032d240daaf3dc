// PooledBackend: an expert behind its two pools; what all backends share, whatever computes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/moe/admission.hpp"
#include "skep/moe/pool_options.hpp"
#include "skep/moe/server/backend_options.hpp"
#include "skep/moe/server/expert_backend.hpp"
#include "skep/moe/server/expert_core.hpp"
#include "skep/moe/server/runtime.hpp"

namespace skep::inline v0::moe {

/// An ExpertCore and the pools that feed it.
class PooledBackend : public ExpertBackend {
 public:
  /// Throws errc::invalid_argument when the options do not fit.
  PooledBackend(std::string uid, ComputedModule module, const BackendOptions& options)
      : core_(std::make_shared<ExpertCore>(std::move(uid), std::move(module), options)),
        own_runtime_(options.scheduler ? nullptr : std::make_unique<Runtime>()),
        forward_check_(core_->inputs(), {}, largest_task(options)),
        backward_check_(core_->inputs(), core_->outputs(), largest_task(options)),
        forward_pool_(
            make_pool([core = core_](const TensorBatch& batch) { return TensorBatch{core->forward(batch.tensors)}; },
                      "_forward", Oversize::split, options)),
        backward_pool_(
            make_pool([core = core_](const TensorBatch& batch) { return TensorBatch{core->backward(batch.tensors)}; },
                      "_backward", Oversize::whole, options)) {
    if (own_runtime_) own_runtime_->start();
  }

  [[nodiscard]] const std::string& name() const noexcept override { return core_->uid(); }
  [[nodiscard]] const std::string& class_name() const noexcept override { return core_->class_name(); }
  [[nodiscard]] const ExpertSchema& schema() const noexcept override { return core_->schema(); }
  [[nodiscard]] std::int64_t parameter_count() const noexcept override { return core_->parameter_count(); }
  [[nodiscard]] std::uint64_t update_count() const noexcept override { return core_->trainer().updates(); }
  [[nodiscard]] std::uint64_t refused_gradients() const noexcept override { return core_->trainer().refused(); }

  [[nodiscard]] std::vector<Tensor> forward(std::vector<Tensor> inputs) override { return core_->forward(inputs); }
  [[nodiscard]] std::vector<Tensor> backward(std::vector<Tensor> inputs_and_gradients) override {
    return core_->backward(inputs_and_gradients);
  }
  /// Trains for one batch of so many samples with the gradients that are in the parameters' `grad()`, and clears them;
  /// `backward` has done so already. Throws errc::invalid_argument when one is not finite.
  void on_backward(std::int64_t batch_size) { core_->on_backward(batch_size); }

  [[nodiscard]] ExpertState state() override { return core_->state(); }
  void load_state(const ExpertState& state) override { core_->load_state(state); }

  [[nodiscard]] ExpertPool& forward_pool() noexcept override { return forward_pool_; }
  [[nodiscard]] ExpertPool& backward_pool() noexcept override { return backward_pool_; }
  [[nodiscard]] const RequestCheck& forward_check() const noexcept override { return forward_check_; }
  [[nodiscard]] const RequestCheck& backward_check() const noexcept override { return backward_check_; }

 protected:
  [[nodiscard]] torch::optim::Optimizer* optimizer_or_null() noexcept { return core_->trainer().optimizer(); }

 private:
  [[nodiscard]] static TaskPoolOptions pool_options(std::string name, const BackendOptions& options) {
    return {.max_batch_size = options.max_batch_size,
            .min_batch_size = options.min_batch_size,
            .timeout = options.batch_timeout,
            .max_queued = options.max_queued,
            .name = std::move(name),
            .max_task_size = options.max_task_size};
  }
  [[nodiscard]] static std::int64_t largest_task(const BackendOptions& options) {
    return static_cast<std::int64_t>(max_task_size(pool_options({}, options)));
  }
  /// @param oversize  a large forward is split; a large backward makes one step, so it stays whole
  [[nodiscard]] ExpertPool make_pool(std::function<TensorBatch(TensorBatch)> compute, std::string_view suffix,
                                     Oversize oversize, const BackendOptions& options) const {
    TaskPoolOptions pool = pool_options(core_->uid() + std::string(suffix), options);
    pool.oversize = oversize;
    return ExpertPool(std::move(compute), std::move(pool),
                      own_runtime_ ? own_runtime_->scheduler() : options.scheduler);
  }

  std::shared_ptr<ExpertCore> core_;
  std::unique_ptr<Runtime> own_runtime_;
  RequestCheck forward_check_;
  RequestCheck backward_check_;
  ExpertPool forward_pool_;
  ExpertPool backward_pool_;
};

}  // namespace skep::inline v0::moe

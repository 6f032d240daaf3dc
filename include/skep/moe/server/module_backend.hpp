// ModuleBackend: any torch module served as an expert; forward without gradients, backward with an optimizer's step.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/expert_backend.hpp"
#include "skep/moe/server/module_core.hpp"
#include "skep/moe/server/runtime.hpp"
#include "skep/moe/tensor/signature.hpp"

namespace skep::inline v0::moe {

/// Serves a module of type M, which `Expert<M>` describes or whose samples are given.
///
/// Forward runs without gradients, in the mode (train or eval) in which the module is. Backward computes the outputs
/// anew and makes one step of the optimizer per batch, however many requests were joined into it; the gradients are
/// sums over the batch as sent. Without an optimizer only the gradients of the inputs are computed.
template <class M>
class ModuleBackend final : public ExpertBackend {
  static_assert(ExpertModule<M>, "skep: an expert's forward takes and returns tensors or tuples of tensors");
  using Core = detail::ModuleCore<M>;

 public:
  /// An expert made by its description.
  explicit ModuleBackend(std::string uid, const BackendOptions& options = {})
    requires DescribedExpert<M>
      : ModuleBackend(std::move(uid), Expert<M>::make(options.expert), Expert<M>::sample(options.expert), options) {}
  /// @param sample  one sample of each input, without the batch dimension: a tensor or a tuple
  /// Throws errc::invalid_argument when the module cannot compute a batch of such samples.
  template <TensorValue Sample>
  ModuleBackend(std::string uid, M module, const Sample& sample, const BackendOptions& options = {})
      : core_(std::make_shared<Core>(std::move(uid), std::move(module), sample, options)),
        own_runtime_(options.scheduler ? nullptr : std::make_unique<Runtime>()),
        forward_check_(core_->inputs(), {}, static_cast<std::int64_t>(options.max_batch_size)),
        backward_check_(core_->inputs(), core_->outputs(), static_cast<std::int64_t>(options.max_batch_size)),
        forward_pool_(
            make_pool([core = core_](const TensorBatch& batch) { return TensorBatch{core->forward(batch.tensors)}; },
                      "_forward", options)),
        backward_pool_(
            make_pool([core = core_](const TensorBatch& batch) { return TensorBatch{core->backward(batch.tensors)}; },
                      "_backward", options)) {
    if (own_runtime_) own_runtime_->start();
  }

  [[nodiscard]] const std::string& name() const noexcept override { return core_->uid(); }
  [[nodiscard]] const std::string& class_name() const noexcept override { return core_->class_name(); }
  [[nodiscard]] const ExpertSchema& schema() const noexcept override { return core_->schema(); }
  [[nodiscard]] std::int64_t parameter_count() const noexcept override { return core_->parameter_count(); }
  [[nodiscard]] std::uint64_t update_count() const noexcept override { return core_->update_count(); }
  /// The module itself; not while requests are computed.
  [[nodiscard]] M& module() noexcept { return core_->module(); }

  [[nodiscard]] std::vector<Tensor> forward(std::vector<Tensor> inputs) override { return core_->forward(inputs); }
  [[nodiscard]] std::vector<Tensor> backward(std::vector<Tensor> inputs_and_gradients) override {
    return core_->backward(inputs_and_gradients);
  }

  [[nodiscard]] ExpertPool& forward_pool() noexcept override { return forward_pool_; }
  [[nodiscard]] ExpertPool& backward_pool() noexcept override { return backward_pool_; }
  [[nodiscard]] const RequestCheck& forward_check() const noexcept override { return forward_check_; }
  [[nodiscard]] const RequestCheck& backward_check() const noexcept override { return backward_check_; }

 private:
  [[nodiscard]] ExpertPool make_pool(std::function<TensorBatch(TensorBatch)> compute, std::string_view suffix,
                                     const BackendOptions& options) const {
    TaskPoolOptions pool{options.max_batch_size, options.min_batch_size, options.batch_timeout, options.max_queued,
                         core_->uid() + std::string(suffix)};
    return ExpertPool(std::move(compute), std::move(pool),
                      own_runtime_ ? own_runtime_->scheduler() : options.scheduler);
  }

  std::shared_ptr<Core> core_;
  std::unique_ptr<Runtime> own_runtime_;
  RequestCheck forward_check_;
  RequestCheck backward_check_;
  ExpertPool forward_pool_;
  ExpertPool backward_pool_;
};

}  // namespace skep::inline v0::moe

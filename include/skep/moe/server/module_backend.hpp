// ModuleBackend: any torch module served as an expert; forward without gradients, backward with an optimizer's step.
#pragma once

#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/optimizers.hpp"
#include "skep/moe/server/pooled_backend.hpp"
#include "skep/moe/server/typed_module.hpp"

namespace skep::inline v0::moe {

/// Serves a module of type M, which `Expert<M>` describes or whose samples are given.
///
/// Forward runs without gradients, in the mode (train or eval) in which the module is. Backward computes the outputs
/// anew and makes one step of the optimizer per batch, however many requests were joined into it; the gradients are
/// sums over the batch as sent, unless the options say otherwise. Without an optimizer only the gradients of the inputs
/// are computed. A backward that fails leaves parameters, buffers, gradients and random numbers as they were.
///
/// With an Optimizer the options' factory is not used; `optimizer()` has its type:
///
///     ModuleBackend<Gated, torch::optim::SGD> backend("gated.0", {}, torch::optim::SGDOptions(0.1));
template <class M, class Optimizer = torch::optim::Optimizer>
class ModuleBackend final : public PooledBackend {
  static_assert(ExpertModule<M>, "skep: an expert's forward takes and returns tensors or tuples of tensors");
  static_assert(std::derived_from<Optimizer, torch::optim::Optimizer>,
                "skep: the optimizer of an expert derives from torch::optim::Optimizer");
  static constexpr bool is_fixed = !std::same_as<Optimizer, torch::optim::Optimizer>;

 public:
  /// An expert made by its description.
  template <class Described = M>
    requires(!is_fixed)
  explicit ModuleBackend(std::string uid, const BackendOptions& options = {})
      : ModuleBackend(std::move(uid), made<Described>(options.expert), Expert<Described>::sample(options.expert),
                      options) {}
  template <std::copy_constructible... OptimizerOptions>
    requires(is_fixed)
  ModuleBackend(std::string uid, const BackendOptions& options, OptimizerOptions... optimizer)
      : ModuleBackend(std::move(uid), made<M>(options.expert), Expert<M>::sample(options.expert), options,
                      std::move(optimizer)...) {}

  /// @param sample  one sample of each input, without the batch dimension: a tensor or a tuple
  /// Throws errc::invalid_argument when the module cannot compute a batch of such samples.
  template <ModuleSample Sample>
    requires(!is_fixed)
  ModuleBackend(std::string uid, M module, const Sample& sample, const BackendOptions& options = {})
      : PooledBackend(uid, detail::TypedModule<M>::describe(uid, module, sample, options.compression), options),
        module_(std::move(module)) {}
  template <ModuleSample Sample, std::copy_constructible... OptimizerOptions>
    requires(is_fixed)
  ModuleBackend(std::string uid, M module, const Sample& sample, BackendOptions options, OptimizerOptions... optimizer)
      : PooledBackend(uid, detail::TypedModule<M>::describe(uid, module, sample, options.compression),
                      with_optimizer(std::move(options), std::move(optimizer)...)),
        module_(std::move(module)) {}

  /// The module itself; not while requests are computed.
  [[nodiscard]] M& module() noexcept { return module_; }
  /// Its optimizer; not while requests are computed. Precondition: there are parameters to be trained.
  [[nodiscard]] Optimizer& optimizer() noexcept { return static_cast<Optimizer&>(*optimizer_or_null()); }

 private:
  template <class Described>
  [[nodiscard]] static M made(const ExpertOptions& options) {
    static_assert(DescribedExpert<Described>,
                  "skep: specialise skep::moe::Expert<M> with name, make(options) and sample(options)");
    return Expert<Described>::make(options);
  }
  template <class... OptimizerOptions>
  [[nodiscard]] static BackendOptions with_optimizer(BackendOptions options, OptimizerOptions... optimizer) {
    options.optimizer = make_optimizer<Optimizer>(std::move(optimizer)...);
    return options;
  }

  M module_;
};

}  // namespace skep::inline v0::moe

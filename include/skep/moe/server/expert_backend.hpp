// ExpertBackend: an expert as its server sees it, whatever module is behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/moe/server/expert_state.hpp"
#include "skep/moe/server/tensor_batch.hpp"
#include "skep/moe/task_pool.hpp"
#include "skep/moe/tensor/request_check.hpp"
#include "skep/moe/tensor/schema.hpp"

namespace skep::inline v0::moe {

/// A pool of an expert: erased, since which module computes is chosen at run time, once per batch.
using ExpertPool = TaskPool<std::function<TensorBatch(TensorBatch)>>;

/// One expert. Its requests go through its two pools; `forward` and `backward` are what the pools compute, and may be
/// called directly by whoever needs no server.
/// *Threads:* `forward` and `backward` from one thread at a time; all others from any.
class ExpertBackend {
 public:
  virtual ~ExpertBackend() = default;

  [[nodiscard]] virtual const std::string& name() const noexcept = 0;        ///< the uid
  [[nodiscard]] virtual const std::string& class_name() const noexcept = 0;  ///< of the module
  [[nodiscard]] virtual const ExpertSchema& schema() const noexcept = 0;
  /// The trainable ones.
  [[nodiscard]] virtual std::int64_t parameter_count() const noexcept = 0;
  /// How many steps the optimizer has made.
  [[nodiscard]] virtual std::uint64_t update_count() const noexcept = 0;
  /// How many backward batches were refused because a gradient was NaN or infinite.
  [[nodiscard]] virtual std::uint64_t refused_gradients() const noexcept = 0;

  /// Computes flat inputs to flat outputs, without gradients.
  [[nodiscard]] virtual std::vector<Tensor> forward(std::vector<Tensor> inputs) = 0;
  /// Takes flat inputs and the gradients of the flat outputs behind them, computes the outputs anew, makes one step of
  /// the optimizer, and gives the gradient of each input, zeros where there is none.
  [[nodiscard]] virtual std::vector<Tensor> backward(std::vector<Tensor> inputs_and_gradients) = 0;

  /// A copy of all that it has learned, taken between two batches; training waits for the copy only. Gradients that
  /// wait for more samples are not part of it.
  [[nodiscard]] virtual ExpertState state() = 0;
  /// Goes on from a state, between two batches. Where the state has no optimizer, as in Hivemind a warning is logged
  /// and the own one goes on. Throws errc::invalid_argument with one sentence, and changes nothing, when a name, shape
  /// or type does not fit.
  virtual void load_state(const ExpertState& state) = 0;

  [[nodiscard]] virtual ExpertPool& forward_pool() noexcept = 0;
  [[nodiscard]] virtual ExpertPool& backward_pool() noexcept = 0;
  [[nodiscard]] virtual const RequestCheck& forward_check() const noexcept = 0;
  [[nodiscard]] virtual const RequestCheck& backward_check() const noexcept = 0;

  /// What rpc_info answers.
  [[nodiscard]] Bytes get_info() const { return schema().encode(); }
  /// Both pools, forward first.
  [[nodiscard]] std::vector<std::reference_wrapper<ExpertPool>> get_pools() {
    return {forward_pool(), backward_pool()};
  }
};

}  // namespace skep::inline v0::moe

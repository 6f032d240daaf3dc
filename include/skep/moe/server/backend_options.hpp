// BackendOptions: how an expert is served and trained.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "skep/core/time.hpp"
#include "skep/moe/batch_scheduler.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/learning_rate.hpp"
#include "skep/moe/server/optimizers.hpp"
#include "skep/moe/tensor/compression.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// What a step is made with when several samples came.
enum class GradientReduction {
  sum,   ///< the sum of their gradients, as Hivemind: the step grows with the batch
  mean,  ///< their mean: it does not
};

/// Options of a backend.
struct BackendOptions {
  ExpertOptions expert = {};
  OptimizerFactory optimizer = adam();
  LearningRateSchedule schedule = {};         ///< of the learning rate; none: it stays
  std::optional<double> clip_grad_norm = {};  ///< the longest gradient, all parameters together
  std::size_t accumulate_samples = 0;         ///< gradients are summed until so many; 0: a step a batch
  GradientReduction gradient_reduction = GradientReduction::sum;
  at::Device device = at::kCPU;                 ///< where the expert, its optimizer and its batches live
  std::size_t max_batch_size = 4096;            ///< samples computed at once; larger requests are computed in parts
  std::size_t max_task_size = 0;                ///< samples of one request; 0: 16 x max_batch_size
  std::size_t min_batch_size = 1;               ///< fewer samples wait for company, but no longer than the timeout
  Duration batch_timeout = 100ms;               ///< how long they wait
  std::size_t max_queued = 1024;                ///< requests that may wait in each pool; one more is answered "busy"
  Compression compression = Compression::none;  ///< of inputs, outputs and gradients, where the type allows it
  std::shared_ptr<BatchScheduler> scheduler =
      nullptr;  ///< whose thread computes; null: the backend has a thread of its own
};

}  // namespace skep::inline v0::moe

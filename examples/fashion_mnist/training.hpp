// The training loop, the same for remote and local experts: batches, a progress line, curves, the longest stall.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "dataset.hpp"
#include "history.hpp"
#include "skep/moe/tensor/torch.hpp"
// after it, since LibTorch 1.13 wants its own order
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>

namespace example {

/// Set by Ctrl-C; looked at once a step.
inline std::atomic<bool> interrupted{false};

/// Thrown when the user pressed Ctrl-C, so that every destructor runs.
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

/// What the loop asks of the mixture in use, besides its forward.
struct Insight {
  std::function<Load()> take_load;     ///< rows given to each expert since the last call
  std::function<Load()> updates;       ///< optimizer steps of each expert so far
  std::function<std::size_t()> alive;  ///< experts that answered lately
};

/// What happens to the swarm in the course of a run.
struct Fault {
  double when = 0.5;                    ///< the share of the steps that are done by then
  std::string label;                    ///< for the picture
  std::function<std::string()> happen;  ///< called once; its answer is printed as a line of its own
};

struct TrainingOptions {
  std::string name;
  std::int64_t epochs = 4;
  std::int64_t batch_size = 256;
  std::int64_t samples_per_epoch = 60'000;
  double learning_rate = 1e-3;
  std::uint64_t seed = 7;
  std::vector<Fault> faults = {};            ///< in the order of their times
  std::function<void()> after_step = [] {};  ///< called once a step
};

/// Classifies pictures: flatten, Linear(784, 64), ReLU, a mixture of experts of width 64, Linear(64, 10).
template <class Mixture>
struct ClassifierImpl : torch::nn::Module {
  explicit ClassifierImpl(Mixture experts)
      : in(register_module("in", torch::nn::Linear(28 * 28, 64))),
        moe(register_module("moe", std::move(experts))),
        out(register_module("out", torch::nn::Linear(64, 10))) {}

  torch::Tensor forward(const torch::Tensor& x) { return out(moe->forward(torch::relu(in(x.flatten(1))))); }

  torch::nn::Linear in;
  Mixture moe;
  torch::nn::Linear out;
};

/// One line that is rewritten on a terminal, and printed every few seconds elsewhere.
class ProgressLine {
 public:
  void show(const std::string& line) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000))) return;
    last_ = now;
    std::fprintf(stderr, terminal_ ? "\r%s\033[K" : "%s\n", line.c_str());
  }
  /// A line that stays.
  void say(const std::string& line) { std::fprintf(stderr, terminal_ ? "\r%s\033[K\n" : "%s\n", line.c_str()); }

 private:
  bool terminal_ = isatty(STDERR_FILENO) != 0;
  std::chrono::steady_clock::time_point last_{};
};

/// Predicted classes, int64 [n], without gradients.
template <class Net>
torch::Tensor predict(Net& net, const Pictures& pictures, std::int64_t batch_size = 1000) {
  const torch::NoGradGuard no_grad;
  net.eval();
  std::vector<torch::Tensor> classes;
  for (std::int64_t from = 0; from < pictures.size(); from += batch_size) {
    if (interrupted) throw Interrupted();
    classes.push_back(net.forward(pictures.images.slice(0, from, from + batch_size)).argmax(1));
  }
  net.train();
  return torch::cat(classes);
}

[[nodiscard]] inline double accuracy(const torch::Tensor& classes, const torch::Tensor& labels) {
  return classes.eq(labels).to(torch::kFloat64).mean().item<double>();
}

template <class Net>
History train(Net& net, const Pictures& pictures, const Insight& insight, const TrainingOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  History history{.name = options.name};
  torch::manual_seed(options.seed);
  torch::optim::Adam optimizer(net.parameters(), torch::optim::AdamOptions(options.learning_rate));
  const auto steps_per_epoch = std::max<std::int64_t>(1, options.samples_per_epoch / options.batch_size);
  const auto steps = steps_per_epoch * options.epochs;
  const auto steps_per_point = std::max<std::int64_t>(1, steps / 80);

  ProgressLine progress;
  torch::Tensor order;
  double loss_sum = 0, right = 0, last_loss = 0, last_accuracy = 0;
  std::int64_t since_point = 0;
  auto fault = options.faults.begin();
  const auto begin = Clock::now();
  for (std::int64_t step = 0; step < steps; ++step) {
    if (interrupted) throw Interrupted();
    for (; fault != options.faults.end() && double(step) >= fault->when * double(steps); ++fault) {
      progress.say(fault->happen());
      history.incidents.push_back({double(step * options.batch_size), fault->label});
    }
    const auto within = step % steps_per_epoch;
    if (within == 0) order = torch::randperm(pictures.size(), torch::kInt64);
    const auto step_begin = Clock::now();
    const auto rows = order.slice(0, within * options.batch_size, (within + 1) * options.batch_size);
    const auto images = pictures.images.index_select(0, rows), labels = pictures.labels.index_select(0, rows);
    const auto logits = net.forward(images);
    auto loss = torch::nn::functional::cross_entropy(logits, labels);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    history.longest_stall_s = std::max(history.longest_stall_s, seconds(Clock::now() - step_begin));

    loss_sum += loss.template item<double>();
    right += accuracy(logits.argmax(1), labels);
    ++since_point;
    const bool point = since_point == steps_per_point || step + 1 == steps;
    if (point || history.curve.empty()) {
      last_loss = loss_sum / double(since_point);
      last_accuracy = right / double(since_point);
    }
    if (point) {
      history.curve.push_back({double((step + 1) * options.batch_size), last_loss, last_accuracy});
      history.load.push_back(insight.take_load());
      loss_sum = right = 0;
      since_point = 0;
    }
    const double elapsed = seconds(Clock::now() - begin), rate = double((step + 1) * options.batch_size) / elapsed;
    char line[200];
    std::snprintf(line, sizeof line,
                  "%s: epoch %ld/%ld  loss %.3f  accuracy %.3f  %.0f samples/s  %zu experts alive  %.0f s left",
                  options.name.c_str(), static_cast<long>(step / steps_per_epoch + 1),
                  static_cast<long>(options.epochs), last_loss, last_accuracy, rate, insight.alive(),
                  double((steps - step - 1) * options.batch_size) / rate);
    progress.show(line);
    options.after_step();
  }
  history.samples_per_second = double(steps * options.batch_size) / seconds(Clock::now() - begin);
  history.updates = insight.updates();
  char line[160];
  std::snprintf(line, sizeof line, "%s: %ld steps of %ld, loss %.3f, %.0f samples/s, longest step %.2f s",
                options.name.c_str(), static_cast<long>(steps), static_cast<long>(options.batch_size), last_loss,
                history.samples_per_second, history.longest_stall_s);
  progress.say(line);
  return history;
}

}  // namespace example

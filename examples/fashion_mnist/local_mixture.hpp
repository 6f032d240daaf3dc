// The same mixture with the same experts held in this process: what the network costs is what the two runs differ in.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "history.hpp"
#include "skep/moe.hpp"
#include "training.hpp"

namespace example {

/// Runs n independent jobs on a few threads that are kept.
class Workers {
 public:
  explicit Workers(unsigned count) {
    for (unsigned i = 1; i < count; ++i) threads_.emplace_back([this] { serve(); });
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  /// Runs job(0) ... job(n - 1) on the kept threads and this one; returns when all are done.
  void run(std::size_t n, const std::function<void(std::size_t)>& job) {
    std::unique_lock lock(mutex_);
    job_ = &job;
    next_ = 0;
    total_ = n;
    left_ = n;
    wake_.notify_all();
    work(lock);
    done_.wait(lock, [this] { return left_ == 0; });
    job_ = nullptr;
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || (job_ && next_ < total_); });
      if (stopping_) return;
      work(lock);
    }
  }
  void work(std::unique_lock<std::mutex>& lock) {
    while (job_ && next_ < total_) {
      const auto index = next_++;
      const auto& job = *job_;
      lock.unlock();
      job(index);
      lock.lock();
      if (--left_ == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  const std::function<void(std::size_t)>* job_ = nullptr;
  std::size_t next_ = 0, total_ = 0, left_ = 0;
  bool stopping_ = false;
};

/// The experts of one grid with the servers' own backends, called from this process.
struct ExpertGrid {
  ExpertGrid(int grid_rows, int grid_columns, unsigned threads) : columns(grid_columns), workers(threads) {
    for (int row = 0; row < grid_rows; ++row) {
      for (int column = 0; column < grid_columns; ++column) {
        uids.push_back("ffn." + std::to_string(row) + "." + std::to_string(column));
        skep::moe::BackendOptions options{.expert = {.hidden_dim = 64}, .scheduler = unused.scheduler()};
        backends.push_back(std::make_shared<skep::moe::ModuleBackend<skep::moe::Ffn>>(uids.back(), options));
      }
    }
    rows.resize(uids.size());
    updates.resize(uids.size());
  }

  int columns;
  Workers workers;
  skep::moe::Runtime unused;  // never started: the backends are called here, not through their pools
  std::vector<std::string> uids;
  std::vector<std::shared_ptr<skep::moe::ExpertBackend>> backends;
  std::vector<std::int64_t> rows, updates;
};

/// What was sent to which expert: for each expert the rows of the batch and the place of the expert among the row's k.
struct Assignment {
  std::size_t expert;
  torch::Tensor row, place;  ///< int64 [n] each
};

/// Calls the backends as a server would: forward without a graph, backward with recomputation and an optimizer step.
class CallExperts : public torch::autograd::Function<CallExperts> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& chosen, const std::shared_ptr<ExpertGrid>& grid) {
    auto assignments = assign(chosen, *grid);
    auto out = torch::zeros({x.size(0), chosen.size(1), x.size(1)});
    grid->workers.run(assignments.size(), [&](std::size_t i) {
      const auto& [expert, row, place] = assignments[i];
      const auto y = grid->backends[expert]->forward({x.index_select(0, row)});
      out.index_put_({row, place}, y.at(0));
    });
    for (const auto& a : assignments) grid->rows[a.expert] += a.row.size(0);
    context->save_for_backward({x, chosen});
    context->saved_data["grid"] = c10::IValue(std::int64_t(reinterpret_cast<std::intptr_t>(grid.get())));
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    auto& grid = *reinterpret_cast<ExpertGrid*>(std::intptr_t(context->saved_data["grid"].toInt()));
    const auto assignments = assign(saved[1], grid);
    std::vector<torch::Tensor> parts(assignments.size());
    grid.workers.run(assignments.size(), [&](std::size_t i) {
      const auto& [expert, row, place] = assignments[i];
      parts[i] =
          grid.backends[expert]->backward({saved[0].index_select(0, row), gradients[0].index({row, place})}).at(0);
    });
    auto out = torch::zeros_like(saved[0]);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      out.index_add_(0, assignments[i].row, parts[i]);
      ++grid.updates[assignments[i].expert];
    }
    return {out, torch::Tensor(), torch::Tensor()};
  }

 private:
  static std::vector<Assignment> assign(const torch::Tensor& chosen, const ExpertGrid& grid) {
    std::vector<Assignment> out;
    for (std::size_t expert = 0; expert < grid.backends.size(); ++expert) {
      const auto where = chosen.eq(std::int64_t(expert)).nonzero();
      if (where.size(0) > 0) out.push_back({expert, where.select(1, 0).contiguous(), where.select(1, 1).contiguous()});
    }
    return out;
  }
};

/// Gate, choice of the k best experts by the sum of their coordinates' scores, softmax over them: as the remote
/// mixture.
struct LocalMixtureImpl : torch::nn::Module {
  LocalMixtureImpl(std::shared_ptr<ExpertGrid> experts, std::int64_t k)
      : gate(register_module(
            "proj", torch::nn::Linear(64, std::int64_t(experts->uids.size()) / experts->columns + experts->columns))),
        grid(std::move(experts)),
        k_best(k) {}

  torch::Tensor forward(const torch::Tensor& x) {
    const auto scores = gate(x);
    const auto first = scores.slice(1, 0, scores.size(1) - grid->columns),
               second = scores.slice(1, scores.size(1) - grid->columns);
    const auto [best, chosen] = (first.unsqueeze(2) + second.unsqueeze(1)).flatten(1).topk(k_best, 1);
    return (CallExperts::apply(x, chosen, grid) * best.softmax(1).unsqueeze(2)).sum(1);
  }

  torch::nn::Linear gate;
  std::shared_ptr<ExpertGrid> grid;
  std::int64_t k_best;
};
TORCH_MODULE(LocalMixture);

/// Sixteen experts in this process, on the number of threads that is fastest here.
class LocalExperts {
 public:
  LocalExperts(int rows, int columns)
      : grid_(std::make_shared<ExpertGrid>(rows, columns, best_thread_count(rows, columns))) {}

  [[nodiscard]] LocalMixture mixture() const { return LocalMixture(grid_, 4); }
  [[nodiscard]] Insight insight() const {
    const auto by_uid = [grid = grid_](std::vector<std::int64_t>& counts) {
      Load out;
      for (std::size_t i = 0; i < counts.size(); ++i) out[grid->uids[i]] = counts[i];
      return out;
    };
    return {[=, grid = grid_] {
              auto out = by_uid(grid->rows);
              std::fill(grid->rows.begin(), grid->rows.end(), 0);
              return out;
            },
            [=, grid = grid_] { return by_uid(grid->updates); }, [grid = grid_] { return grid->uids.size(); }};
  }

 private:
  /// How the cores are shared: experts computed side by side, and threads within one operation.
  struct Threads {
    unsigned experts, operation;
  };

  /// Tries them and leaves LibTorch with the better one. @return experts to compute side by side
  static unsigned best_thread_count(int rows, int columns) {
    const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    Threads best{1, 1};
    double best_seconds = 1e9;
    for (const Threads threads : {Threads{1, 1}, Threads{1, cores}, Threads{cores, 1}}) {
      skep::moe::set_compute_threads(static_cast<int>(threads.operation));
      LocalMixture trial(std::make_shared<ExpertGrid>(rows, columns, threads.experts), 4);
      const auto x = torch::randn({256, 64}, torch::requires_grad());
      trial->forward(x).sum().backward();  // warm-up
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < 10; ++i) trial->forward(x).sum().backward();
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (seconds < best_seconds) {
        best = threads;
        best_seconds = seconds;
      }
    }
    skep::moe::set_compute_threads(static_cast<int>(best.operation));
    return best.experts;
  }

  std::shared_ptr<ExpertGrid> grid_;
};

}  // namespace example

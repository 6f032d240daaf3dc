// MixtureClient: the remote half of a mixture. Chooses experts for a batch, sends each its rows, collects their
// answers.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/dht_store.hpp"
#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/penalties.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// What a forward pass leaves for its backward pass.
struct MixturePass {
  ExpertChoice choice;
  DispatchPlan plan;
  std::shared_ptr<const ExpertContract> contract;
  std::vector<Tensor> inputs;          ///< gathered into the places of the plan: [places, ...]
  Tensor rows;                         ///< int64[places]: the row at each place
  std::vector<bool> alive;             ///< by call: it answered forward
  std::vector<std::uint32_t> answers;  ///< by row
};

/// Shared by the module and the nodes of its graphs. Thread-safe; every member may block and must not be called from an
/// I/O thread.
class MixtureClient {
 public:
  explicit MixtureClient(MixtureOptions options)
      : options_(std::move(options)),
        searcher_(Store(options_.dht.node()), options_.uid_prefix, options_.grid_size,
                  {.num_workers = options_.num_workers,
                   .cache_time = options_.cache_time,
                   .missing_cache_time = std::min<Duration>(options_.cache_time, 1s)}),
        penalties_(options_.penalties) {}

  [[nodiscard]] const MixtureOptions& options() const noexcept { return options_; }
  [[nodiscard]] const std::string& uid_prefix() const noexcept { return searcher_.uid_prefix(); }

  /// The experts of each row, without those that failed lately. What is cached costs no hop to another thread.
  /// @param scores  float[rows, sum(grid)]
  [[nodiscard]] ExpertChoice choose(std::vector<Score> scores, std::size_t rows) {
    auto skip = skipped_now();
    if (!skip || options_.allow_zero_outputs) return search(std::move(scores), rows, std::move(skip));
    ExpertChoice choice = search(scores, rows, std::move(skip));
    for (std::size_t row = 0; row < rows; ++row) {  // better an expert that failed than none
      if (choice.row(row).empty()) return search(std::move(scores), rows, nullptr);
    }
    return choice;
  }

  /// What the experts take and give; the first that answers is asked once for all.
  /// Throws what the last of them failed with.
  [[nodiscard]] std::shared_ptr<const ExpertContract> contract(const ExpertChoice& choice) {
    if (auto known = known_contract()) return known;
    auto fetched = detail::block_on(
        options_.dht, first_contract(detail::host_of(options_.dht), choice.experts, options_.forward_timeout));
    const std::scoped_lock lock(mutex_);
    contract_ = fetched;
    return fetched;
  }
  [[nodiscard]] std::shared_ptr<const ExpertContract> known_contract() const {
    const std::scoped_lock lock(mutex_);
    return contract_;
  }

  /// Sends each expert its rows and waits as the options say. Fills what `pass` says about answers.
  /// @return for each output [places, ...], zeros where no answer came
  [[nodiscard]] std::vector<Tensor> forward(MixturePass& pass) {
    std::vector<PreparedCall> calls;
    for (std::size_t i = 0; i < pass.plan.calls(); ++i) {
      calls.push_back(
          prepare_forward(expert(pass, i), *pass.contract, slices(pass, pass.inputs, i), options_.detect_anomalies));
    }
    const DispatchOptions limits{.timeout = options_.forward_timeout,
                                 .timeout_after_k_min = options_.timeout_after_k_min,
                                 .k_min = options_.k_min};
    std::vector<std::size_t> all(calls.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    MixtureReport report{.rows = pass.choice.rows()};
    const auto outcomes = run(pass, all, calls, limits, report);

    pass.alive.assign(calls.size(), false);
    for (std::size_t i = 0; i < calls.size(); ++i) pass.alive[i] = outcomes[i].answered();
    pass.answers = count_answers(pass, pass.alive);
    const std::size_t needed = options_.allow_zero_outputs ? options_.k_min : std::max<std::size_t>(options_.k_min, 1);
    const auto poor = [&](std::size_t row) { return pass.answers[row] < needed; };
    conclude(report, poor, pass, all, outcomes, "forward", needed);
    return join(pass, pass.contract->outputs, calls);
  }

  /// Sends the experts that answered forward the gradients of their outputs.
  /// @param gradients  for each output [places, ...]
  /// @return for each input [places, ...], zeros where no answer came
  [[nodiscard]] std::vector<Tensor> backward(const MixturePass& pass, const std::vector<Tensor>& gradients) {
    std::vector<std::size_t> which;
    std::vector<PreparedCall> calls(pass.plan.calls());
    std::vector<PreparedCall> sent;
    for (std::size_t i = 0; i < pass.plan.calls(); ++i) {
      if (!pass.alive[i]) continue;
      calls[i] = prepare_backward(expert(pass, i), *pass.contract, slices(pass, pass.inputs, i),
                                  slices(pass, gradients, i), options_.detect_anomalies);
      which.push_back(i);
    }
    for (const std::size_t i : which) sent.push_back(calls[i]);
    const DispatchOptions limits{.timeout = options_.backward_timeout,
                                 .timeout_after_k_min = options_.timeout_after_k_min,
                                 .k_min = options_.backward_k_min};
    MixtureReport report{.backward = true, .rows = pass.choice.rows()};
    const auto outcomes = run(pass, which, sent, limits, report);

    std::vector<bool> answered(calls.size());
    for (std::size_t n = 0; n < which.size(); ++n) answered[which[n]] = outcomes[n].answered();
    const auto answers = count_answers(pass, answered);
    const auto poor = [&](std::size_t row) {
      return answers[row] < std::min<std::size_t>(options_.backward_k_min, pass.answers[row]);
    };
    conclude(report, poor, pass, which, outcomes, "backward", options_.backward_k_min);
    return join(pass, pass.contract->inputs, calls);
  }

  /// Throws errc::not_found: the search came back empty for the whole batch.
  [[noreturn]] void throw_no_expert() {
    const std::size_t peers = detail::block_on(options_.dht, count_peers(options_.dht.node()));
    std::string grid;
    for (const Coordinate size : options_.grid_size) grid += (grid.empty() ? "" : " x ") + std::to_string(size);
    throw Error(errc::not_found, "no expert found under \"" + uid_prefix() + "\" on a " + grid + " grid; the DHT has " +
                                     std::to_string(peers) + (peers == 1 ? " peer" : " peers") + " and no key \"" +
                                     uid_prefix() + "\": are servers running, and is the prefix right?");
  }

 private:
  using Store = DhtStore<dht::Node<>>;

  [[nodiscard]] static const ExpertInfo& expert(const MixturePass& pass, std::size_t call) {
    return pass.choice.experts[pass.plan.experts[call]];
  }
  /// The part of each gathered tensor that belongs to one call; shares its storage.
  [[nodiscard]] static std::vector<Tensor> slices(const MixturePass& pass, const std::vector<Tensor>& tensors,
                                                  std::size_t call) {
    const std::int64_t begin = pass.plan.offsets[call];
    const std::int64_t size = pass.plan.offsets[call + 1] - begin;
    std::vector<Tensor> parts;
    for (const Tensor& tensor : tensors) parts.push_back(tensor.narrow(0, begin, size));
    return parts;
  }
  /// The answers of all calls side by side again, zeros for those that did not come.
  [[nodiscard]] static std::vector<Tensor> join(const MixturePass& pass,
                                                const std::vector<BatchTensorDescriptor>& descriptors,
                                                const std::vector<PreparedCall>& calls) {
    std::vector<Tensor> joined;
    for (std::size_t t = 0; t < descriptors.size(); ++t) {
      std::vector<Tensor> parts;
      for (std::size_t i = 0; i < calls.size(); ++i) {
        const bool answered = calls[i].answer && t < calls[i].answer->tensors().size();
        const std::int64_t size = pass.plan.offsets[i + 1] - pass.plan.offsets[i];
        parts.push_back(answered ? calls[i].answer->tensors()[t] : descriptors[t].make_zeros(size));
      }
      joined.push_back(parts.empty() ? descriptors[t].make_zeros(0) : at::cat(parts));
    }
    return joined;
  }
  [[nodiscard]] static std::vector<std::uint32_t> count_answers(const MixturePass& pass,
                                                                const std::vector<bool>& answered) {
    std::vector<std::uint32_t> answers(pass.choice.rows());
    for (std::size_t i = 0; i < answered.size(); ++i) {
      if (!answered[i]) continue;
      for (const std::uint32_t row : pass.plan.rows_of(i)) ++answers[row];
    }
    return answers;
  }

  [[nodiscard]] ExpertChoice search(std::vector<Score> scores, std::size_t rows,
                                    std::function<bool(const ExpertInfo&)> skip) {
    BeamSearch search = searcher_.begin(std::move(scores), rows, options_.k_best, std::move(skip));
    if (search.advance().empty()) return std::move(search).take();
    return detail::block_on(options_.dht, searcher_.finish(std::move(search), {.timeout = options_.forward_timeout}));
  }
  [[nodiscard]] std::function<bool(const ExpertInfo&)> skipped_now() const {
    const SteadyTime now = std::chrono::steady_clock::now();
    const std::scoped_lock lock(mutex_);
    if (!penalties_.any(now)) return nullptr;
    return [now, penalties = penalties_](const ExpertInfo& expert) { return penalties.skips(expert, now); };
  }

  static awaitable<std::shared_ptr<const ExpertContract>> first_contract(p2p::Host host,
                                                                         std::vector<ExpertInfo> experts,
                                                                         Duration timeout) {
    const SteadyTime deadline = deadline_after(host.steady_now(), timeout);
    std::exception_ptr failure;
    for (auto& expert : experts) {
      try {
        const Duration left = deadline == SteadyTime::max() ? unlimited : deadline - host.steady_now();
        // one that hangs must not use up the time of all
        const Duration share = std::min(left, std::max<Duration>(left / 4, 1s));
        co_return co_await fetch_contract(host, std::move(expert), p2p::CallOptions{.timeout = share});
      } catch (const std::exception&) {
        failure = std::current_exception();
      }
      if (host.steady_now() >= deadline) break;
    }
    std::rethrow_exception(failure);
  }
  static awaitable<std::size_t> count_peers(dht::Node<> node) { co_return node.peer_count(); }

  /// Runs some of a pass's calls over the network and remembers who failed.
  [[nodiscard]] std::vector<CallOutcome> run(const MixturePass& pass, const std::vector<std::size_t>& which,
                                             std::vector<PreparedCall>& calls, const DispatchOptions& limits,
                                             MixtureReport& report) {
    std::vector<ExpertCall> sent;
    for (std::size_t n = 0; n < which.size(); ++n) {
      const auto rows = pass.plan.rows_of(which[n]);
      calls[n].call.rows.assign(rows.begin(), rows.end());
      sent.push_back(std::move(calls[n].call));
    }
    const SteadyTime start = std::chrono::steady_clock::now();
    auto outcomes = detail::block_on(options_.dht,
                                     Dispatcher<p2p::Host>(detail::host_of(options_.dht)).run(std::move(sent), limits));
    const SteadyTime now = std::chrono::steady_clock::now();
    report.duration = now - start;
    std::vector<std::string> failures;
    {
      const std::scoped_lock lock(mutex_);
      for (std::size_t n = 0; n < which.size(); ++n) {
        const ExpertInfo& asked = expert(pass, which[n]);
        if (outcomes[n].answered()) {
          penalties_.answered(asked);
        } else if (!penalties_.skips(asked, now)) {
          outcomes[n].server_failed() ? penalties_.server_failed(asked.peer_id, now)
                                      : penalties_.expert_failed(asked.uid, now);
          failures.push_back(outcomes[n].sentence);
        }
      }
    }
    for (const auto& failure : failures) log(LogLevel::warning, "mixture", failure);
    return outcomes;
  }

  /// Tells the observer, and throws when rows are poor and must not be.
  template <class Poor>
  void conclude(MixtureReport& report, Poor poor, const MixturePass& pass, const std::vector<std::size_t>& which,
                const std::vector<CallOutcome>& outcomes, const char* name, std::size_t needed) {
    std::optional<std::size_t> first;
    for (std::size_t row = 0; row < report.rows; ++row) {
      if (!poor(row)) continue;
      ++report.rows_without;
      if (!first) first = row;
    }
    if (options_.observer) {
      for (std::size_t n = 0; n < which.size(); ++n) {
        report.experts.push_back({expert(pass, which[n]), pass.plan.rows_of(which[n]).size(), outcomes[n].code,
                                  outcomes[n].sentence, outcomes[n].latency, outcomes[n].bytes});
      }
      options_.observer(report);
    }
    if (!first || options_.allow_zero_outputs) return;
    std::error_code code = errc::not_found;
    std::string why = "no expert was found for it";
    for (std::size_t n = 0; n < which.size(); ++n) {
      if (outcomes[n].answered() || !std::ranges::count(pass.plan.rows_of(which[n]), *first)) continue;
      code = outcomes[n].code;
      why = outcomes[n].sentence;
    }
    throw Error(code, std::string("too few experts answered in the ") + name +
                          " pass: " + std::to_string(report.rows_without) + " of " + std::to_string(report.rows) +
                          " samples have fewer than " + std::to_string(needed) + " answers; sample " +
                          std::to_string(*first) + ": " + why + " (allow_zero_outputs goes on without them)");
  }

  MixtureOptions options_;
  MoEBeamSearcher<Store> searcher_;
  mutable std::mutex mutex_;
  PenaltyList penalties_;
  std::shared_ptr<const ExpertContract> contract_;
};

}  // namespace skep::inline v0::moe

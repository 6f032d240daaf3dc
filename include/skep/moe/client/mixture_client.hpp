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
#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/dht_store.hpp"
#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/penalties.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

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
  /// Throws what the last of them failed with, errc::not_found when there is none.
  [[nodiscard]] std::shared_ptr<const ExpertContract> contract(const ExpertChoice& choice) {
    if (auto known = known_contract()) return known;
    if (choice.experts.empty()) throw_no_expert();
    auto fetched =
        detail::block_on(options_.dht, first_contract(options_.dht, choice.experts, options_.forward_timeout));
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
    const DispatchOptions limits{.timeout = options_.forward_timeout,
                                 .timeout_after_k_min = options_.timeout_after_k_min,
                                 .k_min = options_.k_min};
    Exchange exchange(pass.plan.calls());
    for (std::size_t i = 0; i < pass.plan.calls(); ++i) {
      exchange.add(pass, i,
                   prepare_forward(pass.expert(i), *pass.contract, pass.slices(pass.inputs, i),
                                   {options_.forward_timeout, options_.detect_anomalies}));
    }
    run(pass, exchange, limits);

    pass.alive = exchange.answered;
    pass.answers = pass.count_answers(pass.alive);
    const std::size_t needed = options_.allow_zero_outputs ? options_.k_min : std::max<std::size_t>(options_.k_min, 1);
    const auto poor = [&](std::size_t row) { return pass.answers[row] < needed; };
    conclude(pass, exchange, false, poor, needed);
    return pass.join(pass.contract->outputs, exchange.answers);
  }

  /// Sends the experts that answered forward the gradients of their outputs.
  /// @param gradients  for each output [places, ...]
  /// @return for each input [places, ...], zeros where no answer came; and which calls were answered
  [[nodiscard]] std::pair<std::vector<Tensor>, std::vector<bool>> backward(const MixturePass& pass,
                                                                           const std::vector<Tensor>& gradients) {
    const DispatchOptions limits{.timeout = options_.backward_timeout,
                                 .timeout_after_k_min = options_.timeout_after_k_min,
                                 .k_min = options_.backward_k_min};
    Exchange exchange(pass.plan.calls());
    for (std::size_t i = 0; i < pass.plan.calls(); ++i) {
      if (!pass.alive[i]) continue;
      exchange.add(pass, i,
                   prepare_backward(pass.expert(i), *pass.contract, pass.slices(pass.inputs, i),
                                    pass.slices(gradients, i), {options_.backward_timeout, options_.detect_anomalies}));
    }
    run(pass, exchange, limits);

    const auto answers = pass.count_answers(exchange.answered);
    const auto poor = [&](std::size_t row) {
      return answers[row] < std::min<std::size_t>(options_.backward_k_min, pass.answers[row]);
    };
    conclude(pass, exchange, true, poor, options_.backward_k_min);
    return {pass.join(pass.contract->inputs, exchange.answers), std::move(exchange.answered)};
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

  /// The calls of one direction of a pass, and what came of them.
  struct Exchange {
    explicit Exchange(std::size_t calls) : answers(calls), answered(calls) {}

    void add(const MixturePass& pass, std::size_t call, PreparedCall prepared) {
      const auto rows = pass.plan.rows_of(call);
      prepared.call.rows.assign(rows.begin(), rows.end());
      sent.push_back(std::move(prepared.call));
      which.push_back(call);
      answers[call] = std::move(prepared.answer);
    }

    std::vector<std::shared_ptr<ExpertAnswer>> answers;  // by call; null where nothing was sent
    std::vector<bool> answered;                          // by call
    std::vector<ExpertCall> sent;
    std::vector<std::size_t> which;     // the call of each that was sent
    std::vector<CallOutcome> outcomes;  // of each that was sent
    Duration duration{};
  };

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

  static awaitable<std::shared_ptr<const ExpertContract>> first_contract(dht::DHT dht, std::vector<ExpertInfo> experts,
                                                                         Duration timeout) {
    const p2p::Host host = detail::host_of(dht);
    const SteadyTime deadline = deadline_after(host.steady_now(), timeout);
    std::exception_ptr failure;
    for (auto& expert : experts) {
      try {
        const Duration left = deadline == SteadyTime::max() ? unlimited : deadline - host.steady_now();
        // one that hangs must not use up the time of all
        const Duration share = std::min(left, std::max<Duration>(left / 4, 1s));
        co_return co_await fetch_contract(host, std::move(expert), p2p::CallOptions{.timeout = share},
                                          detail::authorizer_of(dht));
      } catch (const std::exception&) {
        failure = std::current_exception();
      }
      if (host.steady_now() >= deadline) break;
    }
    std::rethrow_exception(failure);
  }
  static awaitable<std::size_t> count_peers(dht::Node<> node) { co_return node.peer_count(); }

  /// Sends what an exchange holds and remembers who failed.
  void run(const MixturePass& pass, Exchange& exchange, const DispatchOptions& limits) {
    const Dispatcher<p2p::Host> dispatcher(detail::host_of(options_.dht), detail::authorizer_of(options_.dht));
    const SteadyTime start = std::chrono::steady_clock::now();
    exchange.outcomes = detail::block_on(options_.dht, dispatcher.run(std::move(exchange.sent), limits));
    const SteadyTime now = std::chrono::steady_clock::now();
    exchange.duration = now - start;

    std::vector<std::string> failures;
    {
      const std::scoped_lock lock(mutex_);
      for (std::size_t n = 0; n < exchange.which.size(); ++n) {
        const ExpertInfo& expert = pass.expert(exchange.which[n]);
        const CallOutcome& outcome = exchange.outcomes[n];
        exchange.answered[exchange.which[n]] = outcome.answered();
        if (outcome.answered()) {
          penalties_.answered(expert);
        } else if (!penalties_.skips(expert, now)) {
          outcome.server_failed() ? penalties_.server_failed(expert.peer_id, now)
                                  : penalties_.expert_failed(expert.uid, now);
          failures.push_back(outcome.sentence);
        }
      }
    }
    for (const auto& failure : failures) log(LogLevel::warning, "mixture", failure);
  }

  /// Tells the observer, and throws when rows have too few answers and must not.
  template <class Poor>
  void conclude(const MixturePass& pass, const Exchange& exchange, bool backward, Poor poor, std::size_t needed) {
    MixtureReport report{.backward = backward, .rows = pass.choice.rows(), .duration = exchange.duration};
    std::optional<std::size_t> first;
    for (std::size_t row = 0; row < report.rows; ++row) {
      if (!poor(row)) continue;
      ++report.rows_without;
      if (!first) first = row;
    }
    if (options_.observer) {
      for (std::size_t n = 0; n < exchange.which.size(); ++n) {
        const CallOutcome& outcome = exchange.outcomes[n];
        report.experts.push_back({pass.expert(exchange.which[n]), pass.plan.rows_of(exchange.which[n]).size(),
                                  outcome.code, outcome.sentence, outcome.latency, outcome.bytes});
      }
      options_.observer(report);
    }
    if (first && !options_.allow_zero_outputs) throw_too_few(pass, exchange, report, *first, needed);
  }

  [[noreturn]] static void throw_too_few(const MixturePass& pass, const Exchange& exchange, const MixtureReport& report,
                                         std::size_t row, std::size_t needed) {
    std::error_code code = errc::not_found;
    std::string why = "no expert was found for it";
    for (std::size_t n = 0; n < exchange.which.size(); ++n) {
      const auto rows = pass.plan.rows_of(exchange.which[n]);
      if (exchange.outcomes[n].answered() || !std::ranges::count(rows, row)) continue;
      code = exchange.outcomes[n].code;
      why = exchange.outcomes[n].sentence;
    }
    throw Error(code, std::string("too few experts answered in the ") + (report.backward ? "backward" : "forward") +
                          " pass: " + std::to_string(report.rows_without) + " of " + std::to_string(report.rows) +
                          " samples have fewer than " + std::to_string(needed) + " answers; sample " +
                          std::to_string(row) + ": " + why + " (allow_zero_outputs goes on without them)");
  }

  MixtureOptions options_;
  MoEBeamSearcher<Store> searcher_;
  mutable std::mutex mutex_;
  PenaltyList penalties_;
  std::shared_ptr<const ExpertContract> contract_;
};

}  // namespace skep::inline v0::moe

// MixtureClient: the remote half of a mixture. Chooses experts for a batch, sends each its rows, lets the next best
// stand in for those that fail or are late, collects the answers.
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
#include "skep/async/cancellation.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/client/mixture_contract.hpp"
#include "skep/moe/client/mixture_exchange.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/dht_store.hpp"
#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/expected_delays.hpp"
#include "skep/moe/penalties.hpp"
#include "skep/moe/replicas.hpp"
#include "skep/moe/stand_ins.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// Shared by the module and the nodes of its graphs. Thread-safe; every member may block and must not be called from an
/// I/O thread.
class MixtureClient {
 public:
  explicit MixtureClient(MixtureOptions options) : MixtureClient(options, Store(options.dht.node())) {}

  [[nodiscard]] const MixtureOptions& options() const noexcept { return options_; }
  [[nodiscard]] const std::string& uid_prefix() const noexcept { return searcher_.uid_prefix(); }

  /// The experts of each row, without those that failed lately. What is cached costs no hop to another thread. Throws
  /// errc::timed_out when the search's time was over before it found anyone, unless zeros can be given instead.
  /// @param scores  float[rows, sum(grid)]
  [[nodiscard]] ExpertChoice choose(std::vector<Score> scores, std::size_t rows) {
    const Duration budget = std::min(options_.time_budget, options_.forward_timeout);
    const SteadyTime end = deadline_after(std::chrono::steady_clock::now(), budget);
    auto skip = skipped_now();
    const bool again = skip && !options_.allow_zero_outputs;
    ExpertChoice choice = search(again ? scores : std::move(scores), rows, std::move(skip), end);
    for (std::size_t row = 0; again && row < rows; ++row) {
      if (!choice.row(row).empty()) continue;
      choice = search(std::move(scores), rows, nullptr, end);  // better an expert that failed than none
      break;
    }
    const bool partial = std::ranges::find(choice.partial, true) != choice.partial.end();
    const bool may_be_zeros = options_.allow_zero_outputs && known_contract();
    if (choice.experts.empty() && partial && !may_be_zeros) {
      throw Error(errc::timed_out, "no expert was found under \"" + uid_prefix() + "\" within " +
                                       skep::detail::describe_wait(budget) + ", and none was known before");
    }
    return choice;
  }

  /// What the experts take and give, as the first of a choice that answers tells. Throws what the last of them failed
  /// with, errc::not_found when there is none.
  [[nodiscard]] std::shared_ptr<const ExpertContract> contract(const ExpertChoice& choice) {
    if (choice.experts.empty() && !contract_.known()) throw_no_expert();
    return contract_.of(choice.experts);
  }
  void doubt(const std::shared_ptr<const ExpertContract>& contract) { contract_.doubt(contract); }
  [[nodiscard]] bool is_doubted() const { return contract_.is_doubted(); }
  [[nodiscard]] std::shared_ptr<const ExpertContract> known_contract() const { return contract_.known(); }

  /// Sends each expert its rows and waits as the options say. Fills what `pass` says about inputs and answers, and lays
  /// it out anew when experts stood in for others.
  /// @param batch  the inputs, batch first, on the CPU and without a graph
  /// @return for each output [places, ...], zeros where no answer came
  [[nodiscard]] std::vector<Tensor> forward(MixturePass& pass, const std::vector<Tensor>& batch) {
    const DispatchOptions limits{.timeout = options_.forward_timeout,
                                 .timeout_after_k_min = options_.timeout_after_k_min,
                                 .k_min = options_.k_min};
    for (const Tensor& input : batch) pass.inputs.push_back(input.index_select(0, pass.rows));
    MixtureExchange exchange;
    for (std::size_t i = 0; i < pass.plan.calls(); ++i) {
      exchange.add(pass.expert(i), pass.plan.rows_of(i),
                   prepare_forward(pass.expert(i), *pass.contract, pass.slices(pass.inputs, i),
                                   {options_.forward_timeout, options_.detect_anomalies}));
    }
    Backup backup{.delays = delays_, .hedge_after = options_.hedge_after};
    if (pass.scores.defined()) {  // what the coroutine refers to lives as long as `run` waits
      backup.calls_instead = [&](std::vector<LostCall> lost) {
        return stand_in(pass, batch, exchange, std::move(lost));
      };
    }
    run(exchange, limits, std::move(backup));
    pass.scores = Tensor();
    if (exchange.misfit()) doubt(pass.contract);

    std::vector<Tensor> outputs;
    if (exchange.sent.size() == pass.plan.calls()) {
      pass.alive = exchange.answered();
      pass.answers = pass.count_answers(pass.alive);
      outputs = pass.join(pass.contract->outputs, exchange.answers());
    } else {
      outputs = exchange.settle(pass, batch);
    }
    const std::size_t needed = options_.allow_zero_outputs ? options_.k_min : std::max<std::size_t>(options_.k_min, 1);
    const auto poor = [&](std::size_t row) { return pass.answers[row] < needed; };
    conclude(pass, exchange, false, poor, needed);
    return outputs;
  }

  /// Sends the experts that answered forward the gradients of their outputs.
  /// @param gradients  for each output [places, ...]
  /// @return for each input [places, ...], zeros where no answer came; and which calls were answered
  [[nodiscard]] std::pair<std::vector<Tensor>, std::vector<bool>> backward(const MixturePass& pass,
                                                                           const std::vector<Tensor>& gradients) {
    const DispatchOptions limits{.timeout = options_.backward_timeout,
                                 .timeout_after_k_min = options_.timeout_after_k_min,
                                 .k_min = options_.backward_k_min};
    MixtureExchange exchange;
    std::vector<bool> answered(pass.plan.calls());
    std::vector<std::shared_ptr<ExpertAnswer>> gradients_of_inputs(pass.plan.calls());
    std::vector<std::size_t> which;  // the call of each that is sent
    for (std::size_t i = 0; i < pass.plan.calls(); ++i) {
      if (!pass.alive[i]) continue;
      which.push_back(i);
      exchange.add(pass.expert(i), pass.plan.rows_of(i),
                   prepare_backward(pass.expert(i), *pass.contract, pass.slices(pass.inputs, i),
                                    pass.slices(gradients, i), {options_.backward_timeout, options_.detect_anomalies}));
    }
    run(exchange, limits);

    for (std::size_t n = 0; n < which.size(); ++n) {
      answered[which[n]] = exchange.sent[n].outcome.answered();
      gradients_of_inputs[which[n]] = exchange.sent[n].answer;
    }
    const auto answers = pass.count_answers(answered);
    const auto poor = [&](std::size_t row) {
      return answers[row] < std::min<std::size_t>(options_.backward_k_min, pass.answers[row]);
    };
    conclude(pass, exchange, true, poor, options_.backward_k_min);
    return {pass.join(pass.contract->inputs, gradients_of_inputs), std::move(answered)};
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

  using Skip = std::function<bool(const ExpertInfo&)>;

  MixtureClient(MixtureOptions options, Store store)
      : options_(std::move(options)),
        delays_(store.delays()),
        searcher_(std::move(store), options_.uid_prefix, options_.grid_size,
                  {.num_workers = options_.num_workers,
                   .cache_time = options_.cache_time,
                   .missing_cache_time = std::min<Duration>(options_.cache_time, 1s),
                   .prefetch = options_.prefetch,
                   .near_tie = options_.near_tie}),
        penalties_(options_.penalties),
        contract_(options_.dht, options_.forward_timeout) {}

  [[nodiscard]] ExpertChoice search(std::vector<Score> scores, std::size_t rows, Skip skip, SteadyTime end) {
    BeamSearch search = searcher_.begin(std::move(scores), rows, options_.k_best, std::move(skip));
    if (search.advance().empty()) return std::move(search).take();
    const Duration budget =
        end == SteadyTime::max() ? unlimited : std::max<Duration>(end - std::chrono::steady_clock::now(), 0s);
    return detail::block_on(options_.dht,
                            searcher_.finish(std::move(search), {.timeout = unlimited, .time_budget = budget}));
  }
  [[nodiscard]] Skip skipped_now() const {
    const SteadyTime now = std::chrono::steady_clock::now();
    const std::scoped_lock lock(mutex_);
    if (!penalties_.any(now)) return nullptr;
    return [now, penalties = penalties_](const ExpertInfo& expert) { return penalties.skips(expert, now); };
  }

  /// The calls that take over the rows of lost ones: to other servers of the same expert where there are any, else to
  /// the next-best experts, as far as they are found.
  awaitable<std::vector<ExpertCall>> stand_in(const MixturePass& pass, const std::vector<Tensor>& batch,
                                              MixtureExchange& exchange, std::vector<LostCall> lost) {
    if (!exchange.stand_ins) exchange.stand_ins.emplace(pass.choice, pass.plan);
    StandIns& stand_ins = *exchange.stand_ins;
    std::vector<std::size_t> numbers;
    std::vector<std::string> uids;
    for (const LostCall& call : lost) {
      const ExpertInfo& expert = exchange.sent[call.call].expert;
      numbers.push_back(call.call);
      uids.push_back(expert.uid);
      exchange.lost.insert(expert.uid);
      if (call.late || call.server_failed) exchange.strayed.insert(expert.peer_id);
    }
    std::vector<std::uint32_t> rows = stand_ins.lose(numbers);
    std::vector<ExpertCall> calls;
    const bool broke_off = stand_ins.calls() != exchange.sent.size();  // what was given out earlier was never sent
    if (rows.empty() || broke_off) co_return calls;

    std::vector<StandIns::Call> given;
    const auto replicas = co_await known_replicas(std::move(uids));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const auto other = std::ranges::find_if(replicas[i], [&](const ExpertInfo& replica) {
        return !exchange.has_asked(replica) && !exchange.strayed.contains(replica.peer_id);
      });
      if (other != replicas[i].end()) given.push_back(stand_ins.repeat(numbers[i], *other));
    }
    std::erase_if(rows, [&](std::uint32_t row) { return !stand_ins.lacks(row); });
    if (!rows.empty()) {
      const ExpertChoice found = co_await next_best(pass, exchange, rows);
      for (auto& call : stand_ins.take_over(rows, found)) given.push_back(std::move(call));
    }

    const Duration left = left_for(exchange);
    if (left <= 0s) co_return calls;
    std::vector<PreparedCall> prepared;
    for (const StandIns::Call& call : given) {
      const Tensor which = at::empty({static_cast<std::int64_t>(call.rows.size())}, at::kLong);
      std::ranges::copy(call.rows, which.data_ptr<std::int64_t>());
      std::vector<Tensor> inputs;
      for (const Tensor& input : batch) inputs.push_back(input.index_select(0, which));
      prepared.push_back(prepare_forward(call.expert, *pass.contract, inputs, {left, options_.detect_anomalies}));
    }
    for (std::size_t i = 0; i < given.size(); ++i) {
      prepared[i].call.repeats = given[i].repeats;
      exchange.add(given[i].expert, given[i].rows, std::move(prepared[i]));
    }
    std::swap(calls, exchange.calls);
    co_return calls;
  }
  /// Who serves each of these experts, as far as that is found quickly: while it is looked for, nobody is asked.
  awaitable<std::vector<std::vector<ExpertInfo>>> known_replicas(std::vector<std::string> uids) {
    constexpr Duration quickly = 100ms;
    std::vector<std::string> keys;
    for (const std::string& uid : uids) keys.push_back(replicas_key(uid));
    std::vector<std::optional<dht::Found>> found(uids.size());
    try {
      found = co_await options_.dht.node().get_many(std::move(keys), {.timeout = quickly, .replicas = 1});
    } catch (const std::exception&) {  // the next best are there, too
      if (is_cancellation(std::current_exception())) throw;
    }
    std::vector<std::vector<ExpertInfo>> replicas;
    for (std::size_t i = 0; i < uids.size(); ++i) replicas.push_back(replicas_of(uids[i], std::nullopt, found[i]));
    co_return replicas;
  }
  /// The best experts of these rows without those that were lost.
  awaitable<ExpertChoice> next_best(const MixturePass& pass, const MixtureExchange& exchange,
                                    std::vector<std::uint32_t> rows) {
    std::vector<Score> scores;
    const auto width = static_cast<std::size_t>(pass.scores.size(1));
    for (const std::uint32_t row : rows) {
      const auto* begin = pass.scores.data_ptr<float>() + row * width;
      scores.insert(scores.end(), begin, begin + width);
    }
    const auto skip = [&exchange, penalized = skipped_now()](const ExpertInfo& expert) {
      return exchange.lost.contains(expert.uid) || exchange.strayed.contains(expert.peer_id) ||
             (penalized && penalized(expert));
    };
    BeamSearch search = searcher_.begin(std::move(scores), rows.size(), options_.k_best, skip);
    const Duration budget = std::min(options_.time_budget, std::max<Duration>(left_for(exchange), 0s));
    ExpertChoice found = co_await searcher_.finish(std::move(search), {.timeout = unlimited, .time_budget = budget});
    if (pass.drop_impossible) found.drop_impossible();
    co_return found;
  }

  /// Of the time that a forward pass has.
  [[nodiscard]] Duration left_for(const MixtureExchange& exchange) const {
    if (options_.forward_timeout == unlimited) return unlimited;
    return options_.forward_timeout - (std::chrono::steady_clock::now() - exchange.started);
  }

  static awaitable<std::size_t> count_peers(dht::Node<> node) { co_return node.peer_count(); }

  /// Sends what an exchange holds and remembers who failed.
  void run(MixtureExchange& exchange, const DispatchOptions& limits, Backup backup = {}) {
    const Dispatcher<p2p::Host> dispatcher(detail::host_of(options_.dht), detail::authorizer_of(options_.dht));
    exchange.first = exchange.sent.size();
    exchange.started = std::chrono::steady_clock::now();
    auto outcomes =
        detail::block_on(options_.dht, dispatcher.run(std::exchange(exchange.calls, {}), limits, std::move(backup)));
    const SteadyTime now = std::chrono::steady_clock::now();
    exchange.duration = now - exchange.started;

    for (std::size_t n = 0; n < outcomes.size(); ++n) exchange.sent[n].outcome = std::move(outcomes[n]);
    exchange.sent.resize(outcomes.size());  // nobody waited for stand-ins that were found too late
    std::vector<std::string> failures;
    {
      const std::scoped_lock lock(mutex_);
      for (std::size_t n = 0; n < exchange.sent.size(); ++n) {
        const auto& [expert, rows, answer, outcome] = exchange.sent[n];
        if (outcome.answered()) {
          penalties_.answered(expert);
        } else if (!penalties_.skips(expert, now)) {
          blame(exchange, n, now);
          if (!outcome.overtaken) failures.push_back(outcome.sentence);
        }
      }
    }
    for (const auto& failure : failures) log(LogLevel::warning, "mixture", failure);
  }
  /// One late answer is bad luck; where a server is late with all of several calls it has most likely stopped.
  void blame(const MixtureExchange& exchange, std::size_t n, SteadyTime now) {
    const ExpertInfo& expert = exchange.sent[n].expert;
    const CallOutcome& outcome = exchange.sent[n].outcome;
    if (outcome.server_failed()) {
      penalties_.server_failed(expert.peer_id, now);
    } else if (outcome.overtaken && !exchange.silent(expert.peer_id)) {
      penalties_.expert_late(expert.uid, now);
    } else {
      penalties_.expert_failed(expert.uid, now);
    }
  }
  /// Tells the observer, and throws when rows have too few answers and must not.
  template <class Poor>
  void conclude(const MixturePass& pass, const MixtureExchange& exchange, bool backward, Poor poor,
                std::size_t needed) {
    MixtureReport report{.backward = backward, .rows = pass.choice.rows(), .duration = exchange.duration};
    std::optional<std::size_t> first;
    for (std::size_t row = 0; row < report.rows; ++row) {
      if (!poor(row)) continue;
      ++report.rows_without;
      if (!first) first = row;
    }
    if (options_.observer) {
      report.rows_partial = static_cast<std::size_t>(std::ranges::count(pass.choice.partial, true));
      exchange.report_to(report);
      options_.observer(report);
    }
    if (first && !options_.allow_zero_outputs) throw exchange.too_few(report, *first, needed);
  }

  MixtureOptions options_;
  std::shared_ptr<ExpectedDelays> delays_;  // how busy servers are and how long answers take
  MoEBeamSearcher<Store> searcher_;
  mutable std::mutex mutex_;
  PenaltyList penalties_;
  MixtureContract contract_;
};

}  // namespace skep::inline v0::moe

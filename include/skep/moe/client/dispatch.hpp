// Dispatcher: sends the requests of one batch to their experts at once, asks others where that is in vain, and collects
// what comes in time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/authorizer.hpp"
#include "skep/moe/client/call.hpp"
#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/expected_delays.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// How long to wait for the answers.
struct DispatchOptions {
  Duration timeout = 60s;                    ///< for all answers
  Duration timeout_after_k_min = unlimited;  ///< further time once every row has k_min answers or cannot get them
  std::size_t k_min = 1;                     ///< answers that each row should have
  std::size_t max_response = p2p::max_unary_size;
};
static_assert(std::is_aggregate_v<DispatchOptions> && std::is_trivially_copyable_v<DispatchOptions>);

/// A call whose rows should ask somebody else.
struct LostCall {
  std::size_t call = 0;        ///< its number
  bool late = false;           ///< it has not failed and may still answer
  bool server_failed = false;  ///< see `CallOutcome`
};

/// Who stands in for experts that fail or are late while a batch is under way.
struct Backup {
  /// More calls for the rows of lost ones, which get the next numbers; on the network's executor, one search at a time,
  /// cancelled when the batch has ended without it. Null: nobody stands in.
  std::function<awaitable<std::vector<ExpertCall>>(std::vector<LostCall>)> calls_instead = {};
  std::shared_ptr<ExpectedDelays> delays = nullptr;  ///< learns how long each answer takes; null: no call is late
  /// A call is late when it has taken so long, and longer than the patience that `delays` has with its server. At most
  /// half of a batch's servers count as late, or one: where all are slow, more requests make them slower.
  Duration hedge_after = unlimited;
};

/// Sends calls concurrently over a network (sockets or a simulated swarm) and waits as the options say.
///
/// *Lifetime:* the calls in flight share the network; the dispatcher may go away. *Threads:* the network's executor.
/// *Cancellation:* cancels every call and waits until the network has let go of their storage. *Errors:* a call that
/// fails or comes too late says so in its outcome and harms no other; nothing is thrown for it.
template <p2p::Network Network>
class Dispatcher {
 public:
  /// @param authorizer  of a moderated swarm, to whose servers the calls bring tickets; null: there are none
  explicit Dispatcher(Network network, std::shared_ptr<dht::Authorizer> authorizer = nullptr)
      : network_(std::move(network)), authorizer_(std::move(authorizer)) {}

  /// Runs all calls, until every row has an answer for each of its calls, from them or from those that stand in.
  /// @return the outcomes, in the order of the calls
  [[nodiscard]] awaitable<std::vector<CallOutcome>> run(std::vector<ExpertCall> calls, DispatchOptions options = {},
                                                        Backup backup = {}) const {
    return run(std::make_shared<State>(network_, authorizer_, std::move(calls), options, std::move(backup)));
  }

 private:
  struct State {
    State(Network on, std::shared_ptr<dht::Authorizer> member, std::vector<ExpertCall> to_send, DispatchOptions how,
          Backup others)
        : network(std::move(on)),
          authorizer(std::move(member)),
          options(how),
          backup(std::move(others)),
          counter(rows_of(to_send), how.k_min),
          changed(network.executor()) {
      std::unordered_set<p2p::PeerId> servers;
      for (auto& call : to_send) {
        if (backup.delays) servers.insert(call.expert.peer_id);
        add(std::move(call));
      }
      late_allowed = std::max<std::size_t>(servers.size() / 2, 1);
    }

    void add(ExpertCall call) {
      calls.push_back(std::move(call));
      outcomes.emplace_back();
      progress.emplace_back();
      ++pending;
    }
    [[nodiscard]] bool has_answered(std::size_t call) const {
      return progress[call].ended && outcomes[call].answered();
    }
    static std::vector<std::vector<std::uint32_t>> rows_of(std::vector<ExpertCall>& calls) {
      std::vector<std::vector<std::uint32_t>> rows;
      // NOLINTNEXTLINE(performance-inefficient-vector-operation)
      for (auto& call : calls) rows.push_back(std::move(call.rows));
      return rows;
    }

    struct Progress {
      SteadyTime sent{};
      bool ended = false;
      bool lost = false;    ///< others are asked in its place
      bool sought = false;  ///< they are not found yet
    };

    Network network;
    std::shared_ptr<dht::Authorizer> authorizer;
    DispatchOptions options;
    Backup backup;
    std::deque<ExpertCall> calls;  ///< those under way refer to theirs while more are added
    std::vector<CallOutcome> outcomes;
    std::vector<Progress> progress;
    std::size_t pending = 0;
    KMinCounter counter;
    std::vector<LostCall> lost;                    ///< nobody was asked in their place yet
    std::vector<LostCall> sought;                  ///< for them a search is under way
    std::optional<std::vector<ExpertCall>> found;  ///< by it, when it has ended
    std::unordered_set<p2p::PeerId> late;          ///< servers
    std::size_t late_allowed = 0;
    bool untimed = false;  ///< a call is under way of which nobody knows when it is late
    Event changed;         ///< `collect` has something to do
    SteadyTime started{};
    bool closed = false;  ///< what ends from now on came too late
  };
  using StatePtr = std::shared_ptr<State>;

  static awaitable<std::vector<CallOutcome>> run(StatePtr state) {
    Scope scope(state->network.executor(), "dispatch");
    state->started = state->network.steady_now();
    for (std::size_t i = 0; i < state->calls.size(); ++i) scope.spawn(one(state, i));

    std::exception_ptr stopped;
    try {
      co_await collect(state, scope);
    } catch (...) {
      stopped = std::current_exception();
    }
    state->closed = true;
    const bool cancelled = is_cancelled(co_await asio::this_coro::cancellation_state);
    co_await clear_cancellation();  // those under way refer to what the caller owns: their end is awaited in any case
    scope.cancel();
    co_await scope.join();
    if (stopped) std::rethrow_exception(stopped);
    if (cancelled) throw_cancelled();
    co_return std::move(state->outcomes);
  }

  /// Waits until all calls have ended or the time for them is over.
  static awaitable<void> collect(StatePtr state, Scope& scope) {
    const DispatchOptions& options = state->options;
    SteadyTime deadline = deadline_after(state->started, options.timeout);
    bool settled = false;
    for (;;) {
      state->changed.reset();
      if (state->counter.all_full()) break;
      ask_others(state, scope);
      const SteadyTime next_late = find_late(*state);
      std::erase_if(state->lost, [&](const LostCall& lost) { return state->has_answered(lost.call); });
      if (!state->lost.empty() && state->sought.empty()) {
        state->sought = std::exchange(state->lost, {});
        scope.spawn(seek_others(state));
        continue;
      }
      if (state->pending == 0 && state->sought.empty()) break;
      if (!settled && state->counter.all_settled()) {
        settled = true;
        deadline = std::min(deadline, deadline_after(state->network.steady_now(), options.timeout_after_k_min));
      }
      try {
        co_await with_deadline(state->network, std::min(deadline, next_late), state->changed.wait(),
                               "the experts' answers");
      } catch (const Error& error) {
        if (error.code() != errc::timed_out) throw;
        if (state->network.steady_now() >= deadline) break;
      }
    }
    for (std::size_t i = 0; i < state->calls.size(); ++i) {
      if (!state->progress[i].ended) give_up(*state, i, settled);
    }
  }

  /// Counts the calls that are late among the lost ones. @return when the next one will be
  static SteadyTime find_late(State& state) {
    SteadyTime next = SteadyTime::max();
    state.untimed = false;
    if (!state.backup.calls_instead || !state.backup.delays || state.backup.hedge_after == unlimited) return next;
    const SteadyTime now = state.network.steady_now();
    for (std::size_t i = 0; i < state.calls.size(); ++i) {
      auto& progress = state.progress[i];
      if (progress.ended || progress.lost) continue;
      const p2p::PeerId& server = state.calls[i].expert.peer_id;
      if (state.late.size() >= state.late_allowed && !state.late.contains(server)) continue;
      const Duration patience = state.backup.delays->patience(server);
      state.untimed = state.untimed || patience == unlimited;
      const SteadyTime late = deadline_after(progress.sent, std::max(patience, state.backup.hedge_after));
      if (late > now) {
        next = std::min(next, late);
        continue;
      }
      progress.lost = progress.sought = true;
      state.late.insert(server);
      state.lost.push_back({.call = i, .late = true});
    }
    return next;
  }

  /// Looks for calls that stand in for lost ones; when none can be had the batch goes on without.
  static awaitable<void> seek_others(StatePtr state) {
    std::vector<ExpertCall> others;
    try {
      others = co_await state->backup.calls_instead(state->sought);
    } catch (...) {
      if (state->closed) co_return;
      log(LogLevel::debug, "mixture",
          "nobody stands in for lost experts: " + skep::detail::describe(std::current_exception()));
    }
    state->found = std::move(others);
    state->changed.set();
  }

  /// Sends what a search has found.
  static void ask_others(const StatePtr& state, Scope& scope) {
    if (!state->found) return;
    std::vector<ExpertCall> others = *std::exchange(state->found, std::nullopt);
    for (ExpertCall& call : others) {
      state->counter.add(std::move(call.rows), call.repeats);
      state->add(std::move(call));
      scope.spawn(one(state, state->calls.size() - 1));
    }
    for (const LostCall& lost : std::exchange(state->sought, {})) {
      state->progress[lost.call].sought = false;
      const bool failed = state->progress[lost.call].ended && !state->has_answered(lost.call);
      if (failed) (void)state->counter.end(lost.call, false);  // only now: meanwhile its rows had hope
    }
  }

  /// Ends a call that has not answered.
  static void give_up(State& state, std::size_t i, bool settled) {
    const ExpertCall& call = state.calls[i];
    std::string sentence = "expert " + call.expert.uid + " on " + call.expert.peer_id.to_string() + " did not answer ";
    if (state.counter.all_full()) {
      state.outcomes[i].overtaken = true;
      sentence += "before others that were asked in its place";
    } else if (settled && deadline_after(state.started, state.options.timeout) > state.network.steady_now()) {
      sentence +=
          "within " + skep::detail::describe_wait(state.options.timeout_after_k_min) + " after enough others had";
    } else {
      sentence += "within " + skep::detail::describe_wait(state.options.timeout);
    }
    end(state, i, errc::timed_out, std::move(sentence));
  }

  static awaitable<void> one(StatePtr state, std::size_t i) {
    std::error_code code;
    std::string sentence;
    try {
      state->progress[i].sent = state->network.steady_now();
      const DispatchOptions& wanted = state->options;
      ExpertCall& call = state->calls[i];
      if (state->authorizer) co_await add_ticket(state->network, state->authorizer, call, wanted.timeout);
      call.attach_metadata();
      for (const auto& message : call.messages) state->outcomes[i].bytes += message.size();
      const p2p::CallOptions options{.timeout = wanted.timeout, .max_response = wanted.max_response};
      co_await call_expert(state->network, call, options);
      if (state->closed) co_return;
      if (const auto& accept = state->calls[i].accept) {
        if (auto refusal = accept()) {
          code = errc::malformed;
          sentence = std::move(*refusal);
        }
      }
    } catch (const RemoteError& error) {
      code = error.code();
      sentence = error.what();
    } catch (const std::system_error& error) {
      code = error.code();
      sentence = "expert " + state->calls[i].expert.uid + ": " + std::string(without_prefix(error.what()));
    } catch (...) {
      code = errc::malformed;
      sentence = "expert " + state->calls[i].expert.uid + ": " + skep::detail::describe(std::current_exception());
    }
    if (!state->closed) end(*state, i, code, std::string(without_prefix(sentence)));
  }

  static void end(State& state, std::size_t i, std::error_code code, std::string sentence) {
    CallOutcome& outcome = state.outcomes[i];
    outcome.code = code;
    outcome.sentence = std::move(sentence);
    const SteadyTime now = state.network.steady_now();
    outcome.latency = now - state.progress[i].sent;
    state.progress[i].ended = true;
    --state.pending;
    if (!code && state.backup.delays) {
      state.backup.delays->measured(state.calls[i].expert.peer_id, outcome.latency, now);
    } else if (code && state.backup.calls_instead && !std::exchange(state.progress[i].lost, true)) {
      state.progress[i].sought = true;
      state.lost.push_back({.call = i, .server_failed = outcome.server_failed()});
    }
    const bool settled = (!code || !state.progress[i].sought) && state.counter.end(i, !code);
    if (settled || state.pending == 0 || state.counter.all_full() || !state.lost.empty() || state.untimed) {
      state.changed.set();
    }
  }

  Network network_;
  std::shared_ptr<dht::Authorizer> authorizer_;
};

}  // namespace skep::inline v0::moe

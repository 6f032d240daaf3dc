// Dispatcher: sends the requests of one batch to their experts at once and collects what comes in time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/call_guard.hpp"
#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/request_metadata.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

/// One request to one expert and where its answer goes.
struct ExpertCall {
  ExpertInfo expert;
  std::string method;                      ///< "ConnectionHandler.rpc_forward" and its kin
  std::vector<p2p::Payload> messages;      ///< one; or all messages of a streaming call
  bool streaming = false;                  ///< the method answers with a stream
  std::shared_ptr<p2p::AnyBodySink> sink;  ///< takes the answer, each message of a stream in turn
  std::vector<std::uint32_t> rows = {};    ///< the samples it serves, for k_min
  /// Judges the whole answer on the network's executor; a sentence makes the call a failure. Null: any answer will do.
  std::function<std::optional<std::string>()> accept = {};
  RequestMetadata metadata = {};  ///< still to be put into the first message

  void attach_metadata() {
    if (!messages.empty()) metadata.prepend_to(messages.front());
  }
};

/// How long to wait for the answers.
struct DispatchOptions {
  Duration timeout = 60s;                    ///< for all answers
  Duration timeout_after_k_min = unlimited;  ///< further time once every row has k_min answers or cannot get them
  std::size_t k_min = 1;                     ///< answers that each row should have
  std::size_t max_response = p2p::max_unary_size;
};
static_assert(std::is_aggregate_v<DispatchOptions> && std::is_trivially_copyable_v<DispatchOptions>);

/// What became of a call.
struct CallOutcome {
  std::error_code code;   ///< empty: it was answered
  std::string sentence;   ///< why it failed
  Duration latency{};     ///< from the start of the batch to the end of this call
  std::size_t bytes = 0;  ///< sent

  [[nodiscard]] bool answered() const noexcept { return !code; }
  /// The server could not be reached, or the connection to it broke.
  [[nodiscard]] bool server_failed() const noexcept {
    return code == errc::unreachable || code == errc::closed || code == std::errc::connection_reset ||
           code == std::errc::connection_refused || code == std::errc::connection_aborted ||
           code == std::errc::broken_pipe;
  }
};

/// Gives the call the ticket that servers of a moderated swarm ask for; takes some 0.7 ms of the network's thread.
/// Throws when no access is to be had in time.
template <p2p::Network Network>
[[nodiscard]] awaitable<void> add_ticket(Network network, std::shared_ptr<dht::Authorizer> authorizer, ExpertCall& call,
                                         Duration timeout) {
  const dht::CallGuard<Network> guard(std::move(network), std::move(authorizer));
  call.metadata.ticket = co_await guard.ticket(call.expert.peer_id, call.method, timeout);
}

/// Makes one call as its messages are; its answer lands in its sink and is not judged yet. `call` lives until the end.
/// Throws RemoteError for what the expert says itself, and what the network throws.
template <p2p::Network Network>
[[nodiscard]] awaitable<void> call_expert(Network network, ExpertCall& call, p2p::CallOptions options) {
  std::string remote_text;
  try {
    if (!call.streaming) {
      p2p::Payload body = call.messages.empty() ? p2p::Payload() : std::move(call.messages.front());
      co_await network.call_into(call.expert.peer_id, call.method, std::move(body), call.sink, options);
      co_return;
    }
    auto stream = co_await network.open(call.expert.peer_id, call.method, options);
    for (auto& message : call.messages) co_await stream.send(std::move(message));
    co_await stream.end_of_input();
    for (bool more = true; more;) more = co_await stream.receive_into(call.sink);
    co_return;
  } catch (const RemoteError& error) {
    remote_text = error.text();
  }
  throw RemoteError("expert " + call.expert.uid + " on " + call.expert.peer_id.to_string(), remote_text);
}

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

  /// Runs all calls. @return their outcomes, in the order of the calls
  [[nodiscard]] awaitable<std::vector<CallOutcome>> run(std::vector<ExpertCall> calls,
                                                        DispatchOptions options = {}) const {
    return run(std::make_shared<State>(network_, authorizer_, std::move(calls), options));
  }

 private:
  struct State {
    State(Network on, std::shared_ptr<dht::Authorizer> member, std::vector<ExpertCall> to_send, DispatchOptions how)
        : network(std::move(on)),
          authorizer(std::move(member)),
          calls(std::move(to_send)),
          options(how),
          outcomes(calls.size()),
          ended(calls.size()),
          pending(calls.size()),
          counter(rows_of(calls), how.k_min),
          changed(network.executor()) {}

    static std::vector<std::vector<std::uint32_t>> rows_of(std::vector<ExpertCall>& calls) {
      std::vector<std::vector<std::uint32_t>> rows;
      // NOLINTNEXTLINE(performance-inefficient-vector-operation)
      for (auto& call : calls) rows.push_back(std::move(call.rows));
      return rows;
    }

    Network network;
    std::shared_ptr<dht::Authorizer> authorizer;
    std::vector<ExpertCall> calls;
    DispatchOptions options;
    std::vector<CallOutcome> outcomes;
    std::vector<bool> ended;
    std::size_t pending;
    KMinCounter counter;
    Event changed;  ///< all rows are settled, or all calls have ended
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
      co_await collect(state);
    } catch (...) {
      stopped = std::current_exception();
    }
    state->closed = true;
    if (stopped) co_await clear_cancellation();
    if (scope.size() > 0) {
      scope.cancel();
      co_await scope.join();
    }
    if (stopped) std::rethrow_exception(stopped);
    co_return std::move(state->outcomes);
  }

  /// Waits until all calls have ended or the time for them is over.
  static awaitable<void> collect(StatePtr state) {
    const DispatchOptions& options = state->options;
    SteadyTime deadline = deadline_after(state->started, options.timeout);
    bool settled = false;
    while (state->pending > 0) {
      if (!settled && state->counter.all_settled()) {
        settled = true;
        deadline = std::min(deadline, deadline_after(state->network.steady_now(), options.timeout_after_k_min));
      }
      state->changed.reset();
      try {
        co_await with_deadline(state->network, deadline, state->changed.wait(), "the experts' answers");
      } catch (const Error& error) {
        if (error.code() != errc::timed_out) throw;
        break;
      }
    }
    for (std::size_t i = 0; i < state->calls.size(); ++i) {
      if (!state->ended[i]) late(*state, i, settled);
    }
  }

  /// Ends a call that has not answered.
  static void late(State& state, std::size_t i, bool settled) {
    const ExpertCall& call = state.calls[i];
    std::string sentence = "expert " + call.expert.uid + " on " + call.expert.peer_id.to_string() + " did not answer ";
    if (settled && deadline_after(state.started, state.options.timeout) > state.network.steady_now()) {
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
      sentence = "expert " + state->calls[i].expert.uid + ": " + without_prefix(error.what());
    } catch (...) {
      code = errc::malformed;
      sentence = "expert " + state->calls[i].expert.uid + ": " + skep::detail::describe(std::current_exception());
    }
    if (!state->closed) end(*state, i, code, without_prefix(sentence));
  }

  /// Sentences become parts of longer ones.
  [[nodiscard]] static std::string without_prefix(const std::string& sentence) {
    return sentence.starts_with("skep: ") ? sentence.substr(6) : sentence;
  }

  static void end(State& state, std::size_t i, std::error_code code, std::string sentence) {
    CallOutcome& outcome = state.outcomes[i];
    outcome.code = code;
    outcome.sentence = std::move(sentence);
    outcome.latency = state.network.steady_now() - state.started;
    state.ended[i] = true;
    --state.pending;
    const bool settled = state.counter.end(i, !code);
    if (settled || state.pending == 0) state.changed.set();
  }

  Network network_;
  std::shared_ptr<dht::Authorizer> authorizer_;
};

}  // namespace skep::inline v0::moe

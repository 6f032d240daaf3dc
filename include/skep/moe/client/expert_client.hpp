// ExpertClient: one remote expert as its callers share it: where it is, what it takes and gives, how it is called.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/any_replica.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/client/expert_inputs.hpp"
#include "skep/moe/replicas.hpp"
#include "skep/moe/tensor/request_check.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// How a remote expert is called.
struct RemoteExpertOptions {
  Duration forward_timeout = 60s;   ///< from the call to the outputs, the schema's fetching included
  Duration backward_timeout = 60s;  ///< from the call to the gradients
  bool detect_anomalies = false;    ///< refuse inputs, outputs and gradients that hold NaN or infinity
};

/// A server of an expert, and what it said the expert takes and gives.
struct ExpertTarget {
  ExpertInfo expert;
  std::shared_ptr<const ExpertContract> contract = nullptr;  ///< null: it was not asked yet
};

/// What came of a forward call.
struct ExpertOutputs {
  std::vector<Tensor> tensors;
  ExpertTarget target;                  ///< who computed them, and will backward
  std::vector<std::size_t> order = {};  ///< the input at each place of the request
};

/// One expert as its callers share it. Thread-safe; its coroutines run on the network's executor.
///
/// A server that did not begin a request is replaced by another one of the same uid, which later calls go to first; a
/// forward request, which changes nothing, is also repeated when the connection broke. When a request does not fit, or
/// its answer, the server is asked once more what the expert takes and gives, for it may have changed.
class ExpertClient : public std::enable_shared_from_this<ExpertClient> {
 public:
  ExpertClient(ExpertInfo expert, CallNetwork network, RemoteExpertOptions options)
      : expert_(std::move(expert)), network_(std::move(network)), options_(options), target_{expert_} {}

  /// The expert as it was looked up; calls may go to a replica.
  [[nodiscard]] const ExpertInfo& expert() const noexcept { return expert_; }
  [[nodiscard]] const CallNetwork& network() const noexcept { return network_; }
  [[nodiscard]] const RemoteExpertOptions& options() const noexcept { return options_; }

  /// Where the next call goes. Any thread.
  [[nodiscard]] ExpertTarget target() const {
    const std::scoped_lock lock(mutex_);
    return target_;
  }
  /// What the expert takes and gives; asked once.
  [[nodiscard]] awaitable<std::shared_ptr<const ExpertContract>> contract() { return contract(shared_from_this()); }
  /// The same as far as it is known already, else null. Any thread.
  [[nodiscard]] std::shared_ptr<const ExpertContract> known_contract() const { return target().contract; }

  /// Outputs for inputs. Throws errc::invalid_argument for inputs that the expert does not take, without sending them;
  /// RemoteError for what the expert says itself; what the network throws.
  /// @param outputs  how many tensors the caller expects; nothing: any number
  [[nodiscard]] awaitable<ExpertOutputs> forward(ExpertInputs inputs, std::optional<std::size_t> outputs = {}) {
    return within(network_.host(), options_.forward_timeout,
                  forward(shared_from_this(), std::make_shared<const ExpertInputs>(std::move(inputs)), outputs));
  }
  /// Gradients of the inputs for those of the outputs; makes the expert learn, once.
  /// @param target     of the forward call
  /// @param inputs     in the order of the request
  [[nodiscard]] awaitable<std::vector<Tensor>> backward(ExpertTarget target, std::vector<Tensor> inputs,
                                                        std::vector<Tensor> gradients) {
    return within(network_.host(), options_.backward_timeout,
                  backward(shared_from_this(), std::move(target), std::move(inputs), std::move(gradients)));
  }

 private:
  using Self = std::shared_ptr<ExpertClient>;
  using Contract = std::shared_ptr<const ExpertContract>;

  template <class T>
  static awaitable<T> within(p2p::Host clock, Duration timeout, awaitable<T> call) {
    co_return co_await with_timeout(clock, timeout, std::move(call), "the call of a remote expert");
  }

  static awaitable<Contract> contract(Self self) {
    ExpertTarget target = self->target();
    if (!target.contract) target.contract = co_await ask(self, target.expert, self->options_.forward_timeout);
    self->prefer(target);
    co_return target.contract;
  }
  /// Asks a server what the expert takes and gives.
  static awaitable<Contract> ask(Self self, ExpertInfo expert, Duration timeout) {
    p2p::Host host = self->network_.host();
    for (const auto& address : expert.addresses) host.add_address(expert.peer_id, address);
    const p2p::CallOptions options{.timeout = timeout};
    co_return co_await fetch_contract(host, std::move(expert), options, self->network_.authorizer());
  }
  /// The same before a first call, of which nothing has begun when this fails. A server that is silent must not use up
  /// the time in which another could answer.
  static awaitable<Contract> ask_first(Self self, ExpertInfo expert, Duration timeout) {
    if (self->network_.node() && timeout != unlimited) timeout /= 2;
    std::string words;
    try {
      co_return co_await ask(self, std::move(expert), timeout);
    } catch (const Error& error) {
      if (error.code() != errc::timed_out && !CallOutcome{.code = error.code()}.server_failed()) throw;
      words = without_prefix(error.what());
    }
    throw Error(errc::unreachable, words);
  }
  /// The same server with what is known of it, or another of which nothing is.
  static ExpertTarget at_server(const ExpertInfo& server, const ExpertTarget& known) {
    if (server == known.expert) return known;
    return {server};
  }
  void prefer(ExpertTarget target) {
    const std::scoped_lock lock(mutex_);
    target_ = std::move(target);
  }

  /// Who else serves the expert; nobody when there is no DHT or it does not answer.
  static awaitable<std::vector<ExpertInfo>> replicas(Self self) {
    std::vector<ExpertInfo> found;
    auto node = self->network_.node();
    if (!node) co_return found;
    try {
      found = co_await find_replicas(*node, self->expert_.uid, self->options_.forward_timeout);
    } catch (const Error&) {
      if (is_cancellation(std::current_exception())) throw;
    }
    found.push_back(self->expert_);
    co_return found;
  }

  static awaitable<ExpertOutputs> forward(Self self, std::shared_ptr<const ExpertInputs> inputs,
                                          std::optional<std::size_t> outputs) {
    if (self->options_.detect_anomalies) detail::require_finite(inputs->tensors, "inputs");
    const ExpertTarget target = self->target();
    const auto attempt = [&](const ExpertInfo& at) { return forward_at(self, at_server(at, target), inputs, outputs); };
    const auto others = [&] { return replicas(self); };
    ExpertOutputs found = co_await call_any_replica<ExpertOutputs>(self->network_.host(), target.expert,
                                                                   Repeat::harmless, others, attempt);
    self->prefer(found.target);
    co_return found;
  }

  static awaitable<ExpertOutputs> forward_at(Self self, ExpertTarget target, std::shared_ptr<const ExpertInputs> inputs,
                                             std::optional<std::size_t> outputs) {
    Contract before;
    bool fresh = !target.contract;
    if (fresh) target.contract = co_await ask_first(self, target.expert, self->options_.forward_timeout);
    for (;;) {
      std::exception_ptr misfit;
      try {
        co_return co_await forward_with(self, target, inputs, outputs);
      } catch (const Error& error) {
        const bool stale = error.code() == errc::invalid_argument || error.code() == errc::malformed ||
                           (error.code() == errc::remote && !refused_to_begin(error, target.expert.uid));
        if (!stale) throw;
        if (before) throw_changed(error, target.expert, *before, *target.contract);
        if (fresh) throw;
        misfit = std::current_exception();
      }
      before = std::exchange(target.contract, co_await ask_again(self, target, misfit));
      self->prefer(target);
    }
  }
  static awaitable<ExpertOutputs> forward_with(Self self, ExpertTarget target,
                                               std::shared_ptr<const ExpertInputs> inputs,
                                               std::optional<std::size_t> outputs) {
    const ExpertContract& contract = *target.contract;
    Arrangement arranged = inputs->arrange(contract.schema);
    const std::vector<Tensor> sent = inputs->in(arranged.order);
    if (!arranged.refusal) arranged.refusal = contract.forward_check.tensors(sent);
    if (arranged.refusal) {
      throw Error(errc::invalid_argument, "expert " + target.expert.uid + " refused the request: " + *arranged.refusal);
    }
    if (outputs && contract.outputs.size() != *outputs) {
      throw Error(errc::invalid_argument, "the expert answers with " + std::to_string(contract.outputs.size()) +
                                              " tensors, its signature here says " + std::to_string(*outputs));
    }
    const Duration timeout = self->options_.forward_timeout;
    const PreparedCall prepared =
        prepare_forward(target.expert, contract, sent, {timeout, self->options_.detect_anomalies});
    co_await send(self, prepared, timeout);
    co_return ExpertOutputs{std::move(prepared.answer->tensors()), std::move(target), std::move(arranged.order)};
  }

  static awaitable<std::vector<Tensor>> backward(Self self, ExpertTarget target, std::vector<Tensor> inputs,
                                                 std::vector<Tensor> gradients) {
    if (self->options_.detect_anomalies) detail::require_finite(gradients, "gradients");
    const auto attempt = [&](const ExpertInfo& at) {
      return backward_at(self, at_server(at, target), inputs, gradients);
    };
    const auto others = [&] { return replicas(self); };
    co_return co_await call_any_replica<std::vector<Tensor>>(self->network_.host(), target.expert, Repeat::harmful,
                                                             others, attempt);
  }
  static awaitable<std::vector<Tensor>> backward_at(Self self, ExpertTarget target, std::vector<Tensor> inputs,
                                                    std::vector<Tensor> gradients) {
    if (!target.contract) target.contract = co_await ask_first(self, target.expert, self->options_.backward_timeout);
    const ExpertContract& contract = *target.contract;
    std::vector<Tensor> all = inputs;
    all.insert(all.end(), gradients.begin(), gradients.end());
    const RequestCheck check(contract.inputs, contract.outputs, std::numeric_limits<std::int64_t>::max());
    if (const auto refusal = check.tensors(all)) {
      throw Error(errc::invalid_argument, "expert " + target.expert.uid + " refused the request: " + *refusal);
    }
    const Duration timeout = self->options_.backward_timeout;
    const PreparedCall prepared =
        prepare_backward(target.expert, contract, inputs, gradients, {timeout, self->options_.detect_anomalies});
    std::exception_ptr misfit;
    std::string words;
    try {
      co_await send(self, prepared, timeout);
      co_return std::move(prepared.answer->tensors());
    } catch (const RemoteError& error) {
      if (refused_to_begin(error, target.expert.uid)) throw;
      misfit = std::current_exception();
    }
    const Contract before = std::exchange(target.contract, co_await ask_again(self, target, misfit));
    self->prefer(target);
    try {
      std::rethrow_exception(misfit);
    } catch (const Error& error) {
      throw_changed(error, target.expert, *before, *target.contract);
    }
  }

  /// Asks a server again what the expert takes and gives. Throws `misfit` when that has not changed.
  static awaitable<Contract> ask_again(Self self, ExpertTarget target, std::exception_ptr misfit) {
    Contract now;
    try {
      now = co_await ask(self, target.expert, self->options_.forward_timeout);
    } catch (const Error&) {
      if (is_cancellation(std::current_exception())) throw;
    }
    if (!now || now->schema.encode() == target.contract->schema.encode()) std::rethrow_exception(misfit);
    co_return now;
  }
  [[noreturn]] static void throw_changed(const Error& error, const ExpertInfo& expert, const ExpertContract& before,
                                         const ExpertContract& now) {
    throw Error(error.code(), std::string(without_prefix(error.what())) + " (the server has changed expert " +
                                  expert.uid + ": it is " + describe_schema(now.schema) + " now, it was " +
                                  describe_schema(before.schema) + ")");
  }

  static awaitable<void> send(Self self, PreparedCall prepared, Duration timeout) {
    const p2p::Host host = self->network_.host();
    const auto authorizer = self->network_.authorizer();
    if (authorizer) co_await add_ticket(host, authorizer, prepared.call, timeout);
    prepared.call.attach_metadata();
    co_await call_expert(host, prepared.call, p2p::CallOptions{.timeout = timeout});
    if (auto refusal = prepared.call.accept()) throw Error(errc::malformed, *refusal);
  }

  const ExpertInfo expert_;
  const CallNetwork network_;
  const RemoteExpertOptions options_;
  mutable std::mutex mutex_;
  ExpertTarget target_;
};

}  // namespace skep::inline v0::moe

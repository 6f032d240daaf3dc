// ExpertClient: one remote expert as its callers share it: where it is, what it takes and gives, how it is called.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// How a remote expert is called.
struct RemoteExpertOptions {
  Duration forward_timeout = 60s;   ///< from the call to the outputs, the schema's fetching included
  Duration backward_timeout = 60s;  ///< from the call to the gradients
  bool detect_anomalies = false;    ///< refuse inputs, outputs and gradients that hold NaN or infinity
};

/// One expert as its callers share it: where it is, what it takes and gives. Thread-safe.
class ExpertClient : public std::enable_shared_from_this<ExpertClient> {
 public:
  ExpertClient(ExpertInfo expert, dht::DHT dht, RemoteExpertOptions options)
      : expert_(std::move(expert)), dht_(std::move(dht)), options_(options) {}

  [[nodiscard]] const ExpertInfo& expert() const noexcept { return expert_; }
  [[nodiscard]] const dht::DHT& dht() const noexcept { return dht_; }
  [[nodiscard]] const RemoteExpertOptions& options() const noexcept { return options_; }

  /// What the expert takes and gives; asked once. On the DHT's executor.
  [[nodiscard]] awaitable<std::shared_ptr<const ExpertContract>> contract() { return contract(shared_from_this()); }
  /// The same as far as it is known already, else null. Any thread.
  [[nodiscard]] std::shared_ptr<const ExpertContract> known_contract() const {
    const std::scoped_lock lock(mutex_);
    return contract_;
  }

  /// Outputs for inputs. On the DHT's executor. Throws errc::invalid_argument for inputs that the expert does not
  /// take, without sending them; RemoteError for what the expert says itself; what the network throws.
  [[nodiscard]] awaitable<std::vector<Tensor>> forward(std::vector<Tensor> inputs) {
    return within(network(), options_.forward_timeout, forward(shared_from_this(), std::move(inputs)));
  }
  /// Gradients of the inputs for those of the outputs; makes the expert learn. After a forward call.
  [[nodiscard]] awaitable<std::vector<Tensor>> backward(std::vector<Tensor> inputs, std::vector<Tensor> gradients) {
    return within(network(), options_.backward_timeout,
                  backward(shared_from_this(), std::move(inputs), std::move(gradients)));
  }

 private:
  using Self = std::shared_ptr<ExpertClient>;

  [[nodiscard]] p2p::Host network() const { return detail::host_of(dht_); }

  static awaitable<std::vector<Tensor>> within(p2p::Host clock, Duration timeout, awaitable<std::vector<Tensor>> call) {
    co_return co_await with_timeout(clock, timeout, std::move(call), "the call of a remote expert");
  }

  static awaitable<std::shared_ptr<const ExpertContract>> contract(Self self) {
    if (auto known = self->known_contract()) co_return known;
    const p2p::CallOptions options{.timeout = self->options_.forward_timeout};
    auto fetched = co_await fetch_contract(self->network(), self->expert_, options, detail::authorizer_of(self->dht_));
    const std::scoped_lock lock(self->mutex_);
    self->contract_ = fetched;
    co_return fetched;
  }

  static awaitable<std::vector<Tensor>> forward(Self self, std::vector<Tensor> inputs) {
    const auto contract = co_await ExpertClient::contract(self);
    if (auto sentence = contract->forward_check.tensors(inputs)) {
      throw Error(errc::invalid_argument, "expert " + self->expert_.uid + " refused the request: " + *sentence);
    }
    if (self->options_.detect_anomalies) detail::require_finite(inputs, "inputs");
    const PreparedCall prepared = prepare_forward(self->expert_, *contract, inputs,
                                                  {self->options_.forward_timeout, self->options_.detect_anomalies});
    co_await send(self, prepared, self->options_.forward_timeout);
    co_return std::move(prepared.answer->tensors());
  }

  static awaitable<std::vector<Tensor>> backward(Self self, std::vector<Tensor> inputs, std::vector<Tensor> gradients) {
    const auto contract = co_await ExpertClient::contract(self);
    if (self->options_.detect_anomalies) detail::require_finite(gradients, "gradients");
    const PreparedCall prepared = prepare_backward(self->expert_, *contract, inputs, gradients,
                                                   {self->options_.backward_timeout, self->options_.detect_anomalies});
    co_await send(self, prepared, self->options_.backward_timeout);
    co_return std::move(prepared.answer->tensors());
  }

  static awaitable<void> send(Self self, PreparedCall prepared, Duration timeout) {
    const p2p::Host network = self->network();
    const auto authorizer = detail::authorizer_of(self->dht_);
    if (authorizer) co_await add_ticket(network, authorizer, prepared.call, timeout);
    prepared.call.attach_metadata();
    co_await call_expert(network, prepared.call, p2p::CallOptions{.timeout = timeout});
    if (auto refusal = prepared.call.accept()) throw Error(errc::malformed, *refusal);
  }

  ExpertInfo expert_;
  dht::DHT dht_;
  RemoteExpertOptions options_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ExpertContract> contract_;
};

}  // namespace skep::inline v0::moe

// RemoteExpert: an expert on another machine as a LibTorch module, blocking inside autograd or awaitable without it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/runner.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"
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
    auto fetched = co_await fetch_contract(self->network(), self->expert_, options);
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
    const PreparedCall prepared = prepare_forward(self->expert_, *contract, inputs, self->options_.detect_anomalies);
    co_await send(self, prepared, self->options_.forward_timeout);
    co_return std::move(prepared.answer->tensors());
  }

  static awaitable<std::vector<Tensor>> backward(Self self, std::vector<Tensor> inputs, std::vector<Tensor> gradients) {
    const auto contract = co_await ExpertClient::contract(self);
    if (self->options_.detect_anomalies) detail::require_finite(gradients, "gradients");
    const PreparedCall prepared =
        prepare_backward(self->expert_, *contract, inputs, gradients, self->options_.detect_anomalies);
    co_await send(self, prepared, self->options_.backward_timeout);
    co_return std::move(prepared.answer->tensors());
  }

  static awaitable<void> send(Self self, PreparedCall prepared, Duration timeout) {
    co_await call_expert(self->network(), prepared.call, p2p::CallOptions{.timeout = timeout});
    if (auto refusal = prepared.call.accept()) throw Error(errc::malformed, *refusal);
  }

  ExpertInfo expert_;
  dht::DHT dht_;
  RemoteExpertOptions options_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ExpertContract> contract_;
};

namespace detail {

/// A remote call as a node of the graph. A tensor that requires grad comes along in any case: so the expert learns even
/// where none of its inputs needs a gradient.
class RemoteCall : public torch::autograd::Function<RemoteCall> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                std::shared_ptr<ExpertClient> client, const Tensor& /*learns*/,
                                                at::TensorList inputs) {
    const at::Device device = inputs.front().device();
    auto outputs = block_on(client->dht(), client->forward(to_send(inputs)));
    mark_whole_numbers(*context, outputs);
    for (Tensor& output : outputs) output = output.to(device);
    context->save_for_backward(inputs.vec());
    context->saved_data["client"] = keep_in_graph(std::move(client));
    return outputs;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto client = kept_in_graph<ExpertClient>(context->saved_data["client"]);
    const auto inputs = context->get_saved_variables();
    torch::autograd::variable_list found;
    {
      const at::NoGradGuard no_grad;
      std::vector<Tensor> sent = to_send(gradients);
      const auto& outputs = client->known_contract()->outputs;
      for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = sent[i].to(outputs[i].dtype.value_or(at::kFloat));
      found = block_on(client->dht(), client->backward(to_send(inputs), std::move(sent)));
      for (std::size_t i = 0; i < found.size(); ++i) {
        found[i] = inputs[i].is_floating_point() ? found[i].to(inputs[i].device()) : Tensor();
      }
    }
    found = refuse_second_derivative("expert " + client->expert().uid, inputs, gradients, std::move(found));
    found.insert(found.begin(), {Tensor(), Tensor()});  // of the client and of the tensor that makes it learn
    return found;
  }
};

}  // namespace detail

template <TensorSignature Signature>
class RemoteExpertImpl;

/// An expert that another peer serves. Its parameters live there: the module has none, and `backward` makes the expert
/// take an optimizer step of its own.
///
/// *Threads:* any number of threads may call it at once; a call blocks its thread, so none of them may be an I/O
/// thread. Large inputs and outputs (above 2 and 4 MiB) travel as a stream. Outputs come back on the device of the
/// first input. *Errors:* `Error` after the deadline, for inputs that the expert does not take (before they are sent),
/// and for `backward` through `backward`; `RemoteError` with what the expert says itself.
template <class R, class... Args>
  requires TensorSignature<R(Args...)>
class RemoteExpertImpl<R(Args...)> : public torch::nn::Module {
 public:
  RemoteExpertImpl(ExpertInfo expert, dht::DHT dht, RemoteExpertOptions options = {})
      : torch::nn::Module("RemoteExpert"),
        client_(std::make_shared<ExpertClient>(std::move(expert), std::move(dht), options)) {}

  /// Outputs for inputs, batch first, as part of the graph. Waits at most `forward_timeout`.
  R forward(Args... inputs) {
    require_may_block("a remote expert's forward");
    std::vector<Tensor> flat;
    (flatten_into(inputs, flat), ...);
    require_outputs(*blocking_contract());
    const Tensor learns = torch::empty({0}, at::TensorOptions().requires_grad(true));
    const auto outputs = detail::RemoteCall::apply(client_, learns, at::TensorList(flat));
    return pack_tensors<std::remove_cvref_t<R>>(outputs);
  }

  /// The same without autograd, for coroutines. Await it on the DHT's executor.
  [[nodiscard]] awaitable<std::remove_cvref_t<R>> call(Args... inputs) const {
    std::vector<Tensor> flat;
    (flatten_into(inputs, flat), ...);
    return call(client_, std::move(flat));
  }

  /// What the expert takes and gives; asked once, then remembered. Blocks the first time.
  [[nodiscard]] ExpertSchema info() const { return blocking_contract()->schema; }
  [[nodiscard]] const std::string& uid() const noexcept { return client_->expert().uid; }
  [[nodiscard]] const p2p::PeerId& peer_id() const noexcept { return client_->expert().peer_id; }

  void pretty_print(std::ostream& stream) const override {
    stream << "skep::moe::RemoteExpert(" << uid() << " on " << peer_id().to_string() << ")";
  }

 private:
  static awaitable<std::remove_cvref_t<R>> call(std::shared_ptr<ExpertClient> client, std::vector<Tensor> inputs) {
    auto sent = detail::to_send(inputs);
    const auto outputs = co_await client->forward(std::move(sent));
    require_outputs(*client->known_contract());
    co_return pack_tensors<std::remove_cvref_t<R>>(outputs);
  }

  [[nodiscard]] std::shared_ptr<const ExpertContract> blocking_contract() const {
    auto known = client_->known_contract();
    if (!known) known = detail::block_on(client_->dht(), client_->contract());
    return known;
  }
  static void require_outputs(const ExpertContract& contract) {
    constexpr std::size_t count = tensor_count<std::remove_cvref_t<R>>;
    if (contract.outputs.size() == count) return;
    throw Error(errc::invalid_argument, "the expert answers with " + std::to_string(contract.outputs.size()) +
                                            " tensors, its signature here says " + std::to_string(count));
  }

  std::shared_ptr<ExpertClient> client_;
};

/// The holder. Empty for an expert that nobody serves: `if (expert)` asks.
template <TensorSignature Signature = Tensor(Tensor)>
class RemoteExpert : public torch::nn::ModuleHolder<RemoteExpertImpl<Signature>> {
 public:
  using Impl = RemoteExpertImpl<Signature>;
  using torch::nn::ModuleHolder<Impl>::ModuleHolder;

  /// The empty holder.
  RemoteExpert() : torch::nn::ModuleHolder<Impl>(nullptr) {}
  RemoteExpert(ExpertInfo expert, dht::DHT dht, RemoteExpertOptions options = {})
      : torch::nn::ModuleHolder<Impl>(std::make_shared<Impl>(std::move(expert), std::move(dht), options)) {}
};

/// Modules for experts that were found, empty ones for those that were not.
template <TensorSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::vector<RemoteExpert<Signature>> create_remote_experts(
    const std::vector<std::optional<ExpertInfo>>& experts, const dht::DHT& dht, RemoteExpertOptions options = {}) {
  std::vector<RemoteExpert<Signature>> modules;
  for (const auto& expert : experts) {
    if (expert) {
      modules.emplace_back(*expert, dht, options);
    } else {
      modules.emplace_back();
    }
  }
  return modules;
}

/// Looks experts up in the DHT and makes modules for them, in the uids' order. Blocks.
///
///     auto experts = get_experts<Tensor(Tensor, Tensor)>(dht, {"gated.0", "gated.1"});
template <TensorSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::vector<RemoteExpert<Signature>> get_experts(dht::DHT dht, std::vector<std::string> uids,
                                                               RemoteExpertOptions options = {}) {
  const auto found = dht.run_coroutine([uids = std::move(uids)](auto node) { return get_experts(node, uids); });
  return create_remote_experts<Signature>(found, dht, options);
}

}  // namespace skep::inline v0::moe

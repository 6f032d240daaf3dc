// RemoteExpert: an expert on another machine as a LibTorch module, blocking inside autograd or awaitable without it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/runner.hpp"
#include "skep/core/error.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/expert_client.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

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

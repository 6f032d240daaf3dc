// RemoteExpert: an expert on another machine as a LibTorch module, blocking inside autograd or awaitable without it.
#pragma once

#include <concepts>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/expert_client.hpp"
#include "skep/moe/client/expert_inputs.hpp"
#include "skep/moe/client/remote_call.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// How a remote expert is called: a function type, or `TensorTree` where everything is known at run time only.
template <class S>
concept ExpertSignature = RemoteSignature<S> || std::same_as<S, TensorTree>;

/// An expert that another peer serves, whatever its signature. Its parameters live there: the module has none, and
/// `backward` makes the expert take an optimizer step of its own.
///
/// *Threads:* any number of threads may call it at once; a call blocks its thread, so none of them may be an I/O
/// thread. Large inputs and outputs (above 2 and 4 MiB) travel as a stream. Outputs come back on the device of the
/// first input. *Errors:* `Error` after the deadline, for inputs that the expert does not take (before they are sent),
/// and for `backward` through `backward`; `RemoteError` with what the expert says itself. *Replicas, changed schemas:*
/// see `ExpertClient`.
class RemoteExpertModule : public torch::nn::Module {
 public:
  RemoteExpertModule(ExpertInfo expert, CallNetwork network, RemoteExpertOptions options = {})
      : torch::nn::Module("RemoteExpert"),
        client_(std::make_shared<ExpertClient>(std::move(expert), std::move(network), options)) {}
  /// An expert whose server is known, without a DHT: `RemoteExpert(host, "/ip4/192.0.2.5/tcp/31337/p2p/12D3...",
  /// "ffn.0")`. Throws errc::invalid_argument for an address that does not end in its peer's id and a uid that breaks
  /// the rules.
  RemoteExpertModule(CallNetwork network, std::string_view address, std::string uid, RemoteExpertOptions options = {})
      : RemoteExpertModule(expert_at(address, std::move(uid)), std::move(network), options) {}

  /// What the expert takes and gives; asked once, then remembered. Blocks the first time.
  [[nodiscard]] ExpertSchema info() const {
    auto known = client_->known_contract();
    if (!known) known = client_->network().block_on(client_->contract(), client_->options().forward_timeout);
    return known->schema;
  }
  [[nodiscard]] const std::string& uid() const noexcept { return client_->expert().uid; }
  /// Who serves it as it was looked up.
  [[nodiscard]] const p2p::PeerId& peer_id() const noexcept { return client_->expert().peer_id; }

  void pretty_print(std::ostream& stream) const override {
    stream << "skep::moe::RemoteExpert(" << uid() << " on " << peer_id().to_string() << ")";
  }

 protected:
  template <class R>
  [[nodiscard]] R run(ExpertInputs inputs) {
    client_->network().require_may_block("a remote expert's forward");
    const auto call = std::make_shared<detail::RemoteCall::Shared>();
    call->client = client_;
    call->outputs = output_count<R>();
    const auto tensors = std::exchange(inputs.tensors, {});
    call->inputs = std::move(inputs);
    const Tensor learns = torch::empty({0}, at::TensorOptions().requires_grad(true));
    const auto outputs = detail::RemoteCall::apply(call, learns, at::TensorList(tensors));
    return pack<R>(outputs, *call->target.contract);
  }
  template <class R>
  [[nodiscard]] static awaitable<R> run(std::shared_ptr<ExpertClient> client, ExpertInputs inputs) {
    inputs.tensors = detail::to_send(inputs.tensors);
    const ExpertOutputs outputs = co_await client->forward(std::move(inputs), output_count<R>());
    co_return pack<R>(outputs.tensors, *outputs.target.contract);
  }
  [[nodiscard]] const std::shared_ptr<ExpertClient>& client() const noexcept { return client_; }

 private:
  [[nodiscard]] static ExpertInfo expert_at(std::string_view address, std::string uid) {
    const auto where = p2p::Multiaddr::parse(address);
    auto peer = where.peer_id();
    if (!peer) {
      throw Error(errc::invalid_argument, "the address \"" + printable(address) +
                                              "\" of an expert does not name its peer; it must end in /p2p/ and the "
                                              "peer's id");
    }
    if (!is_valid_uid(uid)) throw detail::invalid_uid(uid);
    return {std::move(uid), *std::move(peer), {where}};
  }

  template <class R>
  static constexpr std::optional<std::size_t> output_count() {
    if constexpr (std::same_as<R, TensorTree>) {
      return std::nullopt;
    } else {
      return tensor_count<R>;
    }
  }
  template <class R>
  static R pack(const std::vector<Tensor>& outputs, const ExpertContract& contract) {
    if constexpr (std::same_as<R, TensorTree>) {
      return *contract.schema.outputs.template pack<Tensor>(outputs);
    } else {
      return pack_tensors<R>(outputs);
    }
  }

  std::shared_ptr<ExpertClient> client_;
};

template <ExpertSignature Signature>
class RemoteExpertImpl;

/// The module of a signature that is known at compile time. Keyword inputs may be given in any order; positional ones
/// are those before and between them.
template <class R, class... Args>
  requires RemoteSignature<R(Args...)>
class RemoteExpertImpl<R(Args...)> : public RemoteExpertModule {
  using Output = std::remove_cvref_t<R>;

 public:
  using RemoteExpertModule::RemoteExpertModule;

  /// Outputs for inputs, batch first, as part of the graph. Waits at most `forward_timeout`.
  R forward(Args... inputs) { return run<Output>(ExpertInputs::of(inputs...)); }
  /// The same without autograd, for coroutines. Await it on the network's executor.
  [[nodiscard]] awaitable<Output> call(Args... inputs) const {
    return run<Output>(client(), ExpertInputs::of(inputs...));
  }
};

/// The module of an expert whose signature is known at run time only: tensors, tuples, `TensorTree`s and keywords in,
/// what its schema says out.
///
///     RemoteExpert<TensorTree> expert(info, dht);
///     TensorTree y = expert->forward(x, TensorTree::dict({"left", "right"}, {a, b}), kw("mask", m));
template <>
class RemoteExpertImpl<TensorTree> : public RemoteExpertModule {
 public:
  using RemoteExpertModule::RemoteExpertModule;

  template <ExpertInput... T>
  TensorTree forward(const T&... inputs) {
    return run<TensorTree>(ExpertInputs::of(inputs...));
  }
  template <ExpertInput... T>
  [[nodiscard]] awaitable<TensorTree> call(const T&... inputs) const {
    return run<TensorTree>(client(), ExpertInputs::of(inputs...));
  }
};

/// The holder. Empty for an expert that nobody serves: `if (expert)` asks.
template <ExpertSignature Signature = Tensor(Tensor)>
class RemoteExpert : public torch::nn::ModuleHolder<RemoteExpertImpl<Signature>> {
 public:
  using Impl = RemoteExpertImpl<Signature>;
  using torch::nn::ModuleHolder<Impl>::ModuleHolder;

  /// The empty holder.
  RemoteExpert() : torch::nn::ModuleHolder<Impl>(nullptr) {}
  RemoteExpert(ExpertInfo expert, CallNetwork network, RemoteExpertOptions options = {})
      : torch::nn::ModuleHolder<Impl>(std::make_shared<Impl>(std::move(expert), std::move(network), options)) {}
  RemoteExpert(CallNetwork network, std::string_view address, std::string uid, RemoteExpertOptions options = {})
      : torch::nn::ModuleHolder<Impl>(std::make_shared<Impl>(std::move(network), address, std::move(uid), options)) {}
};

/// What was found of some experts, in the order of their uids; nothing for one that nobody serves.
using FoundExperts = std::vector<std::optional<ExpertInfo>>;

/// Modules for experts that were found, empty ones for those that were not.
template <ExpertSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::vector<RemoteExpert<Signature>> create_remote_experts(const FoundExperts& experts,
                                                                         const dht::DHT& dht,
                                                                         RemoteExpertOptions options = {}) {
  std::vector<RemoteExpert<Signature>> modules;
  modules.reserve(experts.size());
  for (const auto& expert : experts) {
    if (expert) {
      modules.emplace_back(*expert, dht, options);
    } else {
      modules.emplace_back();
    }
  }
  return modules;
}
/// The same for what is still being looked up; its modules are made by whoever waits for them.
template <ExpertSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::future<std::vector<RemoteExpert<Signature>>> create_remote_experts_future(
    std::future<FoundExperts> experts, dht::DHT dht, RemoteExpertOptions options = {}) {
  return std::async(std::launch::deferred, [experts = std::move(experts), dht = std::move(dht), options]() mutable {
    return create_remote_experts<Signature>(experts.get(), dht, options);
  });
}
/// The same for many rows of experts, such as those of a batch.
template <ExpertSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::vector<std::vector<RemoteExpert<Signature>>> batch_create_remote_experts(
    const std::vector<FoundExperts>& rows, const dht::DHT& dht, RemoteExpertOptions options = {}) {
  std::vector<std::vector<RemoteExpert<Signature>>> modules;
  modules.reserve(rows.size());
  for (const auto& row : rows) modules.push_back(create_remote_experts<Signature>(row, dht, options));
  return modules;
}
template <ExpertSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::future<std::vector<std::vector<RemoteExpert<Signature>>>> batch_create_remote_experts_future(
    std::future<std::vector<FoundExperts>> rows, dht::DHT dht, RemoteExpertOptions options = {}) {
  return std::async(std::launch::deferred, [rows = std::move(rows), dht = std::move(dht), options]() mutable {
    return batch_create_remote_experts<Signature>(rows.get(), dht, options);
  });
}

/// Looks experts up in the DHT and makes modules for them, in the uids' order; what is no uid is simply not found.
/// Blocks.
///
///     auto experts = get_experts<Tensor(Tensor, Tensor)>(dht, {"gated.0", "gated.1"});
template <ExpertSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::vector<RemoteExpert<Signature>> get_experts(dht::DHT dht, std::vector<std::string> uids,
                                                               RemoteExpertOptions options = {}) {
  const auto found = dht.run_coroutine([uids = std::move(uids)](auto node) { return get_experts(node, uids); });
  return create_remote_experts<Signature>(found, dht, options);
}
/// The same without waiting.
template <ExpertSignature Signature = Tensor(Tensor)>
[[nodiscard]] std::future<std::vector<RemoteExpert<Signature>>> get_experts_future(dht::DHT dht,
                                                                                   std::vector<std::string> uids,
                                                                                   RemoteExpertOptions options = {}) {
  auto found = dht.run_coroutine_future([uids = std::move(uids)](auto node) { return get_experts(node, uids); });
  return create_remote_experts_future<Signature>(std::move(found), std::move(dht), options);
}

}  // namespace skep::inline v0::moe

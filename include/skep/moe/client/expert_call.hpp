// Calls to one expert: what its schema promises, requests made of tensors, answers judged before anyone uses them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/codec/moe_messages.hpp"
#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/call_guard.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/request_metadata.hpp"
#include "skep/moe/tensor/request_check.hpp"
#include "skep/moe/tensor/schema.hpp"
#include "skep/moe/tensor/serialize.hpp"
#include "skep/moe/tensor/tensor_sink.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

/// What an expert takes and gives, laid out flat and ready for use in every call.
struct ExpertContract {
  explicit ExpertContract(ExpertSchema described)
      : schema(std::move(described)),
        inputs(schema.inputs()),
        outputs(schema.flat_outputs()),
        forward_check(inputs, {}, std::numeric_limits<std::int64_t>::max()) {
    for (const auto& input : inputs) compressions.push_back(input.compression);
    for (const auto& output : outputs) compressions.push_back(output.compression);
  }

  ExpertSchema schema;
  std::vector<BatchTensorDescriptor> inputs;
  std::vector<BatchTensorDescriptor> outputs;
  std::vector<Compression> compressions;  ///< of a backward request; a forward request has the first of them
  RequestCheck forward_check;
};

/// Asks an expert for its schema (ConnectionHandler.rpc_info). Throws what the network throws, and errc::malformed.
/// @param authorizer  of a moderated swarm, to whose servers the call brings a ticket
template <p2p::Network Network>
[[nodiscard]] awaitable<std::shared_ptr<const ExpertContract>> fetch_contract(
    Network network, ExpertInfo expert, p2p::CallOptions options = {},
    std::shared_ptr<dht::Authorizer> authorizer = nullptr) {
  const std::string method = "ConnectionHandler.rpc_info";
  codec::ExpertUID request{expert.uid};
  if (authorizer) {
    const dht::CallGuard<Network> guard(network, std::move(authorizer));
    request.metadata =
        RequestMetadata{.ticket = co_await guard.ticket(expert.peer_id, method, options.timeout)}.encode();
  }
  const Bytes answer = co_await network.call(expert.peer_id, method, request.encode(), options);
  const auto info = codec::ExpertInfo::decode(answer);
  auto schema = info ? ExpertSchema::decode(info->serialized_info) : Result<ExpertSchema>(info.error());
  if (!schema) {
    throw Error(schema.error(), "expert " + expert.uid + " on " + expert.peer_id.to_string() +
                                    " describes itself in a way that cannot be read: " + schema.error().message());
  }
  co_return std::make_shared<const ExpertContract>(*std::move(schema));
}

/// The answer to one call: received into its final storage, then judged.
class ExpertAnswer {
 public:
  /// @param expected  a descriptor for each tensor of the answer
  /// @param batch     samples in each
  /// @param finite    whether NaN and infinity make it a failure
  ExpertAnswer(std::vector<BatchTensorDescriptor> expected, std::int64_t batch, bool finite)
      : expected_(std::move(expected)), batch_(batch), finite_(finite), sink_(limits(), check(), hint()) {}

  [[nodiscard]] TensorSink& sink() noexcept { return sink_; }

  /// Takes the tensors out of the sink. @return why they are not the answer that was asked for
  [[nodiscard]] std::optional<std::string> accept(const std::string& who) {
    auto taken = sink_.take();
    misfits_ = !taken || taken->size() != expected_.size();
    if (!taken) return who + " answered with something else than its tensors: " + sink_.refusal();
    if (taken->size() != expected_.size()) {
      return who + " answered with " + std::to_string(taken->size()) + " tensors, expected " +
             std::to_string(expected_.size());
    }
    for (const Tensor& tensor : *taken) {
      if (finite_ && tensor.is_floating_point() && !tensor.isfinite().all().item<bool>()) {
        return who + " answered with nan/inf values";
      }
    }
    tensors_ = *std::move(taken);
    return std::nullopt;
  }
  /// What came whole was not the tensors that were expected.
  [[nodiscard]] bool misfits() const noexcept { return misfits_; }
  /// The tensors, once accepted.
  [[nodiscard]] std::vector<Tensor>& tensors() noexcept { return tensors_; }

 private:
  [[nodiscard]] std::size_t bytes(std::size_t index) const {
    const BatchTensorDescriptor& expected = expected_[index];
    std::size_t elements = static_cast<std::size_t>(batch_);
    for (const std::int64_t extent : expected.size) elements *= static_cast<std::size_t>(extent);
    return elements * std::max<std::size_t>(4, at::elementSize(expected.dtype.value_or(at::kDouble)));
  }
  [[nodiscard]] TensorLimits limits() const {
    TensorLimits limits;
    limits.total = 4096;
    for (std::size_t i = 0; i < expected_.size(); ++i) limits.total += bytes(i);
    limits.message = std::max(limits.total, 2 * stream_chunk_size);
    limits.tensors = expected_.size();
    return limits;
  }
  [[nodiscard]] TensorSink::Check check() {
    return [this](std::string_view, std::size_t index, const TensorHeader& header) -> std::optional<std::string> {
      if (index >= expected_.size()) return "more than " + std::to_string(expected_.size()) + " tensors";
      std::vector<std::int64_t> shape{batch_};
      shape.insert(shape.end(), expected_[index].size.begin(), expected_[index].size.end());
      const at::ScalarType dtype = expected_[index].dtype.value_or(header.dtype);
      if (header.size == shape && header.dtype == dtype) return std::nullopt;
      return "tensor " + std::to_string(index) + " is " + describe_tensor(header.size, header.dtype) + ", expected " +
             describe_tensor(shape, dtype);
    };
  }
  /// A stream's first chunk lands where the whole tensor will stand.
  [[nodiscard]] TensorSink::SizeHint hint() {
    return [this](std::size_t index) -> std::size_t {
      if (index >= expected_.size() || !expected_[index].dtype) return 0;
      TensorHeader header{.size = {batch_}, .dtype = *expected_[index].dtype};
      header.size.insert(header.size.end(), expected_[index].size.begin(), expected_[index].size.end());
      return buffer_size(header).value_or(0);
    };
  }

  std::vector<BatchTensorDescriptor> expected_;
  std::int64_t batch_;
  bool finite_;
  bool misfits_ = false;
  TensorSink sink_;
  std::vector<Tensor> tensors_;
};

/// A request with the place for its answer.
struct PreparedCall {
  ExpertCall call;
  std::shared_ptr<ExpertAnswer> answer;
};

/// What the caller demands.
struct CallTerms {
  Duration patience = unlimited;  ///< how long the answer is waited for; a server need not compute it later
  bool finite = false;            ///< whether NaN and infinity in the answer make it a failure
};

namespace detail {

/// What a unary message has besides its tensors' bytes, with room to spare.
inline constexpr std::size_t unary_overhead = 64 * 1024;

/// By how much longer than the caller waits a server may compute: the caller's own deadline shall be told first.
inline constexpr Duration patience_margin = 250ms;

[[nodiscard]] inline PreparedCall prepare_call(const ExpertInfo& expert, std::string method,
                                               std::span<const Tensor> tensors,
                                               std::span<const Compression> compressions,
                                               const std::vector<BatchTensorDescriptor>& expected,
                                               const CallTerms& terms) {
  const std::int64_t batch = tensors.front().size(0);
  std::size_t answer_bytes = 0;
  for (const auto& d : expected) {
    std::size_t elements = static_cast<std::size_t>(batch);
    for (const std::int64_t extent : d.size) elements *= static_cast<std::size_t>(extent);
    answer_bytes += elements * std::max<std::size_t>(4, at::elementSize(d.dtype.value_or(at::kDouble)));
  }
  const bool streaming = raw_size(tensors) > max_unary_tensors || answer_bytes + unary_overhead > p2p::max_unary_size;

  PreparedCall prepared;
  prepared.answer = std::make_shared<ExpertAnswer>(expected, batch, terms.finite);
  ExpertCall& call = prepared.call;
  call.expert = expert;
  call.method = std::move(method);
  call.streaming = streaming;
  if (streaming) {
    call.method += "_stream";
    call.messages = tensor_stream(expert.uid, tensors, compressions);
  } else {
    call.messages.push_back(tensor_message(expert.uid, tensors, compressions));
  }
  if (terms.patience != unlimited) call.metadata.timeout = terms.patience + patience_margin;
  call.sink = std::shared_ptr<p2p::AnyBodySink>(prepared.answer, &prepared.answer->sink());
  call.accept = [answer = prepared.answer, who = "expert " + expert.uid] { return answer->accept(who); };
  return prepared;
}

}  // namespace detail

/// A forward call. Inputs fit the contract, are on the CPU and not part of a graph; their values must not change until
/// the call has ended. Large ones, and such as are expected to be answered by large ones, are streamed.
[[nodiscard]] inline PreparedCall prepare_forward(const ExpertInfo& expert, const ExpertContract& contract,
                                                  std::span<const Tensor> inputs, const CallTerms& terms = {}) {
  return detail::prepare_call(expert, "ConnectionHandler.rpc_forward", inputs,
                              std::span(contract.compressions).first(inputs.size()), contract.outputs, terms);
}

/// A backward call: the inputs of the forward call, then the gradients of its outputs; answered with the gradients of
/// the inputs. The expert takes an optimizer step by it.
[[nodiscard]] inline PreparedCall prepare_backward(const ExpertInfo& expert, const ExpertContract& contract,
                                                   std::span<const Tensor> inputs, std::span<const Tensor> gradients,
                                                   const CallTerms& terms = {}) {
  std::vector<Tensor> tensors(inputs.begin(), inputs.end());
  tensors.insert(tensors.end(), gradients.begin(), gradients.end());
  return detail::prepare_call(expert, "ConnectionHandler.rpc_backward", tensors, contract.compressions, contract.inputs,
                              terms);
}

}  // namespace skep::inline v0::moe

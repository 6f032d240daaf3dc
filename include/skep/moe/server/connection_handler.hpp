// ConnectionHandler: the five calls by which peers reach experts, and the door at which requests are checked.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/codec/moe_messages.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/server/expert_backend.hpp"
#include "skep/moe/tensor/serialize.hpp"
#include "skep/moe/tensor/tensor_sink.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

/// The experts of one server by uid.
using ExpertTable = std::map<std::string, std::shared_ptr<ExpertBackend>, std::less<>>;

/// Options of a ConnectionHandler.
struct ConnectionHandlerOptions {
  Duration request_timeout = 60s;                    ///< from a whole request to its computed answer
  std::size_t max_request_size = 256 * 1024 * 1024;  ///< bytes of all tensors of one streamed request
};

namespace detail {

/// Which of the two computations a call asks for.
enum class ExpertCallKind { forward, backward };

/// What the handlers of one server share.
template <p2p::Network N>
struct HandlerState {
  HandlerState(N network, ExpertTable table, ConnectionHandlerOptions chosen)
      : net(std::move(network)), experts(std::move(table)), options(chosen) {}

  N net;
  const ExpertTable experts;
  const ConnectionHandlerOptions options;

  [[nodiscard]] ExpertBackend* find(std::string_view uid) const {
    const auto found = experts.find(uid);
    return found == experts.end() ? nullptr : found->second.get();
  }
  [[nodiscard]] ExpertBackend& require(std::string_view uid) const {
    if (auto* expert = find(uid)) return *expert;
    throw Error(errc::not_found, "this server has no expert \"" + printable(uid) + "\"");
  }
};

[[nodiscard]] inline const RequestCheck& check_of(const ExpertBackend& expert, ExpertCallKind kind) {
  return kind == ExpertCallKind::forward ? expert.forward_check() : expert.backward_check();
}

[[nodiscard]] inline Error refused(std::string_view uid, const std::string& reason) {
  return {errc::invalid_argument, "expert " + printable(uid) + " refused the request: " + reason};
}

/// A sink that judges each tensor by its header; what does not fit is not kept.
template <p2p::Network N>
[[nodiscard]] std::shared_ptr<TensorSink> request_sink(std::shared_ptr<const HandlerState<N>> state,
                                                       ExpertCallKind kind, std::size_t limit) {
  TensorLimits limits{.message = limit, .total = limit};
  return std::make_shared<TensorSink>(
      limits,
      [state = std::move(state), kind](std::string_view uid, std::size_t index,
                                       const TensorHeader& header) -> std::optional<std::string> {
        const ExpertBackend* expert = state->find(uid);
        if (expert == nullptr) return "unknown";  // the answer says it better
        return check_of(*expert, kind).tensor(index, header.size, header.dtype);
      });
}

/// The expert and tensors of a request that was received whole, or the sentence that refuses it.
template <p2p::Network N>
[[nodiscard]] std::pair<ExpertBackend*, TensorBatch> accept(const HandlerState<N>& state, ExpertCallKind kind,
                                                            TensorSink& sink) {
  if (sink.messages() == 0) throw Error(errc::malformed, "the request ended before its first message");
  if (sink.uid().empty() && sink.error()) throw Error(sink.error(), sink.refusal());
  ExpertBackend& expert = state.require(sink.uid());
  auto tensors = sink.take();
  if (!tensors) throw refused(sink.uid(), sink.refusal());
  if (const auto reason = check_of(expert, kind).tensors(*tensors)) throw refused(sink.uid(), *reason);
  return {&expert, TensorBatch{*std::move(tensors)}};
}

/// What the answer to a request of this batch holds: the outputs, or the gradients of the inputs.
[[nodiscard]] inline std::vector<BatchTensorDescriptor> answer_of(const ExpertBackend& expert, ExpertCallKind kind) {
  return kind == ExpertCallKind::forward ? expert.schema().flat_outputs() : expert.schema().inputs();
}

/// A unary answer that could not be sent is refused before it is computed.
inline void check_unary_answer(const ExpertBackend& expert, ExpertCallKind kind, std::size_t batch) {
  std::size_t total = 0;
  for (const auto& d : answer_of(expert, kind)) {
    TensorHeader header{.size = d.size, .dtype = *d.dtype, .compression = d.compression};
    header.size.insert(header.size.begin(), static_cast<std::int64_t>(batch));
    total += buffer_size(header).value_or(p2p::max_unary_size) + 1024;
  }
  if (total <= p2p::max_unary_size) return;
  throw Error(errc::limit_exceeded, "expert " + expert.name() + ": the answer of " + std::to_string(total) +
                                        " bytes is above the 4 MiB of a unary call; call ConnectionHandler.rpc_" +
                                        (kind == ExpertCallKind::forward ? "forward" : "backward") + "_stream instead");
}

/// Computes a request in its pool, together with others.
template <p2p::Network N>
[[nodiscard]] awaitable<TensorBatch> compute(std::shared_ptr<HandlerState<N>> state, ExpertCallKind kind,
                                             ExpertBackend* expert, TensorBatch batch) {
  auto& pool = kind == ExpertCallKind::forward ? expert->forward_pool() : expert->backward_pool();
  co_return co_await with_timeout(state->net, state->options.request_timeout, pool.submit_task(std::move(batch)),
                                  "computing the request");
}

[[nodiscard]] inline std::vector<Compression> compressions_of(const ExpertBackend& expert, ExpertCallKind kind) {
  std::vector<Compression> compressions;
  for (const auto& d : answer_of(expert, kind)) compressions.push_back(d.compression);
  return compressions;
}

template <p2p::Network N>
[[nodiscard]] awaitable<p2p::Payload> serve_unary(std::shared_ptr<HandlerState<N>> state, ExpertCallKind kind,
                                                  std::shared_ptr<p2p::AnyBodySink> received) {
  auto [expert, batch] = accept(*state, kind, static_cast<TensorSink&>(*received));
  received.reset();
  check_unary_answer(*expert, kind, BatchTraits<TensorBatch>::size(batch));
  const TensorBatch answer = co_await compute(state, kind, expert, std::move(batch));
  co_return tensor_message({}, answer.tensors, compressions_of(*expert, kind));
}

template <p2p::Network N>
[[nodiscard]] awaitable<void> serve_stream(std::shared_ptr<HandlerState<N>> state, ExpertCallKind kind,
                                           typename N::Stream stream) {
  auto sink = request_sink<N>(state, kind, state->options.max_request_size);
  bool more = true;
  while (more && sink->refusal().empty()) more = co_await stream.receive_into(sink);
  auto [expert, batch] = accept(*state, kind, *sink);
  sink.reset();
  const TensorBatch answer = co_await compute(state, kind, expert, std::move(batch));
  for (auto& message : tensor_stream({}, answer.tensors, compressions_of(*expert, kind))) {
    co_await stream.send(std::move(message));
  }
}

template <p2p::Network N>
[[nodiscard]] awaitable<p2p::Payload> serve_info(std::shared_ptr<HandlerState<N>> state, p2p::Request request) {
  const auto uid = codec::ExpertUID::decode(request.body);
  if (!uid) throw Error(uid.error(), "the message is not an ExpertUID");
  co_return codec::ExpertInfo{state->require(uid->uid).get_info()}.encode();
}

}  // namespace detail

/// Serves experts on a network: rpc_info, rpc_forward, rpc_backward and the streamed forms of the last two (service
/// ConnectionHandler of Hivemind 1.1). Every request is checked against its expert's schema before it is queued; what
/// is wrong with it is answered in one sentence and concerns nobody else. Answers above the limit of unary calls are
/// refused with a hint to the streamed form before anything is computed.
///
/// *Lifetime:* the destructor and `close` remove the handlers; calls that run keep what they need. *Threads:* the
/// network's executor. *Cancellation:* a caller that gives up takes its task out of the pool's queue.
template <p2p::Network N>
class ConnectionHandler {
  using Kind = detail::ExpertCallKind;
  using State = detail::HandlerState<N>;

 public:
  ConnectionHandler(N network, ExpertTable experts, ConnectionHandlerOptions options = {})
      : state_(std::make_shared<State>(std::move(network), std::move(experts), options)) {
    const auto weak = std::weak_ptr(state_);
    state_->net.handle(name("info"), [weak](p2p::Request request) { return info(weak, std::move(request)); });
    for (const Kind kind : {Kind::forward, Kind::backward}) {
      const std::string method = kind == Kind::forward ? "forward" : "backward";
      state_->net.handle(
          name(method), [weak, kind](p2p::Request request) { return unary(weak, kind, std::move(request)); },
          [weak, kind](const p2p::PeerId&) -> std::shared_ptr<p2p::AnyBodySink> {
            return detail::request_sink<N>(open(weak), kind, p2p::max_unary_size);
          });
      state_->net.handle_stream(name(method + "_stream"), [weak, kind](typename N::Stream stream) {
        return streamed(weak, kind, std::move(stream));
      });
    }
  }
  ConnectionHandler(ConnectionHandler&&) noexcept = default;
  ConnectionHandler& operator=(ConnectionHandler&&) = delete;
  ~ConnectionHandler() { close(); }

  /// Takes no new calls. Idempotent.
  void close() {
    if (!state_) return;
    for (const char* method : {"info", "forward", "backward", "forward_stream", "backward_stream"}) {
      state_->net.remove_handler(name(method));
    }
    state_.reset();
  }

 private:
  [[nodiscard]] static std::string name(const std::string& method) { return "ConnectionHandler.rpc_" + method; }
  [[nodiscard]] static std::shared_ptr<State> open(const std::weak_ptr<State>& weak) {
    if (auto state = weak.lock()) return state;
    throw Error(errc::closed, "this server is closing");
  }

  static awaitable<p2p::Payload> info(std::weak_ptr<State> weak, p2p::Request request) {
    co_return co_await detail::serve_info(open(weak), std::move(request));
  }
  static awaitable<p2p::Payload> unary(std::weak_ptr<State> weak, Kind kind, p2p::Request request) {
    co_return co_await detail::serve_unary(open(weak), kind, std::move(request.sink));
  }
  static awaitable<void> streamed(std::weak_ptr<State> weak, Kind kind, typename N::Stream stream) {
    co_await detail::serve_stream(open(weak), kind, std::move(stream));
  }

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0::moe

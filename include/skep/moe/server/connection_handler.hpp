// ConnectionHandler: the five calls by which peers reach experts, and the door at which requests are checked.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/codec/moe_messages.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/request_metadata.hpp"
#include "skep/moe/server/expert_request.hpp"
#include "skep/moe/server/handler_state.hpp"
#include "skep/moe/tensor/serialize.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

namespace detail {

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

/// Small requests are more urgent than streams, as long as those do not wait too long.
enum class Urgency : int { unary = 0, stream = 1 };

/// Computes a request in its pool, together with others; what it fails of is counted.
template <p2p::Network N>
[[nodiscard]] awaitable<TensorBatch> compute(std::shared_ptr<HandlerState<N>> state, ExpertCallKind kind,
                                             AcceptedRequest request, Urgency urgency) {
  ExpertBackend& expert = *request.expert;
  TrafficCounters& traffic = state->traffic->of(expert.name());
  auto& pool = kind == ExpertCallKind::forward ? expert.forward_pool() : expert.backward_pool();
  const TaskOptions options{.deadline = deadline_after(std::chrono::steady_clock::now(), request.patience),
                            .priority = static_cast<int>(urgency)};
  try {
    TensorBatch answer = co_await with_timeout(
        state->net, request.patience, pool.submit_task(std::move(request.batch), options), "computing the request");
    traffic.bytes_out += raw_size(answer.tensors);
    co_return answer;
  } catch (...) {
    count_failure(traffic, std::current_exception());
    throw;
  }
}

[[nodiscard]] inline std::vector<Compression> compressions_of(const ExpertBackend& expert, ExpertCallKind kind) {
  std::vector<Compression> compressions;
  for (const auto& d : answer_of(expert, kind)) compressions.push_back(d.compression);
  return compressions;
}

template <p2p::Network N>
[[nodiscard]] awaitable<p2p::Payload> serve_unary(std::shared_ptr<HandlerState<N>> state, ExpertCallKind kind,
                                                  std::shared_ptr<p2p::AnyBodySink> received) {
  AcceptedRequest request = static_cast<ExpertRequest<N>&>(*received).accept();
  const ExpertBackend& expert = *request.expert;
  check_unary_answer(expert, kind, BatchTraits<TensorBatch>::size(request.batch));
  const TensorBatch answer = co_await compute(state, kind, std::move(request), Urgency::unary);
  co_return tensor_message({}, answer.tensors, compressions_of(expert, kind));
}

template <p2p::Network N>
[[nodiscard]] awaitable<void> serve_stream(std::shared_ptr<HandlerState<N>> state, ExpertCallKind kind,
                                           std::string method, typename N::Stream stream) {
  const auto received = std::make_shared<ExpertRequest<N>>(state, stream.peer(), kind, std::move(method),
                                                           state->options.max_request_size);
  for (bool more = true; more && !received->refused() && !received->is_late();) {
    more = co_await stream.receive_into(received);
    received->authorize();
  }
  AcceptedRequest request = received->accept();
  const ExpertBackend& expert = *request.expert;
  const TensorBatch answer = co_await compute(state, kind, std::move(request), Urgency::stream);
  for (auto& message : tensor_stream({}, answer.tensors, compressions_of(expert, kind))) {
    co_await stream.send(std::move(message));
  }
}

template <p2p::Network N>
[[nodiscard]] awaitable<p2p::Payload> serve_info(std::shared_ptr<HandlerState<N>> state, p2p::Request request) {
  const auto message = codec::ExpertUID::decode(request.body);
  if (!message) throw Error(message.error(), "the message is not an ExpertUID");
  const ExpertBackend& expert = state->require(message->uid);
  state->authorize(request.peer, request.method, message->uid, RequestMetadata::decode(message->metadata).ticket);
  ++state->traffic->of(message->uid).info;
  co_return codec::ExpertInfo{expert.get_info()}.encode();
}

/// Completes when nothing is in hand any more.
template <p2p::Network N>
[[nodiscard]] awaitable<void> drain(std::shared_ptr<HandlerState<N>> state) {
  state->leaving = true;
  if (!state->silent) state->silent.emplace(state->net.executor());
  if (state->in_hand == 0) state->silent->set();
  co_await state->silent->wait();
}

}  // namespace detail

/// Serves experts on a network: rpc_info, rpc_forward, rpc_backward and the streamed forms of the last two (service
/// ConnectionHandler of Hivemind 1.1). Every request is checked against its expert's schema before it is queued; what
/// is wrong with it is answered in one sentence and concerns nobody else. Answers above the limit of unary calls are
/// refused with a hint to the streamed form before anything is computed. Requests that a peer has above its quota are
/// answered "busy"; one whose requests are refused for what they are, again and again, is listened to at a slower pace
/// (p2p::Standing). A request's metadata may say for how long its answer is waited for; after that it is not computed.
///
/// *Lifetime:* the destructor and `close` remove the handlers; calls that run keep what they need. *Threads:* the
/// network's executor. *Cancellation:* a caller that gives up takes its task out of the pool's queue.
template <p2p::Network N>
class ConnectionHandler {
  using Kind = detail::ExpertCallKind;
  using State = detail::HandlerState<N>;
  using Request = detail::ExpertRequest<N>;

 public:
  /// @param traffic  counts what is asked; null: nobody looks at it
  ConnectionHandler(N network, ExpertTable experts, ConnectionHandlerOptions options = {},
                    std::shared_ptr<ServerTraffic> traffic = nullptr)
      : state_(std::make_shared<State>(std::move(network), std::move(experts), std::move(options),
                                       traffic ? std::move(traffic) : std::make_shared<ServerTraffic>())) {
    const auto weak = std::weak_ptr(state_);
    state_->net.handle(name("info"), [weak](p2p::Request request) { return info(weak, std::move(request)); });
    for (const Kind kind : {Kind::forward, Kind::backward}) {
      const std::string unary_name = name(kind == Kind::forward ? "forward" : "backward");
      const std::string stream_name = unary_name + "_stream";
      state_->net.handle(
          unary_name, [weak, kind](p2p::Request request) { return unary(weak, kind, std::move(request)); },
          [weak, kind, unary_name](const p2p::PeerId& peer) -> std::shared_ptr<p2p::AnyBodySink> {
            return std::make_shared<Request>(open(weak), peer, kind, unary_name, p2p::max_unary_size);
          });
      state_->net.handle_stream(stream_name, [weak, kind, stream_name](typename N::Stream stream) {
        return streamed(weak, kind, stream_name, std::move(stream));
      });
    }
  }
  ConnectionHandler(ConnectionHandler&&) noexcept = default;
  ConnectionHandler& operator=(ConnectionHandler&&) = delete;
  ~ConnectionHandler() { close(); }

  /// Lets no new request in, which are told to ask another server, and completes when those in hand are answered.
  [[nodiscard]] awaitable<void> drain() { return detail::drain(state_); }
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
    throw Error(errc::closed, "this server is leaving, ask another");
  }

  static awaitable<p2p::Payload> info(std::weak_ptr<State> weak, p2p::Request request) {
    co_return co_await detail::serve_info(open(weak), std::move(request));
  }
  static awaitable<p2p::Payload> unary(std::weak_ptr<State> weak, Kind kind, p2p::Request request) {
    co_return co_await detail::serve_unary(open(weak), kind, std::move(request.sink));
  }
  static awaitable<void> streamed(std::weak_ptr<State> weak, Kind kind, std::string method, typename N::Stream stream) {
    co_await detail::serve_stream(open(weak), kind, std::move(method), std::move(stream));
  }

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0::moe

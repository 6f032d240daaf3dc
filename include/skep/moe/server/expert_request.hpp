// ExpertRequest: one request from its first byte on, judged as it arrives, with its part of its peer's quota.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/peer_quotas.hpp"
#include "skep/moe/request_metadata.hpp"
#include "skep/moe/server/finite.hpp"
#include "skep/moe/server/handler_state.hpp"
#include "skep/moe/tensor/tensor_sink.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

namespace detail {

[[nodiscard]] inline const RequestCheck& check_of(const ExpertBackend& expert, ExpertCallKind kind) {
  return kind == ExpertCallKind::forward ? expert.forward_check() : expert.backward_check();
}

/// What was asked for, ready to be computed.
struct AcceptedRequest {
  ExpertBackend* expert;
  TensorBatch batch;
  Duration patience;  ///< for how long the answer is worth something
};

/// The sink of a request. Each tensor is judged by its header; what does not fit, or is more than the peer may hold,
/// is not kept. Accepted, it counts as in hand until it is destroyed.
template <p2p::Network N>
class ExpertRequest final : public p2p::AnyBodySink {
  using State = HandlerState<N>;

 public:
  /// Throws the sentence that refuses the request before its first byte: the server leaves, the peer has too many.
  ExpertRequest(std::shared_ptr<State> state, const p2p::PeerId& peer, ExpertCallKind kind, std::string method,
                std::size_t limit)
      : state_(std::move(state)),
        peer_(peer),
        kind_(kind),
        method_(std::move(method)),
        begun_(state_->net.steady_now()),
        ticket_(admit(*state_, peer)),
        sink_(
            {.message = limit, .total = limit},
            [this](std::string_view uid, std::size_t index, const TensorHeader& header) {
              return judge(uid, index, header);
            },
            {}, [this](std::size_t bytes) { return hold(bytes); }) {}
  ExpertRequest(const ExpertRequest&) = delete;
  ExpertRequest& operator=(const ExpertRequest&) = delete;
  ~ExpertRequest() override {
    if (accepted_ && --state_->in_hand == 0 && state_->silent) state_->silent->set();
  }

  [[nodiscard]] std::error_code start(std::size_t size) override { return sink_.start(size); }
  [[nodiscard]] MutableBytes destination() override { return sink_.destination(); }
  [[nodiscard]] std::error_code filled(std::size_t n) override { return sink_.filled(n); }

  /// Whether reading on is of no use.
  [[nodiscard]] bool refused() const noexcept { return !sink_.refusal().empty(); }

  /// Whether its messages have taken longer than they may, or than its caller waits: reading on is of no use either.
  [[nodiscard]] bool is_late() const {
    const Duration taken = state_->net.steady_now() - begun_;
    return taken >= state_->options.arrival_timeout ||
           (metadata_ && metadata_->timeout && taken >= *metadata_->timeout);
  }

  /// Asks whether the peer may do this, once, when its first message is there: before more of a stream is kept.
  /// Throws the sentence that refuses it.
  void authorize() {
    if (metadata_ || sink_.uid().empty()) return;
    metadata_ = RequestMetadata::decode(sink_.metadata());
    state_->authorize(peer_, method_, sink_.uid(), metadata_->ticket);
  }

  /// The request that was received whole; once. Throws the sentence that refuses it.
  [[nodiscard]] AcceptedRequest accept() {
    if (sink_.messages() == 0) throw Error(errc::malformed, "the request ended before its first message");
    if (sink_.uid().empty() && sink_.error()) throw Error(sink_.error(), sink_.refusal());
    state_->require_staying(sink_.uid());
    if (is_late()) {
      ++traffic().expired;
      throw Error(errc::timed_out, "the request took too long to arrive");
    }
    if (over_quota_) {
      ++traffic().busy;
      throw Error(errc::busy, "busy: " + sink_.refusal() + ", retry in 100 ms");
    }
    ExpertBackend& expert = state_->require(sink_.uid());
    authorize();
    auto tensors = sink_.take();
    auto reason = tensors ? check_of(expert, kind_).tensors(*tensors) : sink_.refusal();
    const bool looked_at = kind_ == ExpertCallKind::backward && bytes_ <= checked_here;
    if (!reason && looked_at) reason = wrong_gradient(expert, *tensors);
    if (reason) {
      ++traffic().invalid;
      throw Error(errc::invalid_argument, "expert " + printable(sink_.uid()) + " refused the request: " + *reason);
    }
    Duration patience = state_->options.request_timeout;
    if (metadata_ && metadata_->timeout) {
      patience = std::min(patience, begun_ + *metadata_->timeout - state_->net.steady_now());
    }
    if (patience <= Duration::zero()) {
      ++traffic().expired;
      throw Error(errc::timed_out, "the request took longer to arrive than its caller waits for the answer");
    }
    accepted_ = true;
    ++state_->in_hand;
    ++(kind_ == ExpertCallKind::forward ? traffic().forward : traffic().backward);
    traffic().bytes_in += bytes_;
    return {&expert, TensorBatch{*std::move(tensors)}, patience};
  }

 private:
  // A gradient that is not finite would fail the batch it shares, whose other tasks are then computed one by one. So
  // small ones are looked at before; to look at a large one would hold up the other calls.
  static constexpr std::size_t checked_here = 64 * 1024;

  [[nodiscard]] static std::optional<std::string> wrong_gradient(const ExpertBackend& expert,
                                                                 std::span<const Tensor> tensors) {
    const std::size_t inputs = expert.backward_check().inputs();
    for (std::size_t i = inputs; i < tensors.size(); ++i) {
      if (!moe::all_finite(tensors[i])) return "output gradient " + std::to_string(i - inputs) + " is not finite";
    }
    return std::nullopt;
  }

  static PeerQuotas::Ticket admit(State& state, const p2p::PeerId& peer) {
    state.require_staying({});
    if (auto ticket = state.quotas->admit(peer)) return *std::move(ticket);
    ++state.traffic->of({}).busy;
    throw Error(errc::busy, "busy: " + std::to_string(state.options.quotas.requests) +
                                " requests of this peer are in hand, retry in 100 ms");
  }

  [[nodiscard]] std::optional<std::string> judge(std::string_view uid, std::size_t index, const TensorHeader& header) {
    const ExpertBackend* expert = state_->find(uid);
    if (expert == nullptr) return "unknown";  // the answer says it better
    if (auto reason = check_of(*expert, kind_).tensor(index, header.size, header.dtype)) return reason;
    bytes_ += buffer_size(header).value_or(0);
    return std::nullopt;
  }
  // What is allocated counts from its first chunk on, and as large as it will be decoded.
  [[nodiscard]] std::optional<std::string> hold(std::size_t bytes) {
    if (ticket_.take(bytes)) return std::nullopt;
    over_quota_ = true;
    return "the requests of this peer hold " + std::to_string(state_->options.quotas.bytes) + " bytes already";
  }
  [[nodiscard]] TrafficCounters& traffic() const noexcept { return state_->traffic->of(sink_.uid()); }

  std::shared_ptr<State> state_;
  p2p::PeerId peer_;
  ExpertCallKind kind_;
  std::string method_;
  SteadyTime begun_;
  PeerQuotas::Ticket ticket_;
  std::optional<RequestMetadata> metadata_;  // read when the peer is authorized
  bool over_quota_ = false;
  bool accepted_ = false;
  std::size_t bytes_ = 0;
  TensorSink sink_;
};

}  // namespace detail

}  // namespace skep::inline v0::moe

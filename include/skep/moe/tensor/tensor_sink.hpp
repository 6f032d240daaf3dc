// TensorSink: messages of tensors on their way in, received where each tensor stays.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/moe/tensor/tensor_assembly.hpp"
#include "skep/moe/tensor/tensor_message_parser.hpp"
#include "skep/p2p/payload.hpp"

namespace skep::inline v0::moe {

/// Receives ExpertRequest and ExpertResponse messages (wire: field 1 uid, 2 tensors, 3 metadata), one of a unary call
/// or all of a stream; feed it by the BodySink protocol in pieces of any size. Tensors land in their final storage,
/// 64-byte aligned.
///
/// What is wrong with a message does not end the receiving: the rest is skipped without being kept, and `refusal()`
/// says why, so that the peer can be told in an answer. Only a message above `TensorLimits::message` ends it.
/// Not thread-safe; belongs to one call.
class TensorSink final : public p2p::AnyBodySink {
 public:
  using Check = TensorAssembly::Check;
  using SizeHint = TensorAssembly::SizeHint;
  using Hold = TensorAssembly::Hold;

  explicit TensorSink(TensorLimits limits = {}, Check check = {}, SizeHint size_hint = {}, Hold hold = {})
      : max_message_(limits.message),
        assembly_(limits, std::move(check), std::move(size_hint), std::move(hold)),
        parser_(assembly_, limits.metadata) {}
  TensorSink(const TensorSink&) = delete;
  TensorSink& operator=(const TensorSink&) = delete;

  [[nodiscard]] std::error_code start(std::size_t size) override {
    if (size > max_message_) return make_error_code(errc::limit_exceeded);
    assembly_.begin_message();
    parser_.start(size);
    return {};
  }
  [[nodiscard]] MutableBytes destination() override { return parser_.destination(); }
  [[nodiscard]] std::error_code filled(std::size_t n) override {
    parser_.filled(n);
    return {};
  }

  /// The expert's uid; empty in responses.
  [[nodiscard]] const std::string& uid() const noexcept { return assembly_.uid(); }
  [[nodiscard]] const Bytes& metadata() const noexcept { return assembly_.metadata(); }
  /// How many messages were begun.
  [[nodiscard]] std::size_t messages() const noexcept { return assembly_.messages(); }
  /// Why the message is refused, one sentence; empty while nothing is wrong.
  [[nodiscard]] const std::string& refusal() const noexcept { return assembly_.refusal(); }
  [[nodiscard]] std::error_code error() const noexcept { return assembly_.error(); }
  /// The tensors, after the last message. @return the error to which `refusal()` is the sentence, when one is missing,
  /// incomplete or not decodable.
  [[nodiscard]] Result<std::vector<Tensor>> take() { return assembly_.take(); }

 private:
  std::size_t max_message_;
  TensorAssembly assembly_;
  TensorMessageParser<TensorAssembly> parser_;
};

static_assert(p2p::BodySink<TensorSink>);

}  // namespace skep::inline v0::moe

// StreamService: the callee's side of a streaming call, from the start of its handler to the close of the stream.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/scope.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/quota.hpp"
#include "skep/p2p/rpc_stream.hpp"
#include "skep/p2p/standing.hpp"
#include "skep/p2p/stream_call.hpp"
#include "skep/p2p/turn.hpp"

namespace skep::inline v0::p2p {

/// The callee's side of one streaming call: runs the handler, says in an error record what it threw, reads the caller's
/// input to its end, closes. The caller's closing cancels the handler.
class StreamService final : public Runnable,
                            public skep::detail::Child,
                            public std::enable_shared_from_this<StreamService> {
 public:
  StreamService(std::shared_ptr<StreamCall> call, std::shared_ptr<const StreamHandler<Stream>> handler,
                std::shared_ptr<TaskCount> tasks, std::shared_ptr<Standing> standing)
      : call_(std::move(call)),
        handler_(std::move(handler)),
        tasks_(std::move(tasks)),
        standing_(std::move(standing)) {}

  void run() override {
    if (!call_->attached()) return judge();
    tasks_->begin();
    call_->on_failure_ = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->cancel();
    };
    start(shared_from_this(), call_->host_->executor(), serve(shared_from_this()));
  }

 private:
  void ended(std::exception_ptr /*thrown*/) override {
    call_->on_failure_ = nullptr;
    tasks_->end();
  }

  // The stream's own error is the cause where the handler was cancelled for it.
  void judge(bool handler_served = false, bool callers_fault = false) {
    if (callers_fault || is_callers_fault(call_->error_)) {
      standing_->fault(call_->host_->now());
    } else if (handler_served) {
      standing_->served();
    }
  }

  static awaitable<void> serve(std::shared_ptr<StreamService> self) {
    std::string words;
    bool failed = false;
    try {
      co_await (*self->handler_)(Stream(self->call_, false));
      self->judge(true);
    } catch (const std::exception& error) {
      self->judge(false, is_callers_fault(error));
      words = error.what();
      failed = true;
    } catch (...) {
      words = "an exception of unknown type";
      failed = true;
    }
    auto& call = *self->call_;
    if (failed && call.attached()) {
      if (words.empty()) words = "the handler failed";
      co_await clear_cancellation();
      try {
        co_await StreamCall::send(self->call_, codec::StreamRecordHead::Kind::error,
                                  codec::RPCError{words.substr(0, 64 * 1024)}.encode());
        // NOLINTNEXTLINE(bugprone-empty-catch)
      } catch (const std::exception&) {
        // the caller is gone: nobody is left to be told
      }
    }
    if (call.attached()) call.end_service();
  }

  std::shared_ptr<StreamCall> call_;
  std::shared_ptr<const StreamHandler<Stream>> handler_;
  std::shared_ptr<TaskCount> tasks_;
  std::shared_ptr<Standing> standing_;
};

}  // namespace skep::inline v0::p2p

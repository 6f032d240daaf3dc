// Peer routing on the wire: answers questions, admits peers that answer ours, finds peers whose addresses are unknown.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/codec/frame.hpp"
#include "skep/codec/kad_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/byte_stream.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/host_state.hpp"
#include "skep/p2p/identify_service.hpp"
#include "skep/p2p/peer_routing.hpp"
#include "skep/p2p/stream_machine.hpp"

namespace skep::inline v0::p2p {

namespace detail {

/// Answers the questions of one inbound stream, in order, until the peer closes it or is idle for too long.
class RoutingStream final : public StreamMachine, public std::enable_shared_from_this<RoutingStream>, private Deadline {
 public:
  /// @param answer  Bytes(const codec::KadMessage&), framed; empty: the stream is to be reset
  RoutingStream(std::shared_ptr<ConnectionHost> host, Duration idle_limit,
                std::function<Bytes(const codec::KadMessage&)> answer)
      : host_(std::move(host)), limit_(idle_limit), answer_(std::move(answer)) {
    wait();
  }

 private:
  static constexpr std::size_t max_waiting = 1024 * 1024;  // answers that a peer does not take

  void on_data(BytesView piece) override {
    const auto keep = shared_from_this();
    consumed(piece.size());
    append(in_, piece);
    wait();
    BytesView rest = in_;
    for (;;) {
      const auto frame = codec::read_frame(rest, codec::KadMessage::max_size);
      if (!frame && frame.error() == skep::errc::truncated) break;
      if (!frame) return reset();
      const auto question = codec::KadMessage::decode(frame->body);
      Bytes answer;
      if (question) answer = answer_(*question);
      if (answer.empty() || next_.size() + answer.size() > max_waiting) return reset();
      append(next_, answer);
      rest = rest.subspan(frame->size);
    }
    in_.erase(in_.begin(), in_.end() - static_cast<std::ptrdiff_t>(rest.size()));
    flush();
  }
  void on_end() override {
    const auto keep = shared_from_this();
    host_->deadlines().cancel(*this);
    leave(Urgency::now);
  }
  void on_lost(std::error_code) override { host_->deadlines().cancel(*this); }
  void on_drained() override {
    out_.clear();
    flush();
  }
  void expired() noexcept override {
    const auto keep = shared_from_this();
    reset();
  }

  void wait() { host_->deadlines().insert(*this, deadline_after(host_->now(), limit_)); }
  void flush() {
    if (!out_.empty() || next_.empty()) return;
    out_.swap(next_);
    write(out_);
  }

  std::shared_ptr<ConnectionHost> host_;
  Duration limit_;
  std::function<Bytes(const codec::KadMessage&)> answer_;
  Bytes in_;
  Bytes out_;
  Bytes next_;
};

}  // namespace detail

/// Peer routing of one host (libp2p specs, kad-dht, as far as Hivemind needs it).
class RoutingService {
 public:
  /// Addresses that others name are remembered for so long.
  static constexpr Duration hearsay = 2min;

  explicit RoutingService(HostState& state) : state_(state), routing_(state.self()) {}

  [[nodiscard]] const PeerRouting& routing() const noexcept { return routing_; }

  /// Registers the protocol.
  void install() {
    state_.protocols().insert(std::string(routing_protocol), [this](Connection& connection) {
      return new_shared<detail::RoutingStream>(
          state_.shared_from_this(), state_.options().limits.routing_idle_timeout,
          [this, peer = connection.peer(), remote = remote_address(connection)](const codec::KadMessage& question) {
            return answer(question, peer, remote);
          });
    });
  }

  /// A peer told what it speaks: it may belong into the table.
  void identified(const PeerId& peer, bool serves_routing) {
    if (routing_.identified(peer, serves_routing)) state_.scope().spawn(probe(state_.shared_from_this(), *this, peer));
  }

  /// Searches for the addresses of a peer and remembers them for a while. Completes when some are found, the peer has
  /// connected, or nobody is left to ask; throws nothing but cancellation.
  static awaitable<void> find(std::shared_ptr<HostState> state, RoutingService& self, PeerId target) {
    struct Search {
      Search(const PeerRouting& routing, const PeerId& peer, Executor executor)
          : machine(routing, peer), news(std::move(executor)) {}
      FindPeer machine;
      Event news;
    };
    const auto search = new_shared<Search>(self.routing_, target, state->executor());
    state->for_each_connection([&](const std::shared_ptr<Connection>& connection) {
      // one that has not told what it speaks may as well be asked
      if (!connection->identified() || state->store().supports(connection->peer(), routing_protocol)) {
        search->machine.add(connection->peer());
      }
    });
    Scope questions(state->executor(), "p2p routing");
    std::exception_ptr interrupted;
    try {
      while (!search->machine.finished() && search->machine.found().empty() && !state->find(target)) {
        search->news.reset();
        while (const auto peer = search->machine.next()) {
          questions.spawn([state, &self, search, peer = *peer]() -> awaitable<void> {
            std::optional<codec::KadMessage> answer;
            try {
              answer = co_await ask(state, peer, search->machine.request());
              // NOLINTNEXTLINE(bugprone-empty-catch)
            } catch (const std::exception&) {
            }
            if (answer) {
              for (const auto& named : search->machine.answered(peer, *answer)) self.remember(named);
            } else {
              search->machine.failed(peer);
              self.routing_.failed(peer);
            }
            search->news.set();
          });
        }
        if (search->machine.finished() || !search->machine.found().empty()) break;
        co_await search->news.wait();
      }
    } catch (...) {
      interrupted = std::current_exception();
    }
    questions.cancel();
    const bool cancelled = is_cancelled(co_await asio::this_coro::cancellation_state);
    co_await clear_cancellation();
    co_await questions.join();
    if (cancelled && !interrupted) throw_cancelled();
    if (interrupted) std::rethrow_exception(interrupted);
  }

 private:
  [[nodiscard]] Bytes answer(const codec::KadMessage& question, const PeerId& requester, const Multiaddr& remote) {
    const auto message = routing_.answer(question, requester, [&](const PeerId& peer) {
      if (peer == state_.self()) return addresses_for(state_.addresses(), remote);
      return state_.store().addresses(peer, state_.now());
    });
    Bytes out;
    if (message) codec::append_frame(out, message->encode());
    return out;
  }

  void remember(const RoutedPeer& peer) {
    if (peer.id == state_.self()) return;
    for (const auto& address : peer.addresses) {
      state_.store().add_address(peer.id, address, state_.now(), deadline_after(state_.now(), hearsay));
    }
  }

  /// One question to one peer, dialled at the addresses that are known. @throws Error, std::system_error
  static awaitable<codec::KadMessage> ask(std::shared_ptr<HostState> state, PeerId peer, codec::KadMessage question) {
    const Duration limit = state->options().limits.routing_timeout;
    co_return co_await with_timeout(*state, limit, exchange(state, std::move(peer), std::move(question)),
                                    "a question to a routing table");
  }
  static awaitable<codec::KadMessage> exchange(std::shared_ptr<HostState> state, PeerId peer,
                                               codec::KadMessage question) {
    const auto connection =
        co_await HostState::connection_to(state, std::move(peer), SteadyTime::max(), HostState::Search::no);
    const auto stream = ByteStream::open(state, *connection, routing_protocol, state->options().limits.routing_timeout);
    try {
      Bytes request;
      codec::append_frame(request, question.encode());
      co_await ByteStream::write(stream, std::move(request));
      Bytes received;
      for (;;) {
        const auto frame = codec::read_frame(received, max_answer);
        if (frame) {
          auto answer = codec::KadMessage::decode(frame->body);
          if (!answer) throw std::system_error(answer.error());
          stream->release();
          co_return *std::move(answer);
        }
        if (frame.error() != skep::errc::truncated) throw std::system_error(frame.error());
        const Bytes more = co_await ByteStream::read(stream);
        if (more.empty()) throw std::system_error(make_error_code(skep::errc::truncated));
        append(received, more);
      }
    } catch (...) {
      stream->abandon();  // or it would stay as long as the connection
      throw;
    }
  }

  static awaitable<void> probe(std::shared_ptr<HostState> state, RoutingService& self, PeerId peer) {
    for (std::optional<PeerId> next = std::move(peer); next;) {
      std::optional<codec::KadMessage> answer;
      try {
        answer = co_await ask(state, *next, PeerRouting::probe_request(*next));
      } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
      }
      if (!answer) {
        self.routing_.failed(*next);
        co_return;
      }
      next = self.routing_.probed(*next, *answer);
    }
  }

  static constexpr std::size_t max_answer = 256 * 1024;  // an honest one names 21 peers

  HostState& state_;  // owns this
  PeerRouting routing_;
};

}  // namespace skep::inline v0::p2p

// HostState: the connections of a host, how they come about, and the protocols that it answers to. `Host` is the
// handle.
#pragma once

#include <algorithm>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/awaitable.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/random.hpp"
#include "skep/p2p/arrivals.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/connection_table.hpp"
#include "skep/p2p/dialer.hpp"
#include "skep/p2p/host_options.hpp"
#include "skep/p2p/identity.hpp"
#include "skep/p2p/inbound.hpp"
#include "skep/p2p/listener.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/noise.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/p2p/peer_store.hpp"
#include "skep/p2p/quota.hpp"

namespace skep::inline v0::p2p {

/// Shared by the handles, the connections and every coroutine of a host.
class HostState final : public ConnectionHost, public std::enable_shared_from_this<HostState> {
 public:
  /// What happens to connections, for the services that live on them.
  struct Hooks {
    std::function<void(const std::shared_ptr<Connection>&)> connected;
    /// Asks other peers where one is; adds what it learns to the peer store.
    std::function<awaitable<void>(PeerId)> find_peer;
    std::function<void()> protocols_changed;
  };

  HostState(Executor executor, HostOptions options)
      : ConnectionHost(executor, connection_options(options.limits)),
        options_(std::move(options)),
        identity_(make_identity(options_)),
        credentials_(new_shared<NoiseCredentials>(identity_)),
        arrivals_(options_.limits.standing, options_.limits.max_upgrades),
        random_(options_.seed ? *options_.seed : random_seed()),
        scope_(executor, "p2p host"),
        tasks_(new_shared<TaskCount>(executor)),
        connections_gone_(executor) {
    connections_gone_.set();
  }

  [[nodiscard]] const HostOptions& options() const noexcept { return options_; }
  [[nodiscard]] const Identity& identity() const noexcept { return identity_; }
  [[nodiscard]] const PeerId& self() const noexcept { return identity_.id(); }
  [[nodiscard]] PeerStore& store() noexcept { return store_; }
  [[nodiscard]] ProtocolTable& protocols() noexcept { return protocols_; }
  [[nodiscard]] Scope& scope() noexcept { return scope_; }
  [[nodiscard]] const std::shared_ptr<TaskCount>& tasks() const noexcept { return tasks_; }
  [[nodiscard]] Random& random() noexcept { return random_; }
  [[nodiscard]] bool is_closed() const noexcept { return closed_; }
  Hooks hooks;
  std::shared_ptr<void> services;  ///< what the hooks lead to

  // Clock
  [[nodiscard]] SteadyTime steady_now() const noexcept { return now(); }
  [[nodiscard]] WallTime wall_now() const noexcept { return system_wall_now(); }
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) const { return skep::sleep_until(executor(), when); }

  /// Opens the listeners and begins to accept. @throws Error
  void listen() {
    for (const auto& text : options_.listen) listeners_.push_back(listen_on(executor(), Multiaddr::parse(text)));
    for (const auto& text : options_.announce) announced_.push_back(Multiaddr::parse(text).without_peer());
    for (auto& listener : listeners_) scope_.spawn(accept_loop(shared_from_this(), listener));
  }

  /// Where others reach this host, without /p2p: what is announced, or the listeners' addresses with the interfaces'
  /// in place of 0.0.0.0.
  [[nodiscard]] std::vector<Multiaddr> addresses() const {
    if (!announced_.empty()) return announced_;
    std::vector<Multiaddr> out;
    for (const auto& listener : listeners_) append_reachable(out, listener->local_endpoint());
    return out;
  }

  /// A connection that takes new streams, or null.
  [[nodiscard]] std::shared_ptr<Connection> find(const PeerId& peer) const { return connections_.find(peer); }
  [[nodiscard]] std::vector<PeerId> peers() const { return connections_.peers(); }
  /// Visits every connection; those that the visitor causes to be made or lost are not told.
  template <class Visit>
  void for_each_connection(Visit visit) const {
    for (const auto& connection : connections_.all()) visit(connection);
  }

  /// Whether peers may be asked where somebody is.
  enum class Search { no, yes };

  /// The connection to a peer: one that stands, or one made now, by this dial or another's. @throws Error that names
  /// the peer and what was tried
  static awaitable<std::shared_ptr<Connection>> connection_to(std::shared_ptr<HostState> self, PeerId peer,
                                                              SteadyTime deadline, Search search = Search::yes) {
    if (auto standing = self->find(peer)) co_return standing;
    if (peer == self->self()) throw Error(skep::errc::invalid_argument, "a host cannot connect to itself");
    DialResult tried;
    for (const Search step : {Search::no, Search::yes}) {
      if (step > search || (step == Search::yes && !self->hooks.find_peer)) break;
      self->refuse_when_closed();
      const auto job = self->dial_job(peer, step);
      try {
        co_await with_deadline(*self, deadline, job->done.wait());
      } catch (const Error& error) {
        if (error.code() != skep::errc::timed_out) throw;
        throw Error(skep::errc::timed_out, "cannot reach " + peer.to_string() + ": timed out");
      }
      if (auto standing = self->find(peer)) co_return standing;
      tried.failures.insert(tried.failures.end(), job->result.failures.begin(), job->result.failures.end());
      tried.took += job->result.took;
    }
    self->refuse_when_closed();
    throw unreachable(peer, tried, self->wait_until_dialable(peer));
  }

  /// Dials one address whoever answers there. @throws Error
  static awaitable<PeerId> connect_anybody(std::shared_ptr<HostState> self, Multiaddr address, SteadyTime deadline) {
    self->refuse_when_closed();
    Dialer dialer(*self, self->credentials_, self->options_.limits);
    std::vector<Multiaddr> addresses{address};
    DialResult result;
    try {
      result = co_await with_deadline(*self, deadline, dialer.dial({}, std::move(addresses)));
    } catch (const Error& error) {
      if (error.code() != skep::errc::timed_out) throw;
      throw Error(skep::errc::timed_out, "cannot reach " + address.to_string() + ": timed out");
    }
    if (!result.connection) throw unreachable({}, result);
    const PeerId peer = result.connection->peer;
    if (peer == self->self()) throw Error(skep::errc::invalid_argument, address.to_string() + " is this host itself");
    self->store_.add_address(peer, address, self->now(), deadline_after(self->now(), 30min));
    self->adopt(std::move(*result.connection));
    co_return peer;
  }

  /// Lets in a connection whose ends know each other. @return false when limits forbid it
  bool adopt(Upgraded upgraded) {
    const PeerId peer = upgraded.peer;
    const bool inbound = upgraded.role == yamux::Role::listener;
    if (closed_ || peer == self()) return false;
    if (inbound && (connections_.count(peer) >= options_.limits.max_connections_per_peer ||
                    connections_.size() >= options_.limits.max_connections)) {
      log(LogLevel::info, "p2p", "refused a connection of " + peer.to_string() + ": too many");
      return false;
    }
    auto connection = new_shared<Connection>(shared_from_this(), std::move(upgraded));
    connections_.insert(connection);
    connections_gone_.reset();
    store_.connected(peer);
    for (const auto* jobs : {&dials_, &searches_}) {
      if (const auto job = jobs->find(peer); job != jobs->end()) job->second->done.set();
    }
    connection->start();
    if (connection->is_open() && hooks.connected) hooks.connected(connection);
    return true;
  }

  /// Ends everything; idempotent.
  void close() {
    if (std::exchange(closed_, true)) return;
    scope_.cancel();
    for (const auto& listener : listeners_) {
      std::error_code ignored;
      listener->close(ignored);
    }
    for_each_connection([](const std::shared_ptr<Connection>& connection) {
      connection->run();  // what is ready to be written still goes
      connection->close(skep::errc::closed);
    });
    for (const auto* jobs : {&dials_, &searches_}) {
      for (const auto& [peer, job] : *jobs) job->done.set();
    }
    protocols_ = {};  // handlers may hold what holds this host
  }

  /// Completes when nothing of the host runs any more; to be awaited after close().
  static awaitable<void> join(std::shared_ptr<HostState> self) {
    co_await self->scope_.join();
    co_await self->tasks_->none();
    co_await self->connections_gone_.wait();
    self->deadlines().close();  // a timer that is still set would keep the executor running
  }

  void refuse_when_closed() const {
    if (closed_) throw Error(skep::errc::closed, "the host is closed");
  }

  /// 16 random bytes that name a call; drawn from the system's generator many at a time.
  [[nodiscard]] codec::CallId next_call_id() noexcept {
    if (call_ids_left_ == 0) {
      crypto::random_bytes(MutableBytes(call_ids_.front().data(), call_ids_.size() * sizeof(codec::CallId)));
      call_ids_left_ = call_ids_.size();
    }
    return call_ids_[--call_ids_left_];
  }

 private:
  // One dial of one peer, awaited by everybody who needs the connection.
  struct DialJob {
    explicit DialJob(Executor executor) : done(std::move(executor)) {}
    Event done;
    DialResult result;
  };
  using DialJobs = std::unordered_map<PeerId, std::shared_ptr<DialJob>>;

  static Options connection_options(const HostLimits& limits) {
    return {.streams = limits.streams,
            .keepalive = limits.keepalive,
            .pong_timeout = limits.pong_timeout,
            .request_quota = limits.request_quota,
            .standing = limits.standing};
  }
  static Identity make_identity(const HostOptions& options) {
    if (options.identity) return *options.identity;
    if (!options.identity_path.empty()) return Identity::load_or_generate(options.identity_path);
    return Identity::generate();
  }
  static std::uint64_t random_seed() {
    std::uint64_t seed = 0;
    crypto::random_bytes({reinterpret_cast<std::uint8_t*>(&seed), sizeof seed});
    return seed;
  }

  std::shared_ptr<StreamMachine> accept(Connection& connection) override {
    return std::make_shared<Negotiation>(shared_from_this(), connection, protocols_,
                                         options_.limits.negotiation_timeout);
  }

  void closed(Connection& connection, std::error_code) override {
    if (!connections_.erase(connection)) return;
    const SteadyTime ended = now();
    store_.disconnected(connection.peer(), ended);
    const bool was_short = ended - connection.begun() < options_.limits.short_connection;
    if (was_short && connection.role() == yamux::Role::listener && !closed_) {
      arrivals_.fault(connection.remote_endpoint().address(), ended);
    }
    if (connections_.size() == 0) connections_gone_.set();
  }

  // For how long the known addresses of a peer are left alone; none when there are none.
  [[nodiscard]] std::optional<Duration> wait_until_dialable(const PeerId& peer) const {
    const auto when = store_.dialable_at(peer, now());
    if (!when) return std::nullopt;
    return *when - now();
  }

  [[nodiscard]] DialJobs& jobs(Search search) noexcept { return search == Search::no ? dials_ : searches_; }

  std::shared_ptr<DialJob> dial_job(const PeerId& peer, Search search) {
    if (const auto running = jobs(search).find(peer); running != jobs(search).end()) return running->second;
    auto job = new_shared<DialJob>(executor());
    jobs(search)[peer] = job;
    scope_.spawn(run_dial(shared_from_this(), job, peer, search));
    return job;
  }

  static awaitable<void> run_dial(std::shared_ptr<HostState> self, std::shared_ptr<DialJob> job, PeerId peer,
                                  Search search) {
    struct Finish {
      ~Finish() {
        self.jobs(search).erase(peer);
        job.done.set();
      }
      HostState& self;
      DialJob& job;
      const PeerId& peer;
      Search search;
    } const finish{*self, *job, peer, search};
    const SteadyTime begin = self->now();
    try {
      co_await with_timeout(*self, self->options_.limits.connect_timeout, dial_peer(self, job, peer, search),
                            "a connection");
    } catch (const Error& error) {
      if (error.code() != skep::errc::timed_out) throw;
      job->result.took = self->now() - begin;
    }
  }

  static awaitable<void> dial_peer(std::shared_ptr<HostState> self, std::shared_ptr<DialJob> job, PeerId peer,
                                   Search search) {
    if (search == Search::yes) {
      co_await self->hooks.find_peer(peer);
      if (self->find(peer)) co_return;  // it has come to us meanwhile
    }
    std::vector<Multiaddr> addresses = self->store_.dialable(peer, self->now());
    if (addresses.empty()) co_return;
    job->result = co_await dial_addresses(self, peer, std::move(addresses));
    // kept even if the peer has come to us meanwhile: it may be using this one
    if (job->result.connection) self->adopt(*std::exchange(job->result.connection, std::nullopt));
  }

  static awaitable<DialResult> dial_addresses(std::shared_ptr<HostState> self, PeerId peer,
                                              std::vector<Multiaddr> addresses) {
    Dialer dialer(*self, self->credentials_, self->options_.limits);
    auto result = co_await dialer.dial(peer, std::move(addresses));
    for (const auto& failure : result.failures) {
      if (!is_cancellation(failure.why)) self->store_.dial_failed(peer, failure.address, self->now());
    }
    if (result.address) self->store_.dial_succeeded(peer, *result.address);
    co_return result;
  }

  static awaitable<void> accept_loop(std::shared_ptr<HostState> self,
                                     std::shared_ptr<asio::ip::tcp::acceptor> listener) {
    for (;;) {
      std::error_code failed;
      asio::ip::tcp::socket socket(self->executor());
      try {
        socket = co_await listener->async_accept(use_awaitable);
      } catch (const std::system_error& error) {
        failed = error.code();
      }
      if (self->closed_ || is_cancellation(failed)) co_return;
      if (failed) {  // out of descriptors, most likely: others will be closed
        log(LogLevel::warning, "p2p", "cannot accept a connection: " + failed.message());
        co_await self->sleep_until(self->now() + 100ms);
        continue;
      }
      if (self->upgrades_ >= self->options_.limits.max_upgrades) continue;  // the socket is closed
      std::error_code ignored;
      const auto from = socket.remote_endpoint(ignored).address();
      auto place = self->arrivals_.admit(from, self->now());
      if (!place) continue;
      socket.set_option(asio::ip::tcp::no_delay(true), ignored);
      self->scope_.spawn(accept_one(self, std::move(socket), from, *std::move(place)));
    }
  }

  static awaitable<void> accept_one(std::shared_ptr<HostState> self, asio::ip::tcp::socket socket,
                                    asio::ip::address from, Arrivals::Place place) {
    struct Count {
      explicit Count(std::size_t& counted) : count(counted) { ++count; }
      ~Count() { --count; }
      Count(const Count&) = delete;
      Count& operator=(const Count&) = delete;
      std::size_t& count;
    } const counted(self->upgrades_);
    try {
      if (place.begins() > self->now()) co_await self->sleep_until(place.begins());
      auto upgraded = co_await with_timeout(*self, self->options_.limits.upgrade_timeout,
                                            upgrade(std::move(socket), yamux::Role::listener, self->credentials_, {}),
                                            "an upgrade");
      if (!self->adopt(std::move(upgraded))) self->arrivals_.fault(from, self->now());
    } catch (const std::system_error& error) {
      if (is_cancellation(error.code())) throw;
      self->arrivals_.fault(from, self->now());
      log(LogLevel::debug, "p2p", std::string("an inbound connection was not upgraded: ") + error.what());
    }
  }

  HostOptions options_;
  Identity identity_;
  std::shared_ptr<const NoiseCredentials> credentials_;
  Arrivals arrivals_;
  Random random_;
  PeerStore store_;
  ProtocolTable protocols_;
  std::vector<std::shared_ptr<asio::ip::tcp::acceptor>> listeners_;
  std::vector<Multiaddr> announced_;
  ConnectionTable connections_;
  DialJobs dials_;     // at the addresses that are known
  DialJobs searches_;  // after asking others for more
  std::size_t upgrades_ = 0;
  Scope scope_;
  std::shared_ptr<TaskCount> tasks_;
  Event connections_gone_;
  std::array<codec::CallId, 64> call_ids_{};
  std::size_t call_ids_left_ = 0;
  bool closed_ = false;
};

}  // namespace skep::inline v0::p2p

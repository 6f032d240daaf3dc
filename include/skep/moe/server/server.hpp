// Server: hosts experts of any classes, keeps them declared in the DHT, and starts and stops cleanly.
#pragma once

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/random.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/server/connection_handler.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/runtime.hpp"
#include "skep/moe/server/server_options.hpp"
#include "skep/moe/server/serving.hpp"
#include "skep/moe/server/statistics.hpp"
#include "skep/moe/server/traffic.hpp"
#include "skep/moe/server/uid_pattern.hpp"

namespace skep::inline v0::moe {

/// Serves any number of experts of the classes `Experts...`, each described by `Expert<M>`:
///
///     skep::dht::DHT dht({.initial_peers = {...}});
///     skep::moe::Server<skep::moe::Ffn, Gated> server(
///         dht, {.experts = {{.num_experts = 4, .expert_pattern = "ffn.[0:4].[0:4]", .expert = {.hidden_dim = 64}}}});
///     server.run();
///
/// *Lifetime:* the destructor shuts it down. It keeps the DHT, which its owner shuts down, before or after. *Threads:*
/// members from any thread that may block. *Errors:* options that do not fit are told by errc::invalid_argument before
/// anything is started; a declaration that fails is logged and tried again.
template <class... Experts>
class Server {
  static_assert(sizeof...(Experts) > 0, "skep: a Server needs at least one class of experts");
  static_assert((ExpertModule<Experts> && ...),
                "skep: an expert's forward takes and returns tensors or tuples of tensors");
  static_assert((DescribedExpert<Experts> && ...),
                "skep: specialise skep::moe::Expert<M> with name, make(options) and sample(options)");

  static constexpr std::array<std::string_view, sizeof...(Experts)> names{std::string_view(Expert<Experts>::name)...};
  static constexpr bool names_differ() {
    for (std::size_t i = 0; i < names.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (names[i] == names[j]) return false;
      }
    }
    return true;
  }
  static_assert(names_differ(), "skep: two classes of experts of one Server have the same name");

 public:
  /// Chooses the uids and makes the experts. Blocks while the DHT is asked which uids are taken.
  Server(dht::DHT dht, ServerOptions options)
      : dht_(std::move(dht)), options_(std::move(options)), runtime_({.threads = options_.threads}) {
    check(options_);
    for (ExpertGroup& group : options_.experts) {
      if (!group.make) group.make = factories[class_index(group)];
    }
    for (const ExpertGroup& group : options_.experts) {
      for (const std::string& uid : choose_uids(group)) add(group, uid);
    }
    traffic_ = std::make_shared<ServerTraffic>(uids());
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    try {
      shutdown();
    } catch (const std::exception& e) {
      log(LogLevel::error, "server", e.what());
    }
  }

  /// The names of its classes, as `expert_cls` takes them.
  [[nodiscard]] static std::vector<std::string> class_names() { return {names.begin(), names.end()}; }

  /// Serves until `shutdown()` is called from another thread. Starts the server unless it runs.
  void run() {
    start();
    std::unique_lock lock(mutex_);
    stopped_.wait(lock, [this] { return phase_ == Phase::stopped; });
  }
  /// Starts serving and declares the experts once; returns when both are done. Once only.
  void start() {
    {
      const std::lock_guard lock(mutex_);
      if (phase_ == Phase::running || phase_ == Phase::starting) return;
      if (phase_ != Phase::fresh) throw Error(errc::closed, "the server was shut down");
      phase_ = Phase::starting;
    }
    log(LogLevel::info, "server", "Server started with " + std::to_string(experts_.size()) + " modules:");
    for (const auto& [uid, expert] : experts_) {
      log(LogLevel::info, "server",
          uid + ": " + expert->class_name() + ", " + std::to_string(expert->parameter_count()) + " parameters");
    }
    for (const auto& [uid, expert] : experts_) {
      for (const ExpertPool& pool : expert->get_pools()) log(LogLevel::info, "server", pool.name() + " starting");
    }
    runtime_.start();
    try {
      {
        const std::lock_guard lock(mutex_);
        if (phase_ != Phase::starting) throw Error(errc::closed, "the server was shut down while it started");
        const detail::ServingOptions serving{.handler = options_.handler,
                                             .period = options_.update_period,
                                             .expiration = options_.declaration_life(),
                                             .leave_timeout = options_.leave_timeout,
                                             .traffic = traffic_};
        serving_ =
            dht_.run_coroutine_future([network = network_, experts = experts_, serving](dht::Node<p2p::Host> node) {
              return detail::serve_experts(network, std::move(node), experts, serving);
            });
      }
      dht_.run_coroutine([network = network_](const auto&) { return detail::wait_until_declared(network); });
    } catch (...) {
      stop();
      throw;
    }
    const std::lock_guard lock(mutex_);
    if (phase_ == Phase::starting) phase_ = Phase::running;
  }
  /// `start()` on a thread of its own. With `await_ready` it returns when the server is ready, or throws what went
  /// wrong, errc::timed_out after `timeout`; otherwise it returns at once and `ready()` tells.
  void run_in_background(bool await_ready = true, Duration timeout = 60s) {
    const std::lock_guard lock(background_mutex_);
    background_ = std::async(std::launch::async, [this] { start(); });
    if (!await_ready) return;
    if (background_.wait_for(timeout) == std::future_status::timeout) {
      throw Error(errc::timed_out,
                  "the server is not ready after " + skep::detail::describe_wait(timeout) + "; it goes on starting");
    }
    background_.get();
  }
  /// True while requests are served.
  [[nodiscard]] bool ready() const {
    const std::lock_guard lock(mutex_);
    return phase_ == Phase::running;
  }
  /// Tells new requests to ask another server, answers those in hand, withdraws the experts from the DHT, all within
  /// `leave_timeout`, and ends the threads. Idempotent; the DHT goes on.
  void shutdown() {
    stop();
    const std::lock_guard lock(background_mutex_);
    if (background_.valid()) background_.wait();
  }

  [[nodiscard]] const ExpertTable& experts() const noexcept { return experts_; }
  [[nodiscard]] std::vector<std::string> uids() const {
    std::vector<std::string> all;
    for (const auto& [uid, expert] : experts_) all.push_back(uid);
    return all;
  }
  /// All counters; `report_lines` makes lines of those of the pools.
  [[nodiscard]] ServerStatistics statistics() const {
    ServerStatistics now{.pools = {}, .experts = traffic_->snapshots(), .others = traffic_->others(), .updates = {}};
    for (const auto& [uid, expert] : experts_) {
      for (ExpertPool& pool : expert->get_pools()) now.pools.emplace(pool.name(), pool.statistics());
      now.updates.emplace(uid, expert->update_count());
    }
    return now;
  }

 private:
  enum class Phase { fresh, starting, running, stopping, stopped };

  template <class M>
  [[nodiscard]] static std::shared_ptr<ExpertBackend> make_expert(const std::string& uid,
                                                                  const BackendOptions& options) {
    return std::make_shared<ModuleBackend<M>>(uid, options);
  }
  using Factory = std::shared_ptr<ExpertBackend> (*)(const std::string&, const BackendOptions&);
  static constexpr std::array<Factory, sizeof...(Experts)> factories{&make_expert<Experts>...};

  [[nodiscard]] static std::size_t class_index(const ExpertGroup& group) {
    if (group.expert_cls.empty()) return 0;
    const auto found = std::ranges::find(names, group.expert_cls);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    std::string known;
    for (const std::string_view name : names) known += (known.empty() ? "" : ", ") + std::string(name);
    throw Error(errc::invalid_argument,
                "\"" + printable(group.expert_cls) + "\" is no class of experts of this server; it has " + known);
  }

  /// The given uids, or free ones from the pattern.
  [[nodiscard]] std::vector<std::string> choose_uids(const ExpertGroup& group) {
    if (!group.expert_uids.empty()) return group.expert_uids;
    const std::size_t wanted = group.num_experts;
    std::uint64_t seed = 0;
    crypto::random_bytes({reinterpret_cast<std::uint8_t*>(&seed), sizeof seed});
    UidSampler sampler = group.expert_pattern.empty()
                             ? UidSampler::without_pattern(wanted)
                             : UidSampler(UidPattern(group.expert_pattern), wanted, Random(seed));
    log(LogLevel::info, "server",
        "Generating " + std::to_string(wanted) + " expert uids from pattern " + sampler.pattern().text());
    std::vector<std::string> free;
    while (free.size() < wanted) {
      auto drawn = sampler.draw(wanted - free.size());
      if (drawn.empty()) break;
      std::erase_if(drawn, [this](const std::string& uid) { return experts_.contains(uid); });
      const auto served =
          dht_.run_coroutine([drawn](dht::Node<p2p::Host> node) { return get_experts(std::move(node), drawn); });
      for (std::size_t i = 0; i < drawn.size(); ++i) {
        if (!served[i]) free.push_back(std::move(drawn[i]));
      }
    }
    if (free.empty()) {
      throw Error(errc::not_found, "no free expert uid was found in the pattern " + sampler.pattern().text() +
                                       ": all that were tried are served by others");
    }
    if (free.size() < wanted) {
      log(LogLevel::warning, "server",
          "Found only " + std::to_string(free.size()) + " out of " + std::to_string(wanted) +
              " free expert uids in the pattern " + sampler.pattern().text());
    }
    return free;
  }

  void add(const ExpertGroup& group, const std::string& uid) {
    if (experts_.contains(uid)) throw Error(errc::invalid_argument, "expert " + uid + " is listed twice");
    experts_.emplace(uid, group.make(uid, {.expert = group.expert,
                                           .optimizer = options_.optimizer,
                                           .schedule = options_.schedule,
                                           .clip_grad_norm = options_.clip_grad_norm,
                                           .accumulate_samples = options_.accumulate_samples,
                                           .max_batch_size = options_.max_batch_size,
                                           .min_batch_size = options_.min_batch_size,
                                           .batch_timeout = options_.batch_timeout,
                                           .compression = options_.compression,
                                           .scheduler = runtime_.scheduler()}));
  }

  void stop() {
    {
      std::unique_lock lock(mutex_);
      if (phase_ == Phase::stopping) stopped_.wait(lock, [this] { return phase_ == Phase::stopped; });
      if (phase_ == Phase::fresh) phase_ = Phase::stopped;
      if (phase_ == Phase::stopped) return;
      require_may_block("Server::shutdown");
      phase_ = Phase::stopping;
    }
    log(LogLevel::info, "server", "Shutting down");
    try {
      dht_.run_coroutine([network = network_](const auto&) { return detail::ask_to_leave(network); });
    } catch (const std::exception& e) {  // a DHT that is closed has let go of the server already
      if (!is_closed(e)) log(LogLevel::error, "server", e.what());
    }
    if (serving_.valid()) serving_.wait();
    for (const auto& [uid, expert] : experts_) {
      for (ExpertPool& pool : expert->get_pools()) pool.close();
    }
    runtime_.shutdown();
    for (const auto& [uid, expert] : experts_) {
      log(LogLevel::info, "server", uid + ": " + std::to_string(expert->update_count()) + " updates");
    }
    log(LogLevel::info, "server", "Server shutdown successfully");
    const std::lock_guard lock(mutex_);
    phase_ = Phase::stopped;
    stopped_.notify_all();
  }
  [[nodiscard]] static bool is_closed(const std::exception& e) noexcept {
    const auto* error = dynamic_cast<const Error*>(&e);
    return error != nullptr && error->code() == errc::closed;
  }

  dht::DHT dht_;
  ServerOptions options_;
  Runtime runtime_;
  ExpertTable experts_;
  std::shared_ptr<ServerTraffic> traffic_;
  std::shared_ptr<detail::ServerOnNetwork> network_ = std::make_shared<detail::ServerOnNetwork>();
  std::future<void> serving_;  // ends when the network has been left
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  Phase phase_ = Phase::fresh;
  std::mutex background_mutex_;
  std::future<void> background_;
};

}  // namespace skep::inline v0::moe

// Server: hosts experts of any classes, keeps them declared in the DHT, and starts and stops cleanly.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/random.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/server/checkpoints.hpp"
#include "skep/moe/server/choose_uids.hpp"
#include "skep/moe/server/connection_handler.hpp"
#include "skep/moe/server/expert_classes.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/runtime.hpp"
#include "skep/moe/server/server_options.hpp"
#include "skep/moe/server/serving.hpp"
#include "skep/moe/server/statistics.hpp"
#include "skep/moe/server/traffic.hpp"

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
  using Classes = ExpertClasses<Experts...>;

 public:
  /// Chooses the uids, makes the experts and restores those that have checkpoints. Blocks while the DHT is asked which
  /// uids are taken.
  template <dht::RecordValidator V>
  Server(dht::BasicDHT<V> dht, ServerOptions options)
      : dht_(std::make_unique<detail::ServerDhtOf<V>>(std::move(dht))),
        options_(std::move(options)),
        runtime_({.threads = options_.threads}) {
    check(options_);
    dht_->check(options_.guard_calls, options_.owner_tag);
    for (const ExpertGroup& group : options_.experts) {
      if (!group.make) (void)Classes::index_of(group.expert_cls);
    }
    if (!options_.checkpoints.directory.empty()) checkpoints_ = std::make_shared<Checkpoints>(options_.checkpoints);
    const auto uids_of_groups = choose_uids();
    for (std::size_t i = 0; i < options_.experts.size(); ++i) {
      for (const std::string& uid : uids_of_groups[i]) add(options_.experts[i], uid);
    }
    if (checkpoints_) {
      for (const auto& [uid, expert] : experts_) checkpoints_->restore(*expert);
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
  [[nodiscard]] static std::vector<std::string> class_names() { return Classes::all_names(); }

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
        if (checkpoints_) saver_ = std::make_unique<CheckpointSaver>(checkpoints_, all_experts());
        const detail::ServingOptions serving{.handler = options_.handler,
                                             .guard_calls = options_.guard_calls,
                                             .owner_tag = options_.owner_tag,
                                             .period = options_.update_period,
                                             .expiration = options_.declaration_life(),
                                             .load_period = options_.load_period,
                                             .leave_timeout = options_.leave_timeout,
                                             .traffic = traffic_};
        serving_ = dht_->serve(network_, experts_, serving);
      }
      dht_->wait_until_declared(network_);
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
  /// `leave_timeout`, ends the threads and saves the experts once more. Idempotent; the DHT goes on.
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

  /// The uids of all groups, those of checkpoints before free ones.
  [[nodiscard]] std::vector<std::vector<std::string>> choose_uids() {
    std::vector<std::string> located;
    if (checkpoints_) {
      located = checkpoints_->located();
      log(LogLevel::info, "server",
          "Located " + std::to_string(located.size()) + " checkpoints for experts [" + detail::listed(located) + "]");
    }
    auto chosen = saved_uids(options_.experts, located);
    std::set<std::string> taken(located.begin(), located.end());
    for (const ExpertGroup& group : options_.experts) taken.insert(group.expert_uids.begin(), group.expert_uids.end());
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const ExpertGroup& group = options_.experts[i];
      if (!group.expert_uids.empty()) chosen[i] = group.expert_uids;
      if (chosen[i].size() >= group.num_experts) continue;
      std::uint64_t seed = 0;
      crypto::random_bytes({reinterpret_cast<std::uint8_t*>(&seed), sizeof seed});
      const auto free = dht_->free_uids(group.expert_pattern, group.num_experts - chosen[i].size(), taken, seed);
      chosen[i].insert(chosen[i].end(), free.begin(), free.end());
      if (chosen[i].empty()) {
        throw Error(errc::not_found, "no free expert uid was found in the pattern " +
                                         UidSampler::pattern_of(group.expert_pattern, group.num_experts).text() +
                                         ": all that were tried are served by others");
      }
      taken.insert(free.begin(), free.end());
    }
    return chosen;
  }

  void add(const ExpertGroup& group, const std::string& uid) {
    if (experts_.contains(uid)) throw Error(errc::invalid_argument, "expert " + uid + " is listed twice");
    const BackendOptions backend{.expert = group.expert,
                                 .optimizer = options_.optimizer,
                                 .schedule = options_.schedule,
                                 .clip_grad_norm = options_.clip_grad_norm,
                                 .accumulate_samples = options_.accumulate_samples,
                                 .gradient_reduction = options_.gradient_reduction,
                                 .device = group.device.value_or(options_.device),
                                 .max_batch_size = options_.max_batch_size,
                                 .max_task_size = options_.max_task_size,
                                 .min_batch_size = options_.min_batch_size,
                                 .batch_timeout = options_.batch_timeout,
                                 .compression = options_.compression,
                                 .scheduler = runtime_.scheduler()};
    experts_.emplace(uid, group.make ? group.make(uid, backend) : Classes::make(group.expert_cls, uid, backend));
  }

  [[nodiscard]] std::vector<std::shared_ptr<ExpertBackend>> all_experts() const {
    std::vector<std::shared_ptr<ExpertBackend>> all;
    for (const auto& [uid, expert] : experts_) all.push_back(expert);
    return all;
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
      dht_->ask_to_leave(network_);
    } catch (const std::exception& e) {  // a DHT that is closed has let go of the server already
      if (!is_closed(e)) log(LogLevel::error, "server", e.what());
    }
    if (serving_.valid()) serving_.wait();
    for (const auto& [uid, expert] : experts_) {
      for (ExpertPool& pool : expert->get_pools()) pool.close();
    }
    runtime_.shutdown();
    saver_.reset();
    if (checkpoints_) CheckpointSaver::save_all(*checkpoints_, all_experts());
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

  std::unique_ptr<detail::ServerDht> dht_;
  ServerOptions options_;
  Runtime runtime_;
  ExpertTable experts_;
  std::shared_ptr<ServerTraffic> traffic_;
  std::shared_ptr<Checkpoints> checkpoints_;  // null: experts are not saved
  std::unique_ptr<CheckpointSaver> saver_;    // while it runs
  std::shared_ptr<detail::ServerOnNetwork> network_ = std::make_shared<detail::ServerOnNetwork>();
  std::future<void> serving_;  // ends when the network has been left
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  Phase phase_ = Phase::fresh;
  std::mutex background_mutex_;
  std::future<void> background_;
};

}  // namespace skep::inline v0::moe

// Server: hosts experts of any classes, keeps them declared in the DHT, and starts and stops cleanly.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/random.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/server/connection_handler.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/runtime.hpp"
#include "skep/moe/server/statistics.hpp"
#include "skep/moe/server/uid_pattern.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// Experts of one class: these uids, or so many free ones.
struct ExpertGroup {
  std::string expert_cls = {};                ///< the `Expert<M>::name`; empty: the server's first class
  std::vector<std::string> expert_uids = {};  ///< exactly these
  std::size_t num_experts = 0;                ///< or so many that nobody serves yet
  std::string expert_pattern = {};            ///< drawn from it ("ffn.[0:4].[0:4]"); empty: "expert.0", "expert.1", ...
  ExpertOptions expert = {};
};

/// Options of a Server; the defaults are Hivemind's.
struct ServerOptions {
  std::vector<ExpertGroup> experts;
  OptimizerFactory optimizer = adam();
  std::size_t min_batch_size = 1;
  std::size_t max_batch_size = 4096;
  Duration batch_timeout = 100ms;               ///< how long fewer samples than the minimum wait for company
  Compression compression = Compression::none;  ///< of inputs, outputs and gradients
  int threads = 0;                              ///< LibTorch threads in one operation; 0 leaves LibTorch's choice
  Duration update_period = 30s;                 ///< between two declarations of the experts
  std::optional<Duration> expiration = {};      ///< life of a declaration; max(2 x update_period, 3 s) when not given
  ConnectionHandlerOptions handler = {};
};

namespace detail {

/// What the DHT's thread and the server's owner tell each other.
struct ServerOnNetwork {
  std::optional<Event> declared;  // the door is open and the experts were declared once, or will not be
  std::optional<Event> leave;
  bool closed = false;
};

/// Tells the DHT of the experts; a failure is logged and does not end the server. @return whether it worked
inline awaitable<bool> declare_once(dht::Node<p2p::Host> node, std::vector<std::string> uids, Duration expiration,
                                    Duration timeout) {
  try {
    const auto records = co_await declare_experts(node, uids, node.now() + expiration, {.timeout = timeout});
    const auto kept = std::ranges::count_if(records, [](const auto& record) { return bool(record.stored); });
    if (static_cast<std::size_t>(kept) == records.size()) co_return true;
    log(LogLevel::warning, "server",
        "only " + std::to_string(kept) + " of " + std::to_string(records.size()) +
            " records that declare the experts were kept by a majority of their replicas");
  } catch (const std::exception& e) {
    if (is_cancellation(std::current_exception())) throw;
    log(LogLevel::warning, "server",
        std::string("the experts could not be declared, will be tried again: ") + e.what());
  }
  co_return false;
}

/// Declares the experts, and again every period, after a failure sooner, until cancelled.
inline awaitable<void> keep_declared(std::shared_ptr<ServerOnNetwork> network, dht::Node<p2p::Host> node,
                                     std::vector<std::string> uids, Duration period, Duration expiration) {
  for (;;) {
    const bool worked = co_await declare_once(node, uids, expiration, period);
    network->declared->set();
    const Duration wait = worked ? period : period / 4;
    co_await node.network().sleep_until(node.network().steady_now() + wait);
  }
}

/// Serves until told to leave, or until the DHT ends.
inline awaitable<void> serve_experts(std::shared_ptr<ServerOnNetwork> network, dht::Node<p2p::Host> node,
                                     ExpertTable experts, ConnectionHandlerOptions options, Duration period,
                                     Duration expiration) {
  const Executor executor = node.network().executor();
  network->declared.emplace(executor);
  network->leave.emplace(executor);
  if (network->closed) {
    network->declared->set();
    co_return;
  }
  std::vector<std::string> uids;
  for (const auto& [uid, expert] : experts) uids.push_back(uid);
  ConnectionHandler<p2p::Host> handler(node.network(), std::move(experts), options);
  Scope declaring(executor, "server");
  declaring.spawn(keep_declared(network, node, std::move(uids), period, expiration));
  try {
    co_await network->leave->wait();
  } catch (const std::exception&) {  // the DHT shuts down
  }
  co_await clear_cancellation();
  handler.close();
  declaring.cancel();
  co_await declaring.join();
  network->declared->set();
}

inline awaitable<void> wait_until_declared(std::shared_ptr<ServerOnNetwork> network) {
  co_await network->declared->wait();
}

inline awaitable<void> ask_to_leave(std::shared_ptr<ServerOnNetwork> network) {
  network->closed = true;
  if (network->leave) network->leave->set();
  co_return;
}

}  // namespace detail

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
    check_options();
    for (const ExpertGroup& group : options_.experts) {
      const std::size_t which = class_index(group);
      for (const std::string& uid : choose_uids(group)) add(which, uid, group.expert);
    }
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
    runtime_.start();
    try {
      {
        const std::lock_guard lock(mutex_);
        if (phase_ != Phase::starting) throw Error(errc::closed, "the server was shut down while it started");
        serving_ = dht_.run_coroutine_future([network = network_, experts = experts_, options = options_.handler,
                                              period = options_.update_period,
                                              expiration = expiration()](dht::Node<p2p::Host> node) {
          return detail::serve_experts(network, std::move(node), experts, options, period, expiration);
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
  /// Takes no more requests, fails those that wait, finishes the batch being computed, ends the threads. Idempotent;
  /// the DHT goes on, and the experts stay declared until their records expire.
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
  /// The counters of all pools; see `report_lines`.
  [[nodiscard]] PoolReport statistics() const {
    PoolReport report;
    for (const auto& [uid, expert] : experts_) {
      for (ExpertPool& pool : expert->get_pools()) report.emplace(pool.name(), pool.statistics());
    }
    return report;
  }

 private:
  enum class Phase { fresh, starting, running, stopping, stopped };

  [[nodiscard]] Duration expiration() const {
    return options_.expiration.value_or(std::max<Duration>(2 * options_.update_period, 3s));
  }

  void check_options() const {
    const auto refuse = [](const std::string& sentence) { throw Error(errc::invalid_argument, sentence); };
    if (options_.experts.empty()) refuse("a server without experts serves nothing; give it some in `experts`");
    if (options_.update_period <= Duration::zero()) refuse("update_period must be longer than nothing");
    if (expiration() <= options_.update_period) {
      refuse("expiration must be longer than update_period, or the experts expire before they are declared again");
    }
    for (const ExpertGroup& group : options_.experts) {
      if (group.expert_uids.empty() == (group.num_experts == 0)) {
        refuse("give either expert_uids or num_experts, possibly with expert_pattern, but not both");
      }
      if (!group.expert_uids.empty() && !group.expert_pattern.empty()) {
        refuse("expert_pattern goes with num_experts, not with expert_uids");
      }
      if (group.expert.hidden_dim < 1) refuse("hidden_dim must be at least 1");
      for (const std::string& uid : group.expert_uids) {
        if (!is_valid_uid(uid)) throw detail::invalid_uid(uid);
      }
      (void)class_index(group);
    }
  }

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

  void add(std::size_t which, const std::string& uid, const ExpertOptions& expert) {
    if (experts_.contains(uid)) throw Error(errc::invalid_argument, "expert " + uid + " is listed twice");
    const BackendOptions backend{.expert = expert,
                                 .optimizer = options_.optimizer,
                                 .max_batch_size = options_.max_batch_size,
                                 .min_batch_size = options_.min_batch_size,
                                 .batch_timeout = options_.batch_timeout,
                                 .compression = options_.compression,
                                 .scheduler = runtime_.scheduler()};
    using Make = std::shared_ptr<ExpertBackend> (*)(const std::string&, const BackendOptions&);
    static constexpr std::array<Make, sizeof...(Experts)> make{
        [](const std::string& name, const BackendOptions& options) -> std::shared_ptr<ExpertBackend> {
          return std::make_shared<ModuleBackend<Experts>>(name, options);
        }...};
    experts_.emplace(uid, make[which](uid, backend));
  }

  void stop() {
    {
      std::unique_lock lock(mutex_);
      if (phase_ == Phase::stopping) stopped_.wait(lock, [this] { return phase_ == Phase::stopped; });
      if (phase_ == Phase::stopped) return;
      if (std::exchange(phase_, Phase::stopping) == Phase::fresh) {
        phase_ = Phase::stopped;
        return;
      }
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
  std::shared_ptr<detail::ServerOnNetwork> network_ = std::make_shared<detail::ServerOnNetwork>();
  std::future<void> serving_;  // ends when the network has been left
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  Phase phase_ = Phase::fresh;
  std::mutex background_mutex_;
  std::future<void> background_;
};

}  // namespace skep::inline v0::moe

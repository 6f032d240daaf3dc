#include "skep/p2p/connection_host.hpp"

#include <memory>
#include <system_error>

#include "support/coroutine.hpp"

#include <doctest/doctest.h>

namespace {

struct Nobody final : skep::p2p::ConnectionHost {
  explicit Nobody(skep::Executor executor) : ConnectionHost(std::move(executor), {}) {}
  std::shared_ptr<skep::p2p::StreamMachine> accept(skep::p2p::Connection&) override { return nullptr; }
  void closed(skep::p2p::Connection&, std::error_code) override {}
};
struct Timer final : skep::Deadline {
  void expired() noexcept override { over = true; }
  bool over = false;
};
struct Once final : skep::p2p::Runnable {
  explicit Once(int& counted) : count(counted) {}
  void run() override { ++count; }
  int& count;
};

}  // namespace

CO_TEST_CASE("the connections of a host share its executor, its turn and its wheel of deadlines") {
  const auto executor = co_await asio::this_coro::executor;
  const auto host = std::make_shared<Nobody>(executor);
  CHECK(host->executor() == executor);
  Timer timer;
  host->deadlines().insert(timer, skep::deadline_after(host->now(), std::chrono::milliseconds(1)));
  CHECK(timer.pending());
  int runs = 0;
  host->turn().run([&] { host->turn().later(std::make_shared<Once>(runs)); });
  CHECK(runs == 1);
  host->deadlines().cancel(timer);
  CHECK_FALSE(timer.over);
}

#include "skep/moe/server/checkpoints.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <thread>

#include "moe/server/experts.hpp"
#include "skep/core/random.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "support/temporary_folder.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using namespace std::chrono_literals;

namespace {

using Backend = ModuleBackend<Gated>;

std::shared_ptr<Backend> gated(const std::string& uid, std::int64_t width = 8) {
  return std::make_shared<Backend>(
      uid, BackendOptions{.expert = {.hidden_dim = width}, .scheduler = std::make_shared<BatchScheduler>()});
}
void train(ExpertBackend& expert, std::int64_t width = 8) {
  (void)expert.backward({at::ones({2, width}), at::ones({2, width}), at::ones({2, width})});
}
std::string refusal(auto&& act) {
  try {
    act();
  } catch (const skep::Error& e) {
    return e.what();
  }
  return "";
}

// y = x - w, where w counts the steps: what was saved after n of them is all n.
struct CounterImpl : torch::nn::Module {
  CounterImpl() : w(register_parameter("w", torch::zeros({64, 1024}))) {}
  torch::Tensor forward(const torch::Tensor& x) { return x - w.sum() / w.numel(); }
  torch::Tensor w;
};
using CounterBackend = ModuleBackend<std::shared_ptr<CounterImpl>>;
std::shared_ptr<CounterBackend> counter() {
  BackendOptions options{.scheduler = std::make_shared<BatchScheduler>()};
  options.optimizer = sgd(64. * 1024);
  return std::make_shared<CounterBackend>("counter.0", std::make_shared<CounterImpl>(), row(1), options);
}

// Trains and saves in a child until it is killed; each completed checkpoint is told through a pipe.
class TrainingChild {
 public:
  explicit TrainingChild(const std::filesystem::path& directory) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    process_ = ::fork();
    REQUIRE(process_ >= 0);
    if (process_ == 0) {
      try {
        train(directory, ends[1]);
      } catch (const std::exception&) {
        ::_exit(1);
      }
    }
    ::close(ends[1]);
    told_ = ends[0];
  }
  TrainingChild(const TrainingChild&) = delete;
  TrainingChild& operator=(const TrainingChild&) = delete;
  ~TrainingChild() { ::close(told_); }

  /// Waits for a number of checkpoints, then a moment, and kills. @return the last one that was completed
  [[nodiscard]] std::uint64_t kill_after(std::uint64_t checkpoints, std::chrono::microseconds moment) {
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i < checkpoints; ++i) REQUIRE(next(last));
    std::this_thread::sleep_for(moment);  // what is being written when the blow falls is the point of it
    ::kill(process_, SIGKILL);
    while (next(last)) {
    }
    ::waitpid(process_, nullptr, 0);
    return last;
  }

 private:
  [[noreturn]] static void train(const std::filesystem::path& directory, int tell) {
    Checkpoints checkpoints({.directory = directory, .keep = 2});
    const auto expert = counter();
    checkpoints.restore(*expert);
    for (;;) {
      (void)expert->backward({at::ones({1, 1}), at::ones({1, 1})});
      checkpoints.save(*expert);
      const std::uint64_t completed = expert->update_count();
      if (::write(tell, &completed, sizeof completed) != sizeof completed) ::_exit(1);
    }
  }
  bool next(std::uint64_t& completed) const { return ::read(told_, &completed, sizeof completed) == sizeof completed; }

  pid_t process_ = 0;
  int told_ = -1;
};

}  // namespace

// First, since it forks, which a process with threads must not do.
TEST_CASE(
    "H-31: killed at any moment while it trains and saves, 50 times, an expert goes on from its last checkpoint") {
  const skep::test::TemporaryFolder directory;
  skep::Random random(20'260'131);
  std::uint64_t before = 0;
  for (int round = 0; round < 50; ++round) {
    CAPTURE(round);
    TrainingChild child(directory.path());
    const std::uint64_t completed =
        child.kill_after(1 + random.below(3), std::chrono::microseconds(random.below(8000)));
    CHECK(completed > before);

    Checkpoints checkpoints({.directory = directory.path()});
    const auto expert = counter();
    REQUIRE(checkpoints.restore(*expert));
    // one more may have become whole without being told
    CHECK(expert->update_count() >= completed);
    CHECK(expert->update_count() <= completed + 1);
    const Tensor w = expert->state().parameters["w"];
    CHECK(at::equal(w, at::full_like(w, static_cast<double>(expert->update_count()))));
    before = expert->update_count();
  }
}

TEST_CASE("C1.12, C8.3: an expert goes on from its checkpoint as if nothing had happened, or begins without one") {
  const skep::test::TemporaryFolder directory;
  const auto original = gated("gated.0");
  train(*original);
  {
    Checkpoints checkpoints({.directory = directory.path()});
    CHECK(checkpoints.located().empty());
    checkpoints.save(*original);
    checkpoints.save(*original);  // nothing new
    CHECK(checkpoints.located() == std::vector<std::string>{"gated.0"});
    CHECK(CheckpointFolder(directory.path(), "gated.0").candidates().size() == 1);
  }
  const auto restored = gated("gated.0");
  Checkpoints checkpoints({.directory = directory.path()});
  CHECK(checkpoints.restore(*restored));
  CHECK(restored->update_count() == 1);
  for (const auto& expert : {original, restored}) train(*expert);
  for (const auto& item : original->state().parameters) {
    CHECK(at::equal(item.value(), restored->state().parameters[item.key()]));
  }
  CHECK_FALSE(checkpoints.restore(*gated("gated.1")));
}

TEST_CASE(
    "H-31: a damaged checkpoint is skipped for the one before; without one that is whole nothing is overwritten") {
  const skep::test::TemporaryFolder directory;
  Checkpoints checkpoints({.directory = directory.path()});
  const auto expert = gated("gated.0");
  for (int i = 0; i < 2; ++i) {
    train(*expert);
    checkpoints.save(*expert);
  }
  const auto files = CheckpointFolder(directory.path(), "gated.0").candidates();
  REQUIRE(files.size() == 2);
  std::filesystem::resize_file(files[0], std::filesystem::file_size(files[0]) / 2);
  const auto second = gated("gated.0");
  CHECK(checkpoints.restore(*second));
  CHECK(second->update_count() == 1);

  std::ofstream(files[1]) << "damaged";
  CHECK(refusal([&] { checkpoints.restore(*second); }) == "skep: none of the checkpoints in " +
                                                              (directory.path() / "gated.0").string() +
                                                              " can be read; move the folder away to start anew");
}

TEST_CASE("a checkpoint of another kind of expert is an error, not a fresh start") {
  const skep::test::TemporaryFolder directory;
  Checkpoints checkpoints({.directory = directory.path()});
  const auto narrow = gated("gated.0", 4);
  checkpoints.save(*narrow);
  const std::string sentence = refusal([&] { checkpoints.restore(*gated("gated.0", 8)); });
  CHECK(sentence.find("float32[4, 4], expected float32[8, 8]") != std::string::npos);
  CHECK(sentence.ends_with("; start the server with the options it was saved with"));
  CHECK(refusal([&] {
          Checkpoints({.directory = directory.path() / "nowhere"});
        }).ends_with("does not exist; make it first"));
}

TEST_CASE("C8.1, H-31: experts are saved at once and then every period, while they are trained") {
  const skep::test::TemporaryFolder directory;
  const auto expert = gated("gated.0");
  const CheckpointFolder folder(directory.path(), "gated.0");
  {
    const auto checkpoints =
        std::make_shared<Checkpoints>(CheckpointOptions{.directory = directory.path(), .period = 1ms});
    const CheckpointSaver saver(checkpoints, {expert});
    while (folder.candidates().empty()) std::this_thread::yield();
    const auto begin = std::chrono::steady_clock::now();
    while (folder.candidates().size() < 3 && std::chrono::steady_clock::now() - begin < 20s) train(*expert);
  }
  CHECK(folder.candidates().size() >= 3);
  Checkpoints checkpoints({.directory = directory.path()});
  CHECK(checkpoints.restore(*gated("gated.0")));
}

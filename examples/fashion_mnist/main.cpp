// The main job: a classifier of real pictures trains through experts in other processes, some of which die or hang
// meanwhile.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "dataset.hpp"
#include "local_mixture.hpp"
#include "picture.hpp"
#include "remote_mixture.hpp"
#include "swarm.hpp"
#include "training.hpp"

namespace {

struct Options {
  std::filesystem::path commands, data = "/usr/share/datasets/fashion-mnist", picture = "fashion_mnist.png";
  std::vector<std::string> initial_peers;
  std::int64_t epochs = 4, batch_size = 256;
  std::uint64_t seed = 7;
  bool quick = false, local = false, large = false;

  [[nodiscard]] example::Grid grid() const { return {large ? 8 : 4}; }
};

/// Whether a picture can be written there; leaves no file that was not there before.
bool can_write(const std::filesystem::path& path) {
  std::error_code ignored;
  const bool was_there = std::filesystem::exists(path, ignored);
  const bool opened = std::ofstream(path, std::ios::app).is_open();
  if (opened && !was_there) std::filesystem::remove(path, ignored);
  return opened;
}

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app{"Trains a classifier of Fashion-MNIST pictures through experts in other processes"};
  app.add_option("--commands", options.commands, "folder of skep-dht and skep-server (default: beside this program)");
  app.add_option("--data", options.data, "folder of the data set")->capture_default_str();
  app.add_option("--picture", options.picture, "where the picture goes")->capture_default_str();
  app.add_option("--epochs", options.epochs)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--batch_size", options.batch_size)->check(CLI::Range(1, 60000))->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--initial_peers", options.initial_peers,
                 "train through the experts \"ffn.[0:4].[0:4]\" of a running swarm (with --large \"ffn.[0:8].[0:8]\")");
  app.add_flag("--quick", options.quick, "a tenth of the training");
  app.add_flag("--large", options.large,
               "64 experts on 8 servers, of which two are killed and one hangs for a while; and a run without faults");
  app.add_flag("--local", options.local, "only the run with local experts");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) std::exit(app.exit(error));
    std::cerr << "fashion_mnist: " << error.what() << " (--help lists the options)\n";
    std::exit(2);
  }
  if (!can_write(options.picture)) {  // known now, not after minutes of training
    std::cerr << "fashion_mnist: --picture: cannot write " << options.picture
              << "; name a file in a folder that is yours\n";
    std::exit(2);
  }
  if (options.commands.empty()) options.commands = std::filesystem::canonical("/proc/self/exe").parent_path();
  return options;
}

struct Finished {
  example::History history;
  torch::Tensor predictions;
};

template <class Mixture>
Finished run(Mixture mixture, const example::Insight& insight, const example::Pictures& train,
             const example::Pictures& test, const example::TrainingOptions& options) {
  example::ClassifierImpl<Mixture> net(std::move(mixture));
  Finished out{example::train(net, train, insight, options), {}};
  out.predictions = example::predict(net, test);
  out.history.test_accuracy = example::accuracy(out.predictions, test.labels);
  return out;
}

Finished run_remote(const std::vector<std::string>& peers, const example::Pictures& train,
                    const example::Pictures& test, example::Grid grid, const example::TrainingOptions& options) {
  skep::moe::set_compute_threads(1);  // the servers compute meanwhile
  torch::manual_seed(options.seed);
  example::RemoteExperts experts(peers, grid);
  return run(experts.mixture(), experts.insight(), train, test, options);
}

Finished run_local(const example::Pictures& train, const example::Pictures& test, example::Grid grid,
                   const example::TrainingOptions& options) {
  torch::manual_seed(options.seed);
  example::LocalExperts experts(grid.side, grid.side);
  return run(experts.mixture(), experts.insight(), train, test, options);
}

void print_updates(const example::Load& updates, example::Grid grid) {
  std::printf("updates of each expert:\n");
  for (int row = 0; row < grid.side; ++row) {
    for (int column = 0; column < grid.side; ++column) {
      const auto uid = example::Grid::uid(row, column);
      const auto found = updates.find(uid);
      std::printf("  %s %5ld", uid.c_str(), static_cast<long>(found == updates.end() ? 0 : found->second));
    }
    std::printf("\n");
  }
}

/// What is done to the servers while the model trains.
std::vector<example::Fault> faults(example::Swarm& swarm, example::Grid grid) {
  const int last = grid.servers() - 1;
  const auto kill = [&swarm](int server) { return [&swarm, server] { return swarm.kill(server); }; };
  if (grid.servers() < 8) return {{0.5, "server killed", kill(last)}};
  return {{0.3, "server killed", kill(last)},
          {0.45, "server paused", [&swarm] { return swarm.pause(0); }},
          {0.6, "second server killed", kill(last - 1)},
          {0.75, "paused server goes on", [&swarm] { return swarm.resume(0); }}};
}

int main_job(const Options& options) {
  const auto train = example::load_pictures(options.data, "train"), test = example::load_pictures(options.data, "t10k");
  const auto grid = options.grid();
  example::TrainingOptions training{.epochs = options.epochs, .batch_size = options.batch_size, .seed = options.seed};
  if (options.quick) training.samples_per_epoch /= 10;

  const bool own_swarm = !options.local && options.initial_peers.empty();
  const auto in_swarm = [&](const std::string& name, const std::string& optimizer, bool faulty) {
    example::Swarm swarm(options.commands, grid, optimizer);
    auto here = training;
    here.name = name;
    here.after_step = [&swarm] { swarm.drain(); };
    if (faulty) {
      std::fprintf(stderr, "started a DHT node and %d servers with %d experts; join them with --initial_peers %s\n",
                   grid.servers(), grid.experts(), swarm.address().c_str());
      here.faults = faults(swarm, grid);
    }
    if (optimizer == "none") here.epochs = std::max<std::int64_t>(1, here.epochs / 2);
    return run_remote({swarm.address()}, train, test, grid, here);
  };
  std::optional<Finished> remote, unharmed, local, frozen;
  if (own_swarm) {
    remote = in_swarm("remote", "adam", true);
    if (options.large) unharmed = in_swarm("without faults", "adam", false);
  } else if (!options.local) {
    training.name = "remote";
    remote = run_remote(options.initial_peers, train, test, grid, training);
  }
  training.name = "local";
  local = run_local(train, test, grid, training);
  if (own_swarm) frozen = in_swarm("frozen experts", "none", false);

  std::vector<const example::History*> runs;
  for (const auto* finished : {&remote, &local, &frozen, &unharmed}) {
    if (!*finished) continue;
    runs.push_back(&(*finished)->history);
    std::printf("%-16s test accuracy %.3f   %.0f samples/s   longest step %.2f s\n", runs.back()->name.c_str(),
                runs.back()->test_accuracy, runs.back()->samples_per_second, runs.back()->longest_stall_s);
  }
  print_updates(runs.front()->updates, grid);
  const auto& shown = remote ? *remote : *local;
  const auto value = [](const std::optional<Finished>& finished) {
    return finished ? finished->history.test_accuracy : 0.0;
  };
  std::printf(
      "result accuracy=%.3f local_accuracy=%.3f frozen_accuracy=%.3f samples_per_second=%.0f "
      "local_samples_per_second=%.0f longest_stall_s=%.2f%s picture=%s\n",
      shown.history.test_accuracy, value(local), value(frozen), shown.history.samples_per_second,
      local->history.samples_per_second, shown.history.longest_stall_s,
      unharmed ? (" unharmed_accuracy=" + std::to_string(value(unharmed)).substr(0, 5)).c_str() : "",
      std::filesystem::absolute(options.picture).c_str());
  std::fflush(stdout);  // the figures stand, whatever becomes of the picture
  example::draw_result(options.picture, runs, test, shown.predictions);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  struct sigaction action{};
  action.sa_handler = [](int) { example::interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  try {
    return main_job(options);
  } catch (const example::Interrupted&) {
    std::fprintf(stderr, "\nfashion_mnist: interrupted; all processes are stopped\n");
    return 130;
  } catch (const std::exception& error) {
    if (example::interrupted) {
      std::fprintf(stderr, "\nfashion_mnist: interrupted; all processes are stopped\n");
      return 130;
    }
    std::fprintf(stderr, "\nfashion_mnist: %s\n", error.what());
    return 1;
  }
}

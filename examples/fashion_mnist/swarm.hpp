// The processes of the main job: a DHT node and the servers with the experts of one grid.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "process.hpp"

namespace example {

/// A square grid of experts, one column of it, turned by its row, on each server: the loss of a server leaves no row
/// and no column of the grid without experts.
struct Grid {
  int side = 4;

  [[nodiscard]] int experts() const noexcept { return side * side; }
  [[nodiscard]] int servers() const noexcept { return side; }
  [[nodiscard]] static std::string uid(int row, int column) {
    return "ffn." + std::to_string(row) + "." + std::to_string(column);
  }
};

/// Starts a DHT node, then the servers, each a process of its own; all are gone when it is destroyed.
class Swarm {
 public:
  /// @param commands   the folder of the programs skep-dht and skep-server
  /// @param optimizer  what the experts learn with: "adam", "sgd" or "none"
  Swarm(const std::filesystem::path& commands, Grid grid, const std::string& optimizer)
      : grid_(grid), dht_({(commands / "skep-dht").string(), "--host_maddrs", "/ip4/127.0.0.1/tcp/0"}) {
    constexpr std::string_view marker = "--initial_peers ";
    const auto line = dht_.wait_for_line(marker, std::chrono::seconds(20));
    const auto from = line.find(marker) + marker.size();
    address_ = line.substr(from, line.find_first_of(" \t\r", from) - from);
    for (int server = 0; server < grid_.servers(); ++server) {
      std::vector<std::string> command{(commands / "skep-server").string(),
                                       "--initial_peers",
                                       address_,
                                       "--host_maddrs",
                                       "/ip4/127.0.0.1/tcp/0",
                                       "--expert_cls",
                                       "ffn",
                                       "--hidden_dim",
                                       "64",
                                       "--optimizer",
                                       optimizer,
                                       "--threads",
                                       "1",
                                       "--expert_uids"};
      for (int row = 0; row < grid_.side; ++row) command.push_back(Grid::uid(row, (row + server) % grid_.side));
      servers_.emplace_back(std::move(command));
    }
    for (auto& server : servers_) server.wait_for_line("Started", std::chrono::seconds(30));
  }

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

  /// Kills a server without warning. @return what happened, for the user
  std::string kill(int server) {
    const auto pid = process(server).pid();
    process(server).kill_now();
    lost_ += grid_.side;
    return "*** killed server " + std::to_string(server + 1) + " (process " + std::to_string(pid) +
           ") with SIGKILL: " + std::to_string(lost_) + " of " + std::to_string(grid_.experts()) +
           " experts are gone, training goes on";
  }
  /// Stops a server in its tracks, as a machine that hangs: connections stay open and nothing answers.
  std::string pause(int server) {
    process(server).pause();
    return "*** paused server " + std::to_string(server + 1) + " (process " + std::to_string(process(server).pid()) +
           ") with SIGSTOP: its experts hang";
  }
  std::string resume(int server) {
    process(server).resume();
    return "*** server " + std::to_string(server + 1) + " goes on after SIGCONT";
  }

  /// Reads away what the processes print, or one with much to say would wait for room in its pipe; call it once a step.
  void drain() {
    dht_.drain();
    for (auto& server : servers_) server.drain();
  }

 private:
  [[nodiscard]] Process& process(int server) { return servers_.at(std::size_t(server)); }

  Grid grid_;
  int lost_ = 0;
  Process dht_;
  std::string address_;
  std::vector<Process> servers_;
};

}  // namespace example

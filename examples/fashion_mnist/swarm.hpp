// The processes of the main job: a DHT node and four servers with sixteen experts on a 4 x 4 grid.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "process.hpp"

namespace example {

/// Starts a DHT node, then the servers, each a process of its own; all are gone when it is destroyed.
class Swarm {
 public:
  static constexpr int rows = 4, columns = 4, servers = 4;

  /// @param commands   the folder of the programs skep-dht and skep-server
  /// @param optimizer  what the experts learn with: "adam", "sgd" or "none"
  Swarm(const std::filesystem::path& commands, const std::string& optimizer)
      : dht_({(commands / "skep-dht").string(), "--host_maddrs", "/ip4/127.0.0.1/tcp/0"}) {
    constexpr std::string_view marker = "--initial_peers ";
    const auto line = dht_.wait_for_line(marker, std::chrono::seconds(20));
    const auto from = line.find(marker) + marker.size();
    address_ = line.substr(from, line.find_first_of(" \t\r", from) - from);
    for (int server = 0; server < servers; ++server) {
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
      for (int row = 0; row < rows; ++row) command.push_back(uid(row, (row + server) % columns));
      servers_.emplace_back(std::move(command));
    }
    for (auto& server : servers_) server.wait_for_line("Started", std::chrono::seconds(30));
  }

  /// Each server has one expert of every row and every column of the grid, so the loss of one leaves no gap.
  [[nodiscard]] static std::string uid(int row, int column) {
    return "ffn." + std::to_string(row) + "." + std::to_string(column);
  }
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

  /// Kills one server without warning. @return what happened, for the user
  std::string kill_one() {
    const auto pid = servers_.back().pid();
    servers_.back().kill_now();
    return "*** killed server " + std::to_string(servers) + " (process " + std::to_string(pid) +
           ") with SIGKILL: 4 of 16 experts are gone, training goes on";
  }

  /// Reads away what the processes print.
  void drain() {
    dht_.drain();
    for (auto& server : servers_) server.drain();
  }

 private:
  Process dht_;
  std::string address_;
  std::vector<Process> servers_;
};

}  // namespace example

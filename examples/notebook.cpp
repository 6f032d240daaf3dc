// A notebook shared by a swarm: the DHT alone. Run it once and leave it open, then run it again with the printed
// address.
//   notebook                              starts a swarm and waits for Enter
//   notebook ADDRESS write KEY VALUE      joins it and stores a value for ten minutes
//   notebook ADDRESS read KEY             joins it and reads the value
#include <exception>
#include <iostream>
#include <skep/dht.hpp>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

int serve() {
  skep::dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  std::cout << "join with: " << dht.visible_maddrs().at(0) << "\npress Enter to stop" << std::endl;
  std::cin.get();
  return 0;
}

int run(const std::vector<std::string>& words) {
  if (words.empty()) return serve();
  const bool writes = words.size() == 4 && words[1] == "write";
  if (!writes && (words.size() != 3 || words[1] != "read")) {
    std::cerr << "usage: notebook [ADDRESS (write KEY VALUE | read KEY)]\n";
    return 2;
  }
  skep::dht::DHT dht({.initial_peers = {words[0]}, .client_mode = true});
  if (writes) {
    if (!dht.store(words[2], words[3], skep::expires_in(10min))) {
      std::cerr << "notebook: no majority of the swarm kept the page; is a newer one there?\n";
      return 1;
    }
    return 0;
  }
  const auto found = dht.get(words[2]);
  if (!found) {
    std::cerr << "notebook: the page \"" << words[2] << "\" is empty\n";
    return 1;
  }
  std::cout << found->value << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "notebook: " << error.what() << '\n';
    return 1;
  }
}

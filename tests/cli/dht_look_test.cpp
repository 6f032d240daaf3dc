#include "skep/cli/dht_look.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/process.hpp"
#include "skep/cli/dht_main.hpp"

using nlohmann::json;
using skep::cli::dht_main;
using skep::test::failure;
using skep::test::Process;

namespace {

/// The only line of a subcommand that is to succeed.
std::string answer(std::vector<std::string> arguments) {
  Process process(dht_main, std::move(arguments));
  CHECK(process.exit_code() == 0);
  return process.output();
}

struct Node {
  explicit Node(std::vector<std::string> more = {}) : process(dht_main, with(std::move(more))) {
    const auto line = process.line_with("--initial_peers ");
    address = line.substr(line.find("/ip4/"));
  }
  static std::vector<std::string> with(std::vector<std::string> more) {
    for (const char* flag : {"--host_maddrs", "/ip4/127.0.0.1/tcp/0"}) more.emplace_back(flag);
    return more;
  }
  Process process;
  std::string address;
};

}  // namespace

TEST_CASE("store and get: values, dictionaries, JSON, and one line with code 1 for what is not there") {
  Node node;
  const std::vector<std::string> swarm{"--initial_peers", node.address};
  const auto in_swarm = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), swarm.begin(), swarm.end());
    return arguments;
  };
  CHECK(answer(in_swarm({"store", "greeting", "hello", "--expires_in", "100"})) ==
        "stored at 1 nodes (expires in 100 s)\n");
  CHECK(answer(in_swarm({"get", "greeting"})).starts_with("\"hello\"   (expires in "));
  CHECK(json::parse(answer(in_swarm({"get", "greeting", "--json"}))).at("value") == "hello");
  const auto stored = json::parse(answer(in_swarm({"store", "d", "{\"a\":1}", "--subkey", "5", "--json"})));
  CHECK(stored.at("stored") == true);
  CHECK(stored.at("accepted") == 1);
  const auto found = json::parse(answer(in_swarm({"get", "d", "--json", "--latest"})));
  CHECK(found.at("items").at(0).at("subkey") == 5);
  CHECK(found.at("items").at(0).at("value") == json{{"a", 1}});

  CHECK(failure(dht_main, in_swarm({"get", "nothing"})) ==
        std::pair(1, std::string("skep-dht get: nothing is stored under \"nothing\", or it has expired: is the key "
                                 "right, and is this the right swarm?")));
  const auto [code, text] = failure(dht_main, in_swarm({"store", "greeting", "older", "--expires_in", "50"}));
  CHECK(code == 1);
  CHECK(text.starts_with("skep-dht store: \"greeting\" was not stored: of its replicas 0 took it, 1 refused it"));
}

TEST_CASE("A9.1 records under an owner's tag: kept only with his signature, shown without it") {
  Node node;
  const skep::dht::RsaSignatureValidator rsa;
  const skep::dht::Ed25519SignatureValidator ed25519;
  {
    skep::cli::CheckedDHT owner({.initial_peers = {node.address}, .client_mode = true},
                                skep::dht::compose_validators(rsa, ed25519));
    for (const auto& tag : {rsa.owner_tag(), ed25519.owner_tag()}) {
      CHECK(owner.store_subkey("state", tag, 7, skep::expires_in(std::chrono::minutes(1))));
    }
  }  // no thread is left when processes are forked
  const auto found = json::parse(answer({"get", "state", "--json", "--initial_peers", node.address}));
  CHECK(found.at("items").size() == 2);
  for (const auto& item : found.at("items")) CHECK(item.at("value") == 7);
  const auto [code, text] =
      failure(dht_main, {"store", "state", "8", "--subkey", rsa.owner_tag(), "--initial_peers", node.address});
  CHECK(code == 1);
  CHECK(text.starts_with("skep-dht store: \"state\" was not stored: of its replicas 0 took it, 1 refused it"));
}

TEST_CASE("ping and crawl: who is there, how far, which program; the swarm drawn") {
  Node first;
  Node second({"--initial_peers", first.address});
  second.process.line_with("2 DHT nodes");
  const auto pong = json::parse(answer({"ping", second.address, "--count", "2", "--json"}));
  CHECK(pong.at("agent") == "skep/0.1");
  CHECK(pong.at("round_trips_ms").size() == 2);
  CHECK(second.address.ends_with("/p2p/" + pong.at("peer").get<std::string>()));
  CHECK(std::abs(pong.at("clock_ahead_s").get<double>()) < 1);

  const std::string picture = std::filesystem::temp_directory_path() / ("swarm-" + std::to_string(::getpid()) + ".svg");
  const auto lines = answer({"crawl", "--json", "--graph", picture, "--initial_peers", first.address});
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
  const auto one = json::parse(lines.substr(0, lines.find('\n')));
  CHECK(one.at("agent") == "skep/0.1");
  CHECK(one.at("neighbours").size() == 1);
  CHECK(one.at("addresses").size() >= 1);
  std::ifstream file(picture);
  const std::string svg(std::istreambuf_iterator<char>(file), {});
  CHECK(svg.find("2 nodes") != std::string::npos);
  std::filesystem::remove(picture);
  CHECK(answer({"crawl", "--initial_peers", first.address}).ends_with("2 nodes answered: 2 skep/0.1\n"));
  CHECK(answer({"crawl", "--json", "--max_nodes", "1", "--initial_peers", first.address})
            .ends_with("{\"not_asked\":1}\n"));
}

TEST_CASE("what is wrong with a subcommand is said in one line, with code 2") {
  const std::string nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x";
  for (const auto& [arguments, text] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"look"}, "skep-dht: there is no command \"look\", only get, store, ping and crawl; see skep-dht --help"},
           {{"get"}, "skep-dht get: KEY is missing; see skep-dht get --help"},
           {{"get", "k"},
            "skep-dht get: --initial_peers: name a peer of the swarm, such as "
            "/ip4/192.0.2.5/tcp/31337/p2p/12D3KooW..."},
           {{"ping", "/ip4/127.0.0.1/tcp/1"},
            "skep-dht ping: MADDR: \"/ip4/127.0.0.1/tcp/1\" names no peer: it has to end in /p2p/ and the id of the "
            "peer, as that peer prints it when it starts"},
           {{"crawl", "--grahp", "x", "--initial_peers", nobody},
            "skep-dht crawl: there is no flag --grahp; did you mean --graph? See skep-dht crawl --help"},
       }) {
    CHECK(failure(dht_main, arguments) == std::pair(2, text));
  }
  const auto [code, text] = failure(dht_main, {"ping", nobody, "--timeout", "5"});
  CHECK(code == 1);
  CHECK(text.find("connection refused") != std::string::npos);
}

TEST_CASE("--help of each says what it does and how it is called") {
  for (const auto& [name, usage] : {std::pair{"get", "Usage: skep-dht get KEY [OPTIONS]"},
                                    std::pair{"store", "Usage: skep-dht store KEY VALUE [OPTIONS]"},
                                    std::pair{"ping", "Usage: skep-dht ping MADDR [OPTIONS]"},
                                    std::pair{"crawl", "Usage: skep-dht crawl [OPTIONS]"}}) {
    CHECK(answer({name, "--help"}).find(usage) != std::string::npos);
  }
}

TEST_CASE("--json: a node's log lines are JSON objects") {
  Process node(dht_main, {"--json", "--host_maddrs", "/ip4/127.0.0.1/tcp/0"});
  const auto line = json::parse(node.line_with("Local storage contains 0 keys"));
  CHECK(line.at("message") == "Local storage contains 0 keys");
  CHECK(line.at("level") == "INFO");
  node.signal(SIGTERM);
  CHECK(node.exit_code() == 0);
}

// A beam search over a table of one's own: any awaitable get_many will do in place of the DHT.
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <iostream>
#include <skep/moe/beam_search.hpp>

namespace {

/// What is known under each prefix: coordinate -> (uid, peer).
struct Table {
  skep::awaitable<skep::moe::PrefixRecords> get_many(std::vector<std::string> prefixes) {
    skep::moe::PrefixRecords found;
    for (const auto& prefix : prefixes) {
      const auto entry = experts.find(prefix);
      found.push_back(entry == experts.end() ? std::nullopt : std::optional(entry->second));
    }
    co_return found;
  }

  std::map<std::string, std::map<int, skep::moe::UidEndpoint>> experts;
};

skep::awaitable<void> search() {
  const auto peer = skep::p2p::PeerId::of_public_key(skep::to_bytes("somebody"));
  Table table;
  for (const auto& [row, column] : {std::pair{3, 1}, {3, 7}, {5, 2}, {9, 9}}) {
    const auto prefix = "ffn." + std::to_string(row) + ".";
    table.experts[prefix][column] = {prefix + std::to_string(column), peer};
  }
  std::vector<std::vector<skep::moe::Score>> scores(2, std::vector<skep::moe::Score>(32, 0));
  scores[0][3] = 2;  // the gate likes row 3,
  scores[1][7] = 1;  // and column 7
  skep::moe::MoEBeamSearcher searcher(table, "ffn.", {32, 32});
  for (const auto& expert : co_await searcher.find_best_experts(scores, 3)) std::cout << expert.uid << '\n';
}

}  // namespace

int main() {
  asio::io_context io;
  int status = 0;
  asio::co_spawn(io, search(), [&](std::exception_ptr thrown) { status = thrown ? 1 : 0; });
  io.run();
  return status;
}

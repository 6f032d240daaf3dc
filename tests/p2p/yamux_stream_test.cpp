#include "skep/p2p/yamux_stream.hpp"

#include <array>
#include <vector>

#include <doctest/doctest.h>

namespace yamux = skep::p2p::yamux;
using Stream = yamux::Stream<int>;
using List = yamux::StreamList<int>;

TEST_CASE("a fresh stream: nothing written, both halves open, the window of the specification") {
  const Stream stream;
  CHECK(stream.id() == 0);
  CHECK(stream.drained());
  CHECK_FALSE(stream.remote_closed());
  CHECK_FALSE(stream.local_closed());
  CHECK_FALSE(stream.inbound());
  CHECK(stream.receive_window() == yamux::initial_window);
}

TEST_CASE("streams join a line at its end and leave it from anywhere") {
  std::array<Stream, 4> streams;
  List line(Stream::List::ready);
  for (std::size_t i = 0; i < 4; ++i) streams[i].owner = static_cast<int>(i);
  const auto served = [&] {
    std::vector<int> out;
    while (line.first() != nullptr) {
      out.push_back(line.first()->owner);
      line.remove(*line.first());
    }
    return out;
  };
  const auto all = [&] {
    for (auto& stream : streams) line.append(stream);
  };
  CHECK(served().empty());
  all();
  CHECK(served() == std::vector{0, 1, 2, 3});
  for (std::size_t gone = 0; gone < 4; ++gone) {
    all();
    line.remove(streams[gone]);
    std::vector<int> expected{0, 1, 2, 3};
    expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(gone));
    CHECK(served() == expected);
  }
}

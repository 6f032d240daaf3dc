#include "skep/async/post.hpp"

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

TEST_CASE("a posted function runs after the call, even when that is made on the executor") {
  asio::io_context io;
  int ran = 0;
  skep::post(io.get_executor(), [&] {
    skep::post(io.get_executor(), [&] { ++ran; });
    CHECK(ran == 0);
  });
  io.run();
  CHECK(ran == 1);
}

#include "skep/core/error.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace skep;

TEST_CASE("every code has a sentence of its own") {
  std::set<std::string> sentences;
  for (int value = 1; value <= static_cast<int>(errc::remote); ++value) {
    const auto code = make_error_code(static_cast<errc>(value));
    CHECK(std::string(code.category().name()) == "skep");
    CHECK(code.message() != "unknown error");
    CHECK(sentences.insert(code.message()).second);
  }
  CHECK(make_error_code(static_cast<errc>(99)).message() == "unknown error");
}

TEST_CASE("codes compare with their enumeration") {
  const std::error_code code = errc::timed_out;
  CHECK(code == errc::timed_out);
  CHECK(code != errc::closed);
  CHECK(code != std::errc::timed_out);
}

TEST_CASE("an error is one sentence with its code") {
  const Error error(errc::closed, "the DHT is closed");
  CHECK(std::string(error.what()) == "skep: the DHT is closed");
  CHECK(error.code() == errc::closed);
  const std::system_error& base = error;
  CHECK(std::string(base.what()) == "skep: the DHT is closed");
}

TEST_CASE("a remote error carries the other side's words, harmless and short") {
  const RemoteError error("peer X, T.echo", "ValueError('\x1b[31m\n')");
  CHECK(error.code() == errc::remote);
  CHECK(error.text() == "ValueError('\\x1b[31m\\x0a')");
  CHECK(std::string(error.what()) == "skep: peer X, T.echo answered with an error: ValueError('\\x1b[31m\\x0a')");
}

TEST_CASE("foreign text is cut at its limit") {
  CHECK(printable("abc", 3) == "abc");
  CHECK(printable("abcd", 3) == "abc...");
  CHECK(printable(std::string("a\0\x7f", 3)) == "a\\x00\\x7f");
  CHECK(RemoteError("x", std::string(5000, 'y')).text().size() == 515);
}

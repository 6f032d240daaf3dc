#include "skep/moe/tensor/tensor_message_parser.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "moe/tensor/support.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::Bytes;
using skep::BytesView;
using skep::MutableBytes;
using skep::test::from_hex;

namespace {
// Writes down what it hears; refuses buffers above 8 bytes.
struct Notes {
  void on_fields(BytesView fields) { log.push_back("fields " + skep::to_hex(fields)); }
  MutableBytes on_buffer(std::size_t size) {
    if (size > 8) {
      is_refused = true;
      return {};
    }
    buffers.emplace_back(size);
    log.push_back("buffer " + std::to_string(size));
    return buffers.back();
  }
  void on_part(BytesView fields) { log.push_back("part " + skep::to_hex(fields)); }
  void on_malformed(std::error_code error) {
    is_refused = true;
    log.push_back(error.message());
  }
  [[nodiscard]] bool refused() const { return is_refused; }

  std::vector<std::string> log;
  std::vector<Bytes> buffers;
  bool is_refused = false;
};

Notes parse(std::string_view hex, std::size_t piece = 1, std::size_t max_fields = 100) {
  Notes notes;
  skep::moe::TensorMessageParser<Notes> parser(notes, max_fields);
  const Bytes bytes = from_hex(hex);
  parser.start(bytes.size());
  for (BytesView left = bytes; !left.empty();) {
    const MutableBytes to = parser.destination();
    REQUIRE_FALSE(to.empty());
    const std::size_t n = std::min({to.size(), left.size(), piece});
    std::copy_n(left.begin(), n, to.begin());
    left = left.subspan(n);
    parser.filled(n);
  }
  return notes;
}
using Log = std::vector<std::string>;
}  // namespace

TEST_CASE("small fields are collected, buffers go where the receiver says") {
  constexpr std::string_view message = "0a03612e30 1209 0a03010203 1001 1802 1200 1a0141 3207aaaaaaaaaaaaaa";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{1000}}) {
    const auto notes = parse(message, piece);
    CHECK(notes.log ==
          Log{"fields 0a03612e30", "buffer 3", "part 10011802", "part ", "fields 1a01413207aaaaaaaaaaaaaa"});
    REQUIRE(notes.buffers.size() == 1);
    CHECK(notes.buffers[0] == Bytes{1, 2, 3});
  }
}

TEST_CASE("a receiver that refuses hears nothing more") {
  const auto notes = parse("1205 0a03010203 120b 0a09000000000000000000 1205 0a03010203");
  CHECK(notes.log == Log{"buffer 3", "part "});
}

TEST_CASE("every kind of field and padded numbers are passed over") {
  CHECK(parse("39 0000000000000000 45 00000000 8801 8000").log == Log{"fields 390000000000000000450000000088018000"});
  CHECK(parse("").log.empty());
}

TEST_CASE("what is not protobuf is malformed, what is too long is too long") {
  CHECK(parse("0b").log == Log{"malformed bytes"});                              // a group
  CHECK(parse("0a").log == Log{"malformed bytes"});                              // no length
  CHECK(parse("0a05 61").log == Log{"malformed bytes"});                         // longer than the message
  CHECK(parse("1203 0a0561 61").log == Log{"malformed bytes"});                  // longer than the tensor
  CHECK(parse("1206 0a0161 0a0161").log == Log{"buffer 1", "malformed bytes"});  // two buffers
  CHECK(parse("ffffffffffffffffffff01").log == Log{"malformed bytes"});
  CHECK(parse("0a05 6161616161", 1, 6).log == Log{"a limit is exceeded"});
  CHECK(parse("1801 1801 1801 1801", 1, 6).log == Log{"a limit is exceeded"});  // of small ones, too
}

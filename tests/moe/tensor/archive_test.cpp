#include "skep/moe/tensor/archive.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

TEST_CASE("C8.2: an archive gives back what went in; any byte of it that is damaged or missing is noticed") {
  auto dict = any_dict();
  dict.insert("weight", at::arange(12, at::kFloat).reshape({3, 4}));
  dict.insert("updates", std::int64_t{5});
  const skep::Bytes file = encode_archive(dict);
  CHECK(encode_archive(dict) == file);
  const auto read = decode_archive(file);
  REQUIRE(read);
  CHECK(at::equal(read->toGenericDict().at("weight").toTensor(), at::arange(12, at::kFloat).reshape({3, 4})));
  CHECK(read->toGenericDict().at("updates").toInt() == 5);

  for (std::size_t i = 0; i < file.size() - skep::moe::detail::seal_size; i += 31) {
    skep::Bytes damaged = file;
    damaged[i] ^= 1;
    CHECK_FALSE(decode_archive(damaged));
    CHECK_FALSE(decode_archive(skep::BytesView(file).first(i)));
  }
  CHECK_FALSE(decode_archive({}));
  CHECK_FALSE(decode_archive(skep::as_bytes("not an archive at all")));
}

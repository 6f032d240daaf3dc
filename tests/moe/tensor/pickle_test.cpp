#include "skep/moe/tensor/pickle.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::Pickler;

TEST_CASE("a value is written in the opcodes of Python's pickle, protocol 2") {
  auto dict = skep::moe::any_dict();
  dict.insert("lr", 0.5);
  dict.insert("step", std::int64_t{3});
  const Pickler pickled(dict);
  const std::string zeros(3, '\0');
  CHECK(skep::as_text(pickled.bytes()) == "\x80\x02}(X\x02" + zeros + "lrG\x3f\xe0" + std::string(6, '\0') + "X\x04" +
                                              zeros + "stepJ\x03" + zeros + "u.");
  CHECK(pickled.storages().empty());
}

TEST_CASE("what has no form in a state dictionary is refused") {
  CHECK_THROWS_AS(Pickler(c10::IValue(c10::complex<double>(1, 2))), skep::Error);
  CHECK_THROWS_AS(Pickler(at::zeros({2}, at::kComplexFloat)), skep::Error);
}

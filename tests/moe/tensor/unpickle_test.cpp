#include "skep/moe/tensor/unpickle.hpp"

#include <limits>

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using skep::Bytes;
using skep::BytesView;

namespace {
// Written and read again.
c10::IValue again(const c10::IValue& value) {
  const Pickler pickled(value);
  const auto storages = [&](const std::string& key) {
    const Tensor& tensor = pickled.storages().at(std::stoul(key));
    return at::from_blob(tensor.data_ptr(), {static_cast<std::int64_t>(tensor.nbytes())}, at::kByte).clone();
  };
  auto read = Unpickler(pickled.bytes(), storages).read();
  REQUIRE(read);
  return *read;
}
bool refused(const std::string& pickle) {
  return !Unpickler(skep::as_bytes(pickle), [](const std::string&) { return at::zeros({8}, at::kByte); }).read();
}
const std::string tensor_of_two =
    "\x80\x02"
    "ctorch._utils\n_rebuild_tensor_v2\n((X\x07" +
    std::string(3, '\0') + "storagectorch\nFloatStorage\nX\x01" + std::string(3, '\0') + "0X\x03" +
    std::string(3, '\0') + "cpuK\x02tQ";
}  // namespace

TEST_CASE("values come back as they were") {
  for (const std::int64_t number : {0L, -1L, 70'000L, 1L << 40, std::numeric_limits<std::int64_t>::min()}) {
    CHECK(again(number).toInt() == number);
  }
  CHECK(again(1.5e-300).toDouble() == 1.5e-300);
  CHECK(again("a text").toStringRef() == "a text");
  CHECK(again(true).toBool());
  CHECK(again({}).isNone());
  c10::impl::GenericList list(c10::AnyType::get());
  list.push_back(std::int64_t{7});
  auto dict = any_dict();
  dict.insert("list", list);
  dict.insert(std::int64_t{3}, c10::ivalue::Tuple::create({0.9, 0.999}));
  const auto read = again(dict).toGenericDict();
  CHECK(read.at("list").toListRef()[0].toInt() == 7);
  CHECK(read.at(std::int64_t{3}).toTupleRef().elements()[1].toDouble() == 0.999);
}

TEST_CASE("tensors come back with their type and shape") {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort,
                           at::kChar, at::kByte, at::kBool}) {
    const Tensor tensor = at::arange(6).reshape({2, 3}).to(dtype).t();  // not contiguous
    const Tensor read = again(tensor).toTensor();
    CHECK((read.scalar_type() == dtype));
    CHECK(at::equal(read, tensor));
  }
  CHECK(again(at::zeros({0, 4})).toTensor().sizes() == at::IntArrayRef({0, 4}));
  CHECK(again(torch::tensor(3.F)).toTensor().item<float>() == 3);
}

TEST_CASE("what would run code, or reach outside its storage, is refused") {
  CHECK(refused(""));
  CHECK(refused("\x80\x02N"));   // no end
  CHECK(refused("\x80\x04N."));  // another protocol
  CHECK(
      refused("\x80\x02"
              "cos\nsystem\nX\x02" +
              std::string(3, '\0') + "ls\x85R."));
  CHECK(
      refused("\x80\x02"
              "N\x86."));  // two of one
  CHECK(
      refused("\x80\x02"
              "h\x07."));  // nothing was put there
  CHECK(
      refused("\x80\x02"
              "K\x01K\x02s."));  // no dictionary
  CHECK(
      refused("\x80\x02X\xff\xff\xff\x7f"
              "abc."));          // longer than the file
  CHECK(refused("\x80\x02t."));  // no mark
  const std::string end =
      "\x89"
      "Nt"
      "R.";
  CHECK_FALSE(refused(tensor_of_two + "K" + std::string(1, '\0') + "K\x02\x85K\x01\x85" + end));
  CHECK(refused(tensor_of_two + "K" + std::string(1, '\0') + "K\x03\x85K\x01\x85" + end));
  CHECK(refused(tensor_of_two + "K\x01K\x02\x85K\x01\x85" + end));
  CHECK(refused(tensor_of_two + "J\xff\xff\xff\xffK\x02\x85K\x01\x85" + end));
  CHECK(refused(tensor_of_two + "K" + std::string(1, '\0') +
                "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85" + end));
}

// Every codec and element type between skep and Hivemind 1.1.12: it decodes what skep encodes to what skep decodes from
// it, and the other way round, in chunks that do not fit the elements.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "moe/tensor/codecs/support.hpp"
#include "moe/tensor/support.hpp"
#include "skep/async/runner.hpp"
#include "skep/moe/tensor/serialize.hpp"
#include "support/driver.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using nlohmann::json;
using skep_test::Driver;
using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {

constexpr std::size_t chunk_size = 333;

json messages_of(const Tensor& tensor, Compression codec) {
  json messages = json::array();
  for (auto& message : tensor_stream({}, std::vector{tensor}, std::vector{codec}, chunk_size)) {
    messages.push_back(skep::to_hex(std::move(message).flatten()));
  }
  return messages;
}
Tensor tensor_of(const json& messages) {
  TensorSink sink;
  for (const auto& message : messages) skep::test::feed(sink, skep::test::from_hex(message.get<std::string>()));
  return (*sink.take()).at(0);
}
json described(const Tensor& tensor) {
  const Tensor values = tensor.detach().contiguous();
  return {{"dtype", std::string(name_of(tensor.scalar_type()))},
          {"size", tensor.sizes().vec()},
          {"requires_grad", tensor.requires_grad()},
          {"values", skep::to_hex(skep::moe::detail::bytes_of_buffer(values))}};
}
double error_of(const Tensor& tensor, const Tensor& original) {
  const auto difference = tensor.detach().to(at::kDouble) - original.detach().to(at::kDouble);
  return difference.square().mean().item<double>();
}

/// Bells of numbers in another place and width for each row, as bytes where the type has no others.
Tensor sample(at::ScalarType dtype) {
  const auto bell = skep::test::numbers("bell", 5 * 3 * 40);
  const auto x = torch::tensor(at::ArrayRef<float>(bell)).reshape({5, 3, 40});
  if (dtype == at::kBool) return x > 0;
  const auto rows = x * torch::arange(1, 4, at::kFloat).reshape({3, 1}) + torch::arange(5).reshape({5, 1, 1});
  if (at::isFloatingType(dtype)) return rows.to(dtype).requires_grad_();
  return (rows * 10).to(dtype);
}

struct Hivemind {
  skep::Runner runner;
  std::unique_ptr<Driver> driver;

  Hivemind() {
    runner.block_on([this]() -> skep::awaitable<void> {
      driver = std::make_unique<Driver>(runner.executor(), "codec_driver.py");
      co_return;
    });
  }
  Hivemind(const Hivemind&) = delete;
  Hivemind& operator=(const Hivemind&) = delete;
  ~Hivemind() {
    runner.block_on([this]() -> skep::awaitable<void> {
      driver.reset();
      co_return;
    });
  }
  json exchange(const Tensor& tensor, Compression codec) {
    return runner.block_on((*driver)("exchange", {{"written", messages_of(tensor, codec)},
                                                  {"raw", messages_of(tensor, Compression::none)},
                                                  {"compression", std::string(name_of(codec))},
                                                  {"chunk_size", chunk_size}}));
  }
};

}  // namespace

TEST_CASE("E, C1.9, H-19: skep and Hivemind read each other's tensors with every codec and element type") {
  Hivemind hivemind;
  std::size_t exchanged = 0;
  const auto check = [&](const Tensor& tensor, Compression codec) {
    CAPTURE(name_of(codec));
    CAPTURE(name_of(tensor.scalar_type()));
    CAPTURE(tensor.dim());
    const json answer = hivemind.exchange(tensor, codec);
    if (answer.is_null()) {  // bitsandbytes is not there
      CHECK((codec == Compression::blockwise_8bit));
      return;
    }
    const Tensor ours = tensor_of(messages_of(tensor, codec));
    CHECK(described(ours) == answer.at("read"));
    const Tensor theirs = tensor_of(answer.at("messages"));
    CHECK(described(theirs) == answer.at("meant"));
    if (at::isFloatingType(tensor.scalar_type()) && tensor.numel() > 0 && tensor.isfinite().all().item<bool>()) {
      CHECK(error_of(ours, tensor) <= error_of(theirs, tensor) * 1.01);
    }
    ++exchanged;
  };
  for (int codec = 0; codec < 6; ++codec) {
    for (const auto& [dtype, name] : skep::moe::detail::dtype_names) {
      if (takes(static_cast<Compression>(codec), dtype)) check(sample(dtype), static_cast<Compression>(codec));
    }
  }
  const auto odd = torch::tensor({1.F, skep::test::nan, -3.F, skep::test::infinity, -skep::test::infinity, 2.F});
  for (int codec = 0; codec < 6; ++codec) check(odd, static_cast<Compression>(codec));
  for (const auto codec : {Compression::none, Compression::float16}) {
    check(torch::tensor(1.5F), codec);
    check(torch::empty({0, 2}), codec);
  }
  check(torch::tensor(1.5F), Compression::uniform_8bit);
  check(torch::tensor(1.5F), Compression::quantile_8bit);
  check(torch::empty({3, 0}), Compression::meanstd_16bit);
  CHECK(exchanged >= 38);
}

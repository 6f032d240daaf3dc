#include "skep/moe/server/checkpoint_state.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
ExpertState some_state() {
  ExpertState state;
  state.parameters.insert("w", at::arange(4, at::kFloat));
  state.parameters.insert("b", at::ones({2, 3}));
  state.buffers.insert("mean", at::full({3}, 0.5));
  state.optimizer.emplace();
  state.optimizer->state[1] = {{"step", at::full({}, 3, at::kFloat)}, {"exp_avg", at::ones({2, 3})}};
  state.optimizer->options = {{"lr", 1e-3}, {"betas", c10::ivalue::Tuple::create({0.9, 0.999})}, {"amsgrad", false}};
  state.schedule_step = 7;
  state.updates = 3;
  return state;
}
}  // namespace

TEST_CASE("C8.3: a checkpoint holds module, optimizer, schedule and count, and gives them back") {
  const ExpertState state = some_state();
  const auto read = decode_checkpoint(encode_checkpoint(state), state);
  REQUIRE(read);
  CHECK(read->parameters.keys() == state.parameters.keys());
  CHECK(at::equal(read->parameters["b"], state.parameters["b"]));
  CHECK(read->buffers.keys() == state.buffers.keys());
  REQUIRE(read->optimizer);
  CHECK(read->optimizer->state.size() == 1);
  CHECK(at::equal(read->optimizer->state.at(1).at("exp_avg").toTensor(), at::ones({2, 3})));
  CHECK(read->optimizer->options.at("lr").toDouble() == 1e-3);
  CHECK(read->optimizer->options.at("betas").toTupleRef().elements()[1].toDouble() == 0.999);
  CHECK(read->optimizer->options.size() == 3);
  CHECK(read->schedule_step == 7);
  CHECK(read->updates == 3);
}

TEST_CASE("an expert that is not trained has a checkpoint without optimizer and schedule") {
  ExpertState state = some_state();
  state.optimizer.reset();
  state.schedule_step.reset();
  const auto read = decode_checkpoint(encode_checkpoint(state), state);
  REQUIRE(read);
  CHECK_FALSE(read->optimizer);
  CHECK_FALSE(read->schedule_step);
}

TEST_CASE("an archive of something else is no checkpoint") {
  const ExpertState state = some_state();
  CHECK_FALSE(decode_checkpoint(encode_archive(std::int64_t{3}), state));
  CHECK_FALSE(decode_checkpoint(encode_archive(any_dict()), state));
  auto dict = any_dict();
  dict.insert("module", "a text");
  CHECK_FALSE(decode_checkpoint(encode_archive(dict), state));
  CHECK_FALSE(decode_checkpoint(skep::as_bytes("PK"), state));
}

#include "skep/moe/client/mixture_pass.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::test::peer;
using torch::Tensor;

namespace {

/// Three samples: the first and the last go to e.0 and e.1, the middle one to e.1 alone.
MixturePass three_samples() {
  ExpertChoice choice;
  choice.experts = {{"e.0", peer(1)}, {"e.1", peer(2)}};
  choice.chosen = {0, 1, 1, 1, 0};
  choice.offsets = {0, 2, 3, 5};
  return MixturePass::make(std::move(choice), nullptr);
}

}  // namespace

TEST_CASE("the rows of a batch in the places of its plan") {
  const MixturePass pass = three_samples();
  CHECK(pass.plan.calls() == 2);
  const std::int64_t first = pass.expert(0).uid == "e.0" ? 2 : 3;  // the order of servers is that of their ids
  CHECK(pass.plan.offsets[1] == first);
  for (std::size_t place = 0; place < 5; ++place) {
    CHECK(pass.rows[static_cast<std::int64_t>(place)].item<std::int64_t>() == pass.plan.rows[place]);
  }
  const Tensor gathered = torch::arange(10, torch::kFloat).view({5, 2});
  const auto second = pass.slices({gathered}, 1);
  CHECK(second.at(0).equal(gathered.narrow(0, first, 5 - first)));
  CHECK(second.at(0).is_contiguous());
  CHECK(second.at(0).storage().data() == gathered.storage().data());
}

TEST_CASE("answers are counted for each row") {
  const MixturePass pass = three_samples();
  const bool e0_first = pass.expert(0).uid == "e.0";
  CHECK(pass.count_answers({true, true}) == std::vector<std::uint32_t>{2, 1, 2});
  CHECK(pass.count_answers({e0_first, !e0_first}) == std::vector<std::uint32_t>{1, 0, 1});
  CHECK(pass.count_answers({}) == std::vector<std::uint32_t>{0, 0, 0});
}

TEST_CASE("B5.7 answers are joined in the form that the experts told, zeros stand for those that did not come") {
  const MixturePass pass = three_samples();
  const std::int64_t first = pass.plan.offsets[1];
  const std::vector<BatchTensorDescriptor> outputs{{.size = {2}}};
  std::vector<std::shared_ptr<ExpertAnswer>> answers(2);  // nothing was sent to the second expert
  answers[0] = std::make_shared<ExpertAnswer>(outputs, first, false);
  answers[0]->tensors() = {torch::ones({first, 2})};
  const Tensor expected = torch::cat({torch::ones({first, 2}), torch::zeros({5 - first, 2})});
  CHECK(pass.join(outputs, answers).at(0).equal(expected));
  answers[1] = std::make_shared<ExpertAnswer>(outputs, 5 - first, false);  // or it never answered
  CHECK(pass.join(outputs, answers).at(0).equal(expected));
  ExpertChoice empty;
  empty.offsets = {0};
  const MixturePass nothing = MixturePass::make(std::move(empty), nullptr);
  CHECK(nothing.join(outputs, {}).at(0).sizes() == at::IntArrayRef({0, 2}));
}

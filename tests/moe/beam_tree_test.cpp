#include "skep/moe/beam_tree.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::BeamTree;
using moe::Successors;
using test::peer;
using Names = std::vector<std::string>;

namespace {

std::shared_ptr<const Successors> entries(const std::string& prefix, const std::map<int, moe::UidEndpoint>& found) {
  return std::make_shared<const Successors>(prefix, found);
}

std::vector<BeamTree::Index> usable(const BeamTree::Node& node) {
  std::vector<BeamTree::Index> places;
  for (std::size_t i = 0; i < node.usable(); ++i) places.push_back(node.usable(i));
  return places;
}

}  // namespace

TEST_CASE("a grid below a bare name begins with its first coordinates, another one with its own prefix") {
  CHECK(moe::ExpertGrid{"ffn.", {4}}.flat());
  CHECK_FALSE(moe::ExpertGrid{"ffn.", {4, 4}}.flat());
  CHECK_FALSE(moe::ExpertGrid{"ffn.1.", {4}}.flat());
  BeamTree tree({"ffn.1.", {4, 4}}, nullptr, {});
  CHECK(tree[tree.root()].prefix == "ffn.1.");
  CHECK(tree[tree.root()].level == 0);
}

TEST_CASE("a node is made once and asked for until it is learned") {
  BeamTree tree({"ffn.", {4, 4}}, nullptr, {});
  const auto node = tree.first(2);
  CHECK(tree.first(2) == node);
  CHECK(tree[node].prefix == "ffn.2.");
  tree.begin_round();
  tree.ask(node);
  tree.ask(node);
  CHECK(tree.missing() == Names{"ffn.2."});
  tree.begin_round();
  CHECK(tree.missing().empty());
  tree.ask(node);
  CHECK(tree.missing() == Names{"ffn.2."});
  tree.learn({nullptr});
  CHECK(tree[node].resolved);
  CHECK(tree[node].usable() == 0);
  tree.begin_round();
  tree.ask(node);
  CHECK(tree.missing().empty());
}

TEST_CASE("usable are experts inside the grid at the last dimension, and anything to follow before it") {
  const std::map<int, moe::UidEndpoint> found{
      {0, {"ffn.2.0", peer(1)}}, {1, {"ffn.2.1.3", peer(1)}}, {3, {"ffn.2.3", peer(2)}}, {9, {"ffn.2.9", peer(1)}}};
  BeamTree flat({"ffn.", {4, 4}, [](const moe::ExpertInfo& expert) { return expert.peer_id == peer(2); }}, nullptr, {});
  flat.begin_round();
  flat.ask(flat.first(2));
  flat.learn({entries("ffn.2.", found)});
  CHECK(usable(flat[flat.first(2)]) == std::vector<std::uint32_t>{0});

  BeamTree deep({"ffn.", {4, 4, 4}}, nullptr, {});
  deep.begin_round();
  deep.ask(deep.first(2));
  deep.learn({entries("ffn.2.", found)});
  CHECK(usable(deep[deep.first(2)]) == std::vector<std::uint32_t>{0, 1, 2});
  CHECK(deep.path(deep.first(2), 1) == "ffn.2.1.");
  const auto child = deep.child(deep.first(2), 1);
  CHECK(deep.child(deep.first(2), 1) == child);
  CHECK(deep[child].level == 2);

  CHECK_FALSE(deep.contradicts(deep.first(2), 1));  // nobody has looked
  deep.begin_round();
  deep.ask(child);
  deep.learn({entries("ffn.2.1.", {{0, {"ffn.2.1.0", peer(1)}}})});
  CHECK(deep.contradicts(deep.first(2), 1));
}

TEST_CASE("where all entries fit the grid none is listed, one that does not fit is left out") {
  const std::map<int, moe::UidEndpoint> fits{{0, {"ffn.2.0", peer(1)}}, {2, {"ffn.2.2", peer(1)}}};
  std::map<int, moe::UidEndpoint> wider = fits;
  wider[4] = {"ffn.2.4", peer(1)};
  for (const auto& found : {fits, wider}) {
    BeamTree tree({"ffn.", {4, 4}}, nullptr, {});
    tree.begin_round();
    tree.ask(tree.first(2));
    tree.learn({entries("ffn.2.", found)});
    CHECK(tree[tree.first(2)].all_usable() == (found.size() == 2));
    CHECK(usable(tree[tree.first(2)]) == std::vector<std::uint32_t>{0, 1});
  }
}

TEST_CASE("what was only at hand when time was over contradicts nothing") {
  BeamTree tree({"ffn.", {4, 4, 4}}, nullptr, {});
  const auto node = tree.first(2);
  tree.begin_round();
  tree.ask(node);
  tree.learn({entries("ffn.2.", {{1, {"ffn.2.1.3", peer(1)}}})});
  tree.begin_round();
  tree.ask(tree.child(node, 0));
  tree.learn({nullptr}, true);
  CHECK(tree[tree.child(node, 0)].guessed);
  CHECK_FALSE(tree.contradicts(node, 0));
}

TEST_CASE("what is known already is not asked for") {
  moe::PrefixCache cache;
  cache.add({{"ffn.1.", {entries("ffn.1.", {{-1, {"ffn.1", peer(1)}}}), SteadyTime{9s}}}}, SteadyTime{0s});
  BeamTree tree({"ffn.", {4}}, cache.snapshot(), SteadyTime{1s});
  CHECK(tree[tree.first(1)].usable() == 1);
  CHECK_FALSE(tree[tree.first(2)].resolved);
}

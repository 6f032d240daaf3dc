// Hivemind and skep in one swarm: everybody stores and finds everything, signed or not, also when half of them are
// dead; and in a moderated one, where each has to prove membership to the other.
#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "skep/dht/access_token.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/rsa_validator.hpp"
#include "skep/dht/token_authorizer.hpp"
#include "skep/p2p/host.hpp"
#include "support/coroutine.hpp"
#include "support/driver.hpp"
#include "support/vectors.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using nlohmann::json;
using skep::awaitable;
using skep::Bytes;
using skep::to_bytes;
using skep::to_hex;
using skep::WallTime;
using skep::codec::msgpack::Value;
using skep::crypto::RsaPrivateKey;
using skep::crypto::RsaPublicKey;
using skep::dht::Found;
using skep::dht::NodeOptions;
using skep::dht::RsaSignatureValidator;
using skep::p2p::Host;
using skep::p2p::PeerId;
using skep_test::Driver;

namespace {

using Node = skep::dht::Node<Host, RsaSignatureValidator>;
using Texts = std::vector<std::string>;

std::string hex(const Value& value) { return to_hex(skep::codec::msgpack::encode(value)); }

/// What the driver says of something found.
json described(const std::optional<Found>& found) {
  if (!found) return nullptr;
  if (!found->is_dictionary) return {{"value", hex(found->value)}, {"expiration", found->expiration.seconds}};
  json items = json::array();
  for (const auto& item : found->items) items.push_back({hex(item.subkey), hex(item.value), item.expiration.seconds});
  std::sort(items.begin(), items.end());
  return {{"items", items}, {"expiration", found->expiration.seconds}};
}

/// A member of either kind, with an RSA key of its own.
class Member {
 public:
  static awaitable<Member> hivemind(Driver& driver, std::string name, Texts peers, json options = json::object()) {
    options.update({{"name", name}, {"initial_peers", peers}, {"rsa", true}, {"cache_locally", false}});
    options["cache_nearest"] = 0;
    const json started = co_await driver("start", options);
    Member member;
    member.driver_ = &driver;
    member.name_ = name;
    member.peer_ = started.at("peer").get<std::string>();
    member.addresses_ = started.at("addresses").get<Texts>();
    const json tag = co_await driver("tag", {{"name", name}});
    member.tag_ = tag.get<std::string>();
    co_return member;
  }
  static awaitable<Member> skep(Texts peers, NodeOptions options = {}) {
    skep::p2p::HostOptions hosting;
    hosting.listen = {"/ip4/127.0.0.1/tcp/0"};
    Host host(co_await asio::this_coro::executor, hosting);
    for (const auto& text : peers) {
      const PeerId peer = co_await host.connect(text);
      options.initial_peers.push_back(peer);
    }
    options.cache_locally = false;
    Member member;
    RsaSignatureValidator validator(RsaPrivateKey::generate());
    member.tag_ = validator.owner_tag();
    member.node_.push_back(co_await Node::create(host, std::move(options), std::move(validator)));
    member.peer_ = host.self().to_string();
    for (const auto& address : host.addresses()) member.addresses_.push_back(address.to_string());
    co_return member;
  }

  [[nodiscard]] const Texts& addresses() const { return addresses_; }
  [[nodiscard]] const std::string& peer() const { return peer_; }
  [[nodiscard]] Node& node() { return node_.front(); }
  /// A subkey that only this member may write.
  [[nodiscard]] Value own_subkey() const { return to_bytes("of " + tag_); }

  awaitable<bool> store(Value key, Value value, double expiration, std::optional<Value> subkey = {}) {
    if (driver_ == nullptr) {
      std::vector<skep::dht::StoreItem> items{{std::move(key), std::move(value), {expiration}, std::move(subkey)}};
      const auto results = co_await node().store_many(std::move(items));
      co_return static_cast<bool>(results.front());
    }
    json request{{"name", name_}, {"key", hex(key)}, {"value", hex(value)}, {"expiration", expiration}};
    if (subkey) request["subkey"] = hex(*subkey);
    const json stored = co_await (*driver_)("store", std::move(request));
    co_return stored.get<bool>();
  }
  /// What is found under each key when all the nearest are asked, as the driver says it.
  awaitable<json> get_all(Texts keys) {
    json out = json::array();
    if (driver_ == nullptr) {
      const auto found = co_await node().get_many(std::move(keys), {.latest = true});
      for (const auto& each : found) out.push_back(described(each));
    } else {
      for (const auto& key : keys) out.push_back(hex(key));
      out = co_await (*driver_)("get_all", {{"name", name_}, {"keys", out}});
    }
    co_return out;
  }
  /// As in a power cut: no word to anybody.
  awaitable<void> kill() {
    if (driver_ != nullptr) {
      (void)co_await (*driver_)("kill", {{"name", name_}});
    } else {
      node().network().close();
      node().close();
    }
  }

 private:
  Driver* driver_ = nullptr;  // of a Hivemind node
  std::string name_;
  std::deque<Node> node_;  // of a skep node: one
  std::string peer_;
  std::string tag_;
  Texts addresses_;
};

double in(double seconds) { return skep::system_wall_now().seconds + seconds; }

}  // namespace

CO_TEST_CASE("four Hivemind and four skep nodes: all find what anyone stored, signed or not, also after four deaths") {
  Driver driver(co_await asio::this_coro::executor, "dht_driver.py");
  std::vector<Member> members;  // Hivemind and skep by turns, each joining through one of the other kind
  for (int i = 0; i < 4; ++i) {
    const Texts peers = members.empty() ? Texts() : members.back().addresses();
    members.push_back(co_await Member::hivemind(driver, "h" + std::to_string(i), peers));
    const Texts bridge = members.back().addresses();
    members.push_back(co_await Member::skep(bridge));
  }

  const double later = in(600);
  const auto at = [&](std::size_t i) { return later + 0.125 * static_cast<double>(i); };
  Texts keys{"dictionary", "signed"};
  json expected = {{{"items", json::array()}, {"expiration", at(7)}},
                   {{"items", json::array()}, {"expiration", at(7)}}};
  const auto name_of = [](std::size_t i) { return "from " + std::to_string(i); };
  for (std::size_t i = 0; i < members.size(); ++i) {
    CAPTURE(i);
    Member& member = members[i];
    const std::string name = name_of(i);
    const bool regular = co_await member.store(name, static_cast<int>(i), at(i));
    const bool item = co_await member.store("dictionary", name, at(i), name);
    const bool signed_item = co_await member.store("signed", name, at(i), member.own_subkey());
    CHECK(regular);
    CHECK(item);
    CHECK(signed_item);
    keys.push_back(name);
    expected.push_back({{"value", hex(static_cast<int>(i))}, {"expiration", at(i)}});
    expected[0]["items"].push_back({hex(name), hex(name), at(i)});
    expected[1]["items"].push_back({hex(member.own_subkey()), hex(name), at(i)});
  }
  for (auto* items : {&expected[0]["items"], &expected[1]["items"]}) std::sort(items->begin(), items->end());
  const double soon = in(2);
  const bool brief = co_await members[0].store("brief", 1, soon);
  const bool brief_too = co_await members[1].store("brief too", 1, soon);
  CHECK(brief);
  CHECK(brief_too);

  // A9.2: nobody writes what is another's, whichever kind either is
  for (const auto& [attacker, owner] : {std::pair{0U, 1U}, std::pair{1U, 0U}, std::pair{0U, 2U}, std::pair{1U, 3U}}) {
    CAPTURE(attacker);
    const bool forged = co_await members[attacker].store("signed", "forged", at(100), members[owner].own_subkey());
    CHECK_FALSE(forged);
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    const json seen = co_await members[i].get_all(keys);
    CHECK_MESSAGE(seen == expected, "reader " << i << " sees " << seen.dump());
  }

  for (const std::size_t victim : {0U, 1U, 4U, 5U}) co_await members[victim].kill();
  for (const std::size_t survivor : {2U, 3U, 6U, 7U}) {
    const json seen = co_await members[survivor].get_all(keys);
    CHECK_MESSAGE(seen == expected, "survivor " << survivor << " sees " << seen.dump());
  }
  while (in(0) < soon) co_await members[3].node().network().sleep_until(skep::SteadyTime::clock::now() + 100ms);
  for (const std::size_t survivor : {2U, 3U}) {
    const json over = co_await members[survivor].get_all({"brief", "brief too"});
    CHECK(over == json::array({nullptr, nullptr}));
  }
}

CO_TEST_CASE("A10 a moderated swarm of both: each accepts the other's requests and answers, and no stranger's") {
  Driver driver(co_await asio::this_coro::executor, "dht_driver.py");
  const RsaPrivateKey authority = RsaPrivateKey::generate();
  const auto member = [&] {
    const auto ask = [&authority](std::string public_key) -> awaitable<skep::codec::AccessToken> {
      co_return skep::dht::issue_token(authority, "skep", public_key, skep::expires_in(10min));
    };
    return std::make_shared<skep::dht::TokenAuthorizer<skep::dht::SignedTokens>>(
        skep::dht::SignedTokens{RsaPublicKey(authority), ask}, RsaPrivateKey::generate());
  };
  NodeOptions moderated;
  moderated.authorizer = member();
  const json key{{"authority", to_hex(authority.to_pkcs1())}};
  Member theirs = co_await Member::hivemind(driver, "a", {}, key);
  Member ours = co_await Member::skep(theirs.addresses(), moderated);
  const Texts addresses = ours.addresses();
  Member second = co_await Member::hivemind(driver, "b", addresses, key);
  CHECK(ours.node().peer_count() == 2);
  const double later = in(600);
  const bool by_us = co_await ours.store("from skep", 1, later);
  const bool by_them = co_await theirs.store("from hivemind", 2, later);
  CHECK(by_us);
  CHECK(by_them);
  const json expected{{{"value", hex(1)}, {"expiration", later}}, {{"value", hex(2)}, {"expiration", later}}};
  for (Member* reader : {&ours, &theirs, &second}) {
    const json seen = co_await reader->get_all({"from skep", "from hivemind"});
    CHECK(seen == expected);
  }

  // strangers of either kind, at members of either kind
  for (const Member* host : {&ours, &theirs}) {
    std::string said;
    try {
      (void)co_await Member::skep(host->addresses());
    } catch (const skep::Error& error) {
      said = error.what();
    }
    CHECK(said.find("answered with an error") != std::string::npos);
  }
  Member stranger = co_await Member::hivemind(driver, "stranger", {});
  Host& network = ours.node().network();
  (void)co_await network.connect(stranger.addresses().front());
  const json pong = co_await driver("ping", {{"name", "stranger"}, {"peer", ours.peer()}});
  CHECK(pong.is_null());

  // A10.3: Hivemind takes a request of ours once
  const PeerId peer = *PeerId::from_text(theirs.peer());
  skep::codec::PingRequest ping;
  const auto request = moderated.authorizer->sign_request(peer, ping.encode(), skep::system_wall_now());
  const Bytes answer = co_await network.call(peer, "DHTProtocol.rpc_ping", request.message);
  CHECK(moderated.authorizer->validate_response(answer, request.nonce, skep::system_wall_now()));
  bool again = true;
  try {
    (void)co_await network.call(peer, "DHTProtocol.rpc_ping", request.message);
  } catch (const skep::RemoteError&) {
    again = false;
  }
  CHECK_FALSE(again);
}

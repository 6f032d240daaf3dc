#include "skep/dht/token_authorizer.hpp"

#include <limits>
#include <memory>
#include <string>

#include "dht/swarm.hpp"
#include "skep/dht/access_token.hpp"
#include "support/vectors.hpp"

#include <doctest/doctest.h>

using namespace skep;
using codec::AccessToken;
using codec::RequestAuthInfo;
using codec::msgpack::Value;
using crypto::RsaPrivateKey;
using crypto::RsaPublicKey;
using dht::auth_errc;
using dht::SignedTokens;
using skep_test::Node;
using Authorizer = dht::TokenAuthorizer<SignedTokens>;

namespace {

const WallTime now{1'795'632'000};
const auto alice = *p2p::PeerId::from_bytes(Bytes{0, 1, 1});
const auto bob = *p2p::PeerId::from_bytes(Bytes{0, 1, 2});

const RsaPrivateKey& authority_key() {
  static const RsaPrivateKey key = RsaPrivateKey::generate();
  return key;
}

/// A member of the swarm whose authority has `authority_key`.
std::shared_ptr<Authorizer> member(dht::TokenAuthorizerOptions options = {}, WallTime expiration = now + 10min,
                                   const RsaPrivateKey& authority = authority_key()) {
  const auto ask = [expiration, &authority](std::string public_key) -> awaitable<AccessToken> {
    co_return dht::issue_token(authority, "user", public_key, expiration);
  };
  return std::make_shared<Authorizer>(SignedTokens{RsaPublicKey(authority_key()), ask}, RsaPrivateKey::process_wide(),
                                      options);
}
std::shared_ptr<Authorizer> prepared(dht::TokenAuthorizerOptions options = {}) {
  auto made = member(options);
  sim::World world;
  world.run(made->prepare(now));
  return made;
}

const Bytes body{0x18, 0x01};

}  // namespace

TEST_CASE("A10.2 A10.3 a request and its answer are valid for those they are for") {
  const auto client = prepared();
  const auto service = prepared();
  const auto sent = client->sign_request(bob, body, now);
  const auto nonce = service->validate_request(bob, sent.message, now + 59s);
  REQUIRE(nonce);
  CHECK(*nonce == sent.nonce);
  const Bytes answer = service->sign_response(body, *nonce);
  CHECK(client->validate_response(answer, sent.nonce, now));
  CHECK(to_bytes(codec::split_auth<codec::ResponseAuthInfo>(answer)->rest) == body);
  CHECK(client->validate_response(answer, Bytes(24), now).error() == auth_errc::wrong_nonce);
  CHECK(client->validate_response(body, sent.nonce, now).error() == auth_errc::missing);
}

TEST_CASE("A10.3 requests and answers that were altered, are old, or come again are refused, each for its reason") {
  const auto client = prepared();
  const auto service = prepared();
  const auto judge = [&](BytesView request, WallTime at = now) {
    return service->validate_request(bob, request, at).error();
  };
  const auto request = [&] { return client->sign_request(bob, body, now).message; };
  /// Changes the authorization of a signed request, then signs again or not.
  const auto altered = [&](auto change, bool again) {
    const Bytes message = request();
    auto parts = *codec::split_auth<RequestAuthInfo>(message);
    change(parts.auth);
    if (again) {
      parts.auth.signature.clear();
      parts.auth.signature =
          to_bytes(crypto::base64(RsaPrivateKey::process_wide().sign_pss(codec::with_auth(parts.auth, parts.rest))));
    }
    return codec::with_auth(parts.auth, parts.rest);
  };
  CHECK(judge(body) == auth_errc::missing);
  CHECK(judge(codec::with_auth(RequestAuthInfo{}, body)) == auth_errc::missing);
  CHECK(judge(BytesView(request()).first(9)) == errc::truncated);
  CHECK(judge(request(), now + 61s) == auth_errc::wrong_time);
  CHECK(judge(request(), now - 61s) == auth_errc::wrong_time);
  CHECK(judge(altered([](auto& a) { a.time = std::numeric_limits<double>::quiet_NaN(); }, true)) ==
        auth_errc::wrong_time);
  CHECK(judge(altered([](auto& a) { a.time += 1; }, false)) == auth_errc::bad_signature);
  CHECK(judge(altered([](auto& a) { a.signature.clear(); }, false)) == auth_errc::bad_signature);
  CHECK(judge(altered([](auto& a) { a.client_access_token->username = "root"; }, true)) == auth_errc::invalid_token);
  CHECK(judge(altered([](auto& a) { a.client_access_token.reset(); }, true)) == auth_errc::missing);
  Bytes longer = request();
  longer.push_back(0x20);
  longer.push_back(0x01);
  CHECK(judge(longer) == auth_errc::bad_signature);
  const Bytes good = request();
  CHECK(judge(good) == std::error_code());
  CHECK(judge(good) == auth_errc::replayed);
  CHECK(judge(good, now + 59s) == auth_errc::replayed);

  const auto sent = client->sign_request(bob, body, now);
  Bytes answer = service->sign_response(body, sent.nonce);
  answer.back() ^= 2;
  CHECK(client->validate_response(answer, sent.nonce, now).error() == auth_errc::bad_signature);
}

TEST_CASE("A10.5 a request is good for its recipient alone") {
  const auto client = prepared();
  const auto service = prepared();
  const Bytes message = client->sign_request(bob, body, now).message;
  CHECK(service->validate_request(alice, message, now).error() == auth_errc::wrong_recipient);
  CHECK(service->validate_request(bob, message, now));

  // Hivemind's: a nonce of eight bytes, perhaps the recipient's public key
  const auto hivemind = [&](std::string service_key) {
    RequestAuthInfo auth = codec::split_auth<RequestAuthInfo>(message)->auth;
    const auto nonce = crypto::random_array<8>();
    auth.nonce = to_bytes(BytesView(nonce));
    auth.service_public_key = to_bytes(service_key);
    auth.signature.clear();
    auth.signature = to_bytes(crypto::base64(RsaPrivateKey::process_wide().sign_pss(codec::with_auth(auth, body))));
    return codec::with_auth(auth, body);
  };
  CHECK(service->validate_request(bob, hivemind(""), now));
  CHECK(service->validate_request(bob, hivemind(service->public_key()), now));
  CHECK(service->validate_request(bob, hivemind("ssh-rsa AAAA"), now).error() == auth_errc::wrong_recipient);
  const auto strict = prepared({.require_recipient = true});
  CHECK(strict->validate_request(bob, hivemind(""), now).error() == auth_errc::wrong_recipient);
  CHECK(strict->validate_request(bob, hivemind(strict->public_key()), now));
  CHECK(strict->validate_request(bob, message, now));
}

TEST_CASE("H-37 what is remembered against replays is bounded; then requests are refused, not let through") {
  const auto client = prepared();
  const auto service = prepared({.remembered_requests = 2});
  const auto call = [&] { return service->validate_request(bob, client->sign_request(bob, body, now).message, now); };
  CHECK(call());
  CHECK(call());
  CHECK(call().error() == auth_errc::busy);
}

TEST_CASE("A10.2 the request that Hivemind accepted and its answer are accepted here") {
  struct Anyone {
    awaitable<AccessToken> get_token(std::string key) { co_return AccessToken{"us", to_bytes(key), "", {}}; }
    bool is_token_valid(const AccessToken&, WallTime) const { return true; }
    bool does_token_need_refreshing(const AccessToken&, WallTime) const { return false; }
  };
  dht::TokenAuthorizer<Anyone> judge({});
  const Bytes request = skep_test::vector_bytes("dht", "authorized_ping", "request");
  const Bytes response = skep_test::vector_bytes("dht", "authorized_ping", "response");
  const auto sent = codec::split_auth<RequestAuthInfo>(request);
  const auto nonce = judge.validate_request(bob, request, {sent->auth.time});
  REQUIRE(nonce);
  CHECK(nonce->size() == 8);
  CHECK(judge.validate_response(response, *nonce, now));
}

TEST_CASE("A10.1 one asks the authority for all, again before the token is over; the old one serves meanwhile") {
  sim::World world;
  int asked = 0;
  WallTime expiration = now + 5min;
  bool works = true;
  sim::Host host(world);
  const auto ask = [&](std::string public_key) -> awaitable<AccessToken> {
    ++asked;
    co_await host.sleep_until(host.steady_now() + 1s);
    if (!works) throw Error(errc::unreachable, "the authority is away");
    co_return dht::issue_token(authority_key(), "user", public_key, expiration);
  };
  Authorizer authorizer(SignedTokens{RsaPublicKey(authority_key()), ask});
  const auto prepare_twice = [&](WallTime at) -> awaitable<void> {
    Scope both(co_await asio::this_coro::executor, "test");
    both.spawn(authorizer.prepare(at));
    both.spawn(authorizer.prepare(at));
    co_await both.join();
  };
  world.run(prepare_twice(now));
  CHECK(asked == 1);
  world.run(authorizer.prepare(now + 3min));
  CHECK(asked == 1);
  expiration = now + 10min;
  const SteadyTime start = host.steady_now();
  world.run(prepare_twice(now + 270s));
  CHECK(asked == 2);
  CHECK(host.steady_now() - start == 1s);
  works = false;
  CHECK_THROWS_WITH(world.run(authorizer.prepare(now + 20min)), "skep: the authority is away");
  works = true;
  expiration = now;
  CHECK_THROWS_WITH(world.run(authorizer.prepare(now + 20min)), doctest::Contains("an access token that is over"));
  expiration = now + 30min;
  world.run(authorizer.prepare(now + 20min));
  CHECK(asked == 5);
}

TEST_CASE("A10.4 a moderated swarm of nodes works; one whose authority is another stays outside") {
  sim::World world;
  const RsaPrivateKey stranger = RsaPrivateKey::generate();
  const WallTime until = world.time().wall_now() + 1h;
  const auto join = [&](std::vector<p2p::PeerId> peers, const RsaPrivateKey& authority) {
    dht::NodeOptions options{.initial_peers = std::move(peers)};
    options.authorizer = member({.require_recipient = true}, until, authority);
    return world.run(Node::create(sim::Host(world), options));
  };
  Node a = join({}, authority_key());
  Node b = join({a.peer_id()}, authority_key());
  CHECK(world.run(b.store("k", "v", until)).accepted == 2);
  CHECK(world.run(a.get("k", {.latest = true}))->value == Value("v"));
  CHECK_THROWS_WITH(join({a.peer_id()}, stranger), doctest::Contains("not for our key"));
}

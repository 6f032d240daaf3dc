#include "skep/moe/server/expert_request.hpp"

#include <algorithm>
#include <asio/io_context.hpp>
#include <limits>

#include "moe/server/experts.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/tensor/serialize.hpp"
#include "skep/p2p/host.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::p2p::Host;
using Request = skep::moe::detail::ExpertRequest<Host>;
using skep::moe::detail::ExpertCallKind;

namespace {

/// One expert, and requests to it that arrive in small pieces.
struct Door {
  explicit Door(PeerQuotaOptions quotas = {}, skep::Duration arrival_timeout = std::chrono::seconds(300))
      : host(context.get_executor(), {}),
        state(std::make_shared<skep::moe::detail::HandlerState<Host>>(
            host,
            ExpertTable{
                {"nop.0", std::make_shared<ModuleBackend<Nop>>("nop.0", BackendOptions{.expert = {.hidden_dim = 4}})}},
            ConnectionHandlerOptions{.arrival_timeout = arrival_timeout, .quotas = quotas},
            std::make_shared<ServerTraffic>(std::vector<std::string>{"nop.0"}))) {}

  [[nodiscard]] std::shared_ptr<Request> begin(ExpertCallKind kind = ExpertCallKind::forward) {
    return std::make_shared<Request>(
        state, host.self(), kind,
        kind == ExpertCallKind::forward ? "ConnectionHandler.rpc_forward" : "ConnectionHandler.rpc_backward",
        skep::p2p::max_unary_size);
  }
  static void arrive(Request& request, const std::string& uid, std::vector<Tensor> tensors) {
    const skep::Bytes bytes = tensor_message(uid, tensors).flatten();
    skep::BytesView rest = bytes;
    (void)request.start(bytes.size());
    while (!rest.empty()) {
      const auto place = request.destination();
      const std::size_t n = std::min({place.size(), rest.size(), std::size_t{7}});
      REQUIRE(n > 0);
      std::copy_n(rest.begin(), n, place.begin());
      rest = rest.subspan(n);
      if (request.filled(n)) return;
    }
  }
  [[nodiscard]] std::string refusal(const std::string& uid, std::vector<Tensor> tensors) {
    try {
      const auto request = begin(tensors.size() == 1 ? ExpertCallKind::forward : ExpertCallKind::backward);
      arrive(*request, uid, std::move(tensors));
      (void)request->accept();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }
  [[nodiscard]] ExpertTraffic seen() const { return state->traffic->snapshots().at("nop.0"); }

  asio::io_context context;
  Host host;
  std::shared_ptr<skep::moe::detail::HandlerState<Host>> state;
};

}  // namespace

TEST_CASE("a request that fits is in hand until it is forgotten, and counts its bytes") {
  Door door;
  {
    const auto request = door.begin();
    Door::arrive(*request, "nop.0", {torch::ones({3, 4})});
    CHECK_FALSE(request->refused());
    const auto accepted = request->accept();
    CHECK(accepted.expert->name() == "nop.0");
    CHECK(accepted.batch.tensors.front().equal(torch::ones({3, 4})));
    CHECK(accepted.patience == std::chrono::seconds(60));
    CHECK(door.state->in_hand == 1);
  }
  CHECK(door.state->in_hand == 0);
  CHECK(door.seen().forward == 1);
  CHECK(door.seen().bytes_in == 3 * 4 * 4);
}

TEST_CASE("C7.9, H-1: what does not fit the schema is refused by its header and concerns nobody else") {
  Door door;
  CHECK(door.refusal("nop.0", {torch::ones({3, 5})}) ==
        "skep: expert nop.0 refused the request: input 0 is float32[3, 5], expected float32[batch, 4]");
  CHECK(door.refusal("nop.7", {torch::ones({3, 4})}) == "skep: this server has no expert \"nop.7\"");
  CHECK(door.refusal("nop.0", {torch::ones({3, 4})}).empty());
  CHECK(door.seen().invalid == 1);
}

TEST_CASE("C3.4, H-36: a peer may have so many requests and bytes in hand, then it is told to come again") {
  Door few({.requests = 1});
  const auto first = few.begin();
  CHECK(few.refusal("nop.0", {torch::ones({3, 4})}) ==
        "skep: busy: 1 requests of this peer are in hand, retry in 100 ms");
  Door small({.bytes = 40});
  CHECK(small.refusal("nop.0", {torch::ones({3, 4})}) ==
        "skep: busy: the requests of this peer hold 40 bytes already, retry in 100 ms");
  CHECK(small.seen().busy == 1);
}

TEST_CASE("a tensor counts towards its peer's bytes before its header has come") {
  Door door({.bytes = 100});
  const skep::Bytes bytes = tensor_message("nop.0", std::vector{torch::ones({5, 4})}).flatten();
  const auto request = door.begin();
  (void)request->start(bytes.size());
  skep::BytesView rest = skep::BytesView(bytes).first(40);  // the uid and the head of the first tensor's buffer
  while (!rest.empty()) {
    const auto place = request->destination();
    const std::size_t n = std::min(place.size(), rest.size());
    std::copy_n(rest.begin(), n, place.begin());
    rest = rest.subspan(n);
    REQUIRE_FALSE(request->filled(n));
  }
  CHECK_FALSE(request->refused());
  CHECK(door.refusal("nop.0", {torch::ones({3, 4})}) ==
        "skep: busy: the requests of this peer hold 100 bytes already, retry in 100 ms");
}

TEST_CASE("a request that takes too long to arrive is refused, however often it sends a little") {
  Door door({}, skep::Duration::zero());
  const auto request = door.begin();
  CHECK(request->is_late());
  CHECK(door.refusal("nop.0", {torch::ones({3, 4})}) == "skep: the request took too long to arrive");
  CHECK(door.seen().expired == 1);
}

TEST_CASE("C4.9, H-36: a small gradient that is not finite is refused at the door, before it shares a batch") {
  Door door;
  const Tensor x = torch::ones({3, 4}), nan = torch::full({3, 4}, std::numeric_limits<float>::quiet_NaN());
  CHECK(door.refusal("nop.0", {x, nan}) == "skep: expert nop.0 refused the request: output gradient 0 is not finite");
  CHECK(door.refusal("nop.0", {nan, x}).empty());  // inputs are the expert's business
  CHECK(door.seen().invalid == 1);
}

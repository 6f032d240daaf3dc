#include "skep/p2p/stream_machine.hpp"

#include <doctest/doctest.h>

using namespace skep;
using namespace skep::p2p;

namespace {

struct Silent : StreamMachine {
  void on_data(BytesView) override {}
  void on_end() override {}
  void on_lost(std::error_code) override {}
  void ask_for_everything() {
    write(as_bytes("x"));
    consumed(1);
    expect(1);
    become(nullptr);
    leave();
    reset();
  }
  using StreamMachine::drained;
  using StreamMachine::remote_closed;
  using StreamMachine::window;
};

}  // namespace

TEST_CASE("a machine without a stream asks for nothing: the stream may end before its machine") {
  Silent machine;
  CHECK_FALSE(machine.attached());
  machine.ask_for_everything();
  CHECK(machine.window() == 0);
  CHECK(machine.remote_closed());
  CHECK(machine.drained());
}

TEST_CASE("an owner that lets go hands the machine over") {
  const auto machine = std::make_shared<Silent>();
  StreamOwner owner(machine);
  CHECK(owner.machine() == machine);
  CHECK(owner.release() == machine);
  CHECK(owner.machine() == nullptr);
  CHECK(machine.use_count() == 1);
}

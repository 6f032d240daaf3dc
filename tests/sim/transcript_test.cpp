#include "skep/sim/transcript.hpp"

#include <sstream>

#include <doctest/doctest.h>

using namespace skep;
using sim::Fate;
using sim::Message;
using sim::Transcript;

TEST_CASE("a transcript counts, and any difference changes its hash") {
  const Message base{SteadyTime(1s), 20ms, 1, 2, "rpc", false, 9, Fate::arrives};
  const auto hash_of = [](const Message& message) {
    Transcript transcript;
    transcript.add(message);
    return transcript.hash();
  };
  Message later = base;
  later.sent += 1ns;
  Message slower = base;
  slower.way += 1ns;
  Message back = base;
  std::swap(back.from, back.to);
  Message answer = base;
  answer.is_answer = true;
  Message longer = base;
  ++longer.size;
  Message lost = base;
  lost.fate = Fate::lost;
  CHECK(hash_of(base) == hash_of(base));
  for (const Message& other : {later, slower, back, answer, longer, lost}) CHECK(hash_of(other) != hash_of(base));

  Transcript transcript;
  CHECK(transcript.call("b") == "b");
  (void)transcript.call("a");
  (void)transcript.call("b");
  transcript.add(base);
  transcript.add(answer);
  CHECK(transcript.calls("b") == 2);
  CHECK(transcript.calls("c") == 0);
  CHECK(transcript.messages() == 2);
  CHECK(transcript.bytes() == 18);
  CHECK(transcript.latest().empty());
}

TEST_CASE("the timeline shows the latest messages, one a line") {
  Transcript transcript(3);
  transcript.add({SteadyTime(1s), 20ms, 1, 2, "old", false, 9, Fate::arrives});
  transcript.add({SteadyTime(1500ms), 46200us, 3, 17, "DHTProtocol.rpc_find", false, 82, Fate::arrives});
  transcript.add({SteadyTime(1546200us), 46200us, 17, 3, "DHTProtocol.rpc_find", true, 700, Fate::lost});
  transcript.add({SteadyTime(2s), 1ms, 3, 4, "DHTProtocol.rpc_ping", false, 26, Fate::unheard});
  std::ostringstream out;
  transcript.print(out);
  CHECK(out.str() ==
        "      1500.000 ms  #3 -> #17  DHTProtocol.rpc_find 82 B, arrives after 46.200 ms\n"
        "      1546.200 ms  #17 => #3  DHTProtocol.rpc_find answers 700 B, is lost\n"
        "      2000.000 ms  #3 -> #4  DHTProtocol.rpc_ping 26 B, is not heard\n");
}

// Suite codec: ten million float32 numbers into a message's tensor and out of it again, with every codec, beside two
// plain copies of their bytes.
#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/moe/tensor/serialize.hpp"
#include "skep/moe/tensor/tensor_sink.hpp"
#include "support/pin.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {

using namespace skep;
using namespace skep::bench;
using moe::Compression;
using moe::Tensor;

constexpr std::int64_t size = 10'000'000;
constexpr int seed = 7348;  // of Hivemind's own benchmark

/// Takes pages from the system once and for all: fresh ones cost ten times what is to be measured.
void warm_up_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  constexpr std::size_t plenty = 16 * size * sizeof(float);
  void* const pages = std::malloc(plenty);
  if (pages != nullptr) std::memset(pages, 1, plenty);
  asm volatile("" : : "r"(pages) : "memory");
  std::free(pages);
}

struct Candidate {
  Compression codec;
  double goal;
};
constexpr std::array candidates{
    Candidate{Compression::none, 1.2},          Candidate{Compression::float16, 1.7},
    Candidate{Compression::meanstd_16bit, 2.5}, Candidate{Compression::uniform_8bit, 2.5},
    Candidate{Compression::quantile_8bit, 8},   Candidate{Compression::blockwise_8bit, 2.5}};

/// What Hivemind takes for the same, in this run on this machine.
struct Peer {
  double microseconds = 0;
  double error = 0;
};
/// Empty where its Python is not there; without a codec whose library is missing.
std::map<std::string, Peer> measure_hivemind(bool quick) {
  const char* const python = std::getenv("SKEP_HIVEMIND_PYTHON");
  std::map<std::string, Peer> peers;
  if (python == nullptr || access(python, X_OK) != 0) return peers;
  const std::string script = R"(
import time, torch
from hivemind.compression import deserialize_torch_tensor, serialize_torch_tensor
from hivemind.proto.runtime_pb2 import CompressionType
torch.set_num_threads(1)
torch.manual_seed()" + std::to_string(seed) +
                             R"()
x = torch.randn()" + std::to_string(size) +
                             R"()
for name, codec in CompressionType.items():
    times = []
    try:
        for _ in range()" + (quick ? "2" : "4") +
                             R"():
            start = time.process_time()
            y = deserialize_torch_tensor(serialize_torch_tensor(x, codec))
            times.append(time.process_time() - start)
    except ImportError:
        continue
    print(name, sorted(times)[len(times) // 2 - 1] * 1e6, float((x - y).square().mean()), flush=True)
)";
  const std::string command = "\"" + std::string(python) + "\" -W ignore -c '" + script + "' 2>/dev/null";
  FILE* const output = popen(command.c_str(), "r");
  if (output == nullptr) return peers;
  std::array<char, 64> name{};
  for (Peer peer; std::fscanf(output, "%63s %lf %lf", name.data(), &peer.microseconds, &peer.error) == 3;) {
    peers[name.data()] = peer;
  }
  pclose(output);
  return peers;
}

/// A message with the tensor as the network would send it, segment by segment, into the storage where it stays.
Tensor send_and_receive(const Tensor& tensor, Compression codec) {
  constexpr std::size_t enough = std::size_t{1} << 30;
  const p2p::Payload payload = moe::tensor_message({}, std::span(&tensor, 1), std::span(&codec, 1));
  moe::TensorSink sink({.message = enough, .total = enough});
  (void)sink.start(payload.size());
  const auto feed = [&sink](BytesView bytes) {
    while (!bytes.empty()) {
      const MutableBytes to = sink.destination();
      const std::size_t n = std::min(to.size(), bytes.size());
      std::memcpy(to.data(), bytes.data(), n);
      (void)sink.filled(n);
      bytes = bytes.subspan(n);
    }
  };
  feed(payload.head());
  for (const auto& segment : payload.segments()) feed(segment.bytes);
  return (*sink.take()).at(0);
}
/// Microseconds of the processor that an act takes: codecs never wait, so what else runs on the machine shows less.
template <class Act>
double processor_time(Act&& act) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
  };
  const double start = now();
  act();
  return now() - start;
}
Tensor copy(const Tensor& tensor) {
  Tensor to = at::empty_like(tensor);
  std::memcpy(to.data_ptr(), tensor.data_ptr(), tensor.nbytes());
  return to;
}

std::string error_text(double error) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g", error);
  return text.data();
}

void measure(Table& table, bool quick) {
  const auto peers = measure_hivemind(quick);
  pin_to(allowed_cores().back());
  warm_up_memory();
  at::manual_seed(seed);
  const Tensor x = at::randn({size});

  std::vector<std::function<void(Series&)>> acts;
  acts.emplace_back([&x](Series& series) { series.add(processor_time([&x] { (void)copy(copy(x)); })); });
  for (const auto& candidate : candidates) {
    acts.emplace_back([&x, codec = candidate.codec](Series& series) {
      series.add(processor_time([&x, codec] { (void)send_and_receive(x, codec); }));
    });
  }
  const auto series = interleave(quick ? 5 : 21, acts);
  const auto peer_of = [&peers](Compression codec) { return peers.find(std::string(moe::name_of(codec))); };
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto& [codec, goal] = candidates[i];
    Row row{.name = std::string(moe::name_of(codec)) + ", 10 M float32"};
    row.skep = time_text(series[i + 1].p50());
    row.limit = time_text(series[0].p50());
    if (const auto peer = peer_of(codec); peer != peers.end()) row.peer = time_text(peer->second.microseconds);
    row.ratio = median_over_rounds(series[0].rounds(),
                                   [&](std::size_t r) { return series[i + 1].median_of(r) / series[0].median_of(r); });
    row.goal = goal;
    table.print(row);
  }
  for (const auto& [codec, goal] : candidates) {
    const double error = (send_and_receive(x, codec) - x).square().mean().item<double>();
    const auto peer = peer_of(codec);
    Row row{.name = std::string(moe::name_of(codec)) + ", mean squared error", .skep = error_text(error)};
    if (peer == peers.end() || peer->second.error == 0) {
      std::printf("%-34s %16s\n", row.name.c_str(), row.skep.c_str());
      continue;
    }
    row.peer = error_text(peer->second.error);
    row.ratio = error / peer->second.error;
    row.goal = 1.001;  // equal but for the order of additions
    table.print(row);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    moe::set_compute_threads(1);
    Table table;
    measure(table, argc > 1 && std::string_view(argv[1]) == "--quick");
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "codec_bench: %s\n", failure.what());
    return 1;
  }
}

#include "skep/moe/server/checkpoint_folder.hpp"

#include <set>

#include "support/temporary_folder.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::WallTime;
using skep::moe::CheckpointFolder;

namespace {
std::set<std::string> names(const std::filesystem::path& folder) {
  std::set<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) all.insert(entry.path().filename());
  return all;
}
std::vector<std::string> candidates(const CheckpointFolder& folder) {
  std::vector<std::string> all;
  for (const auto& file : folder.candidates()) all.emplace_back(skep::as_text(CheckpointFolder::read(file)));
  return all;
}
}  // namespace

TEST_CASE("C8.2: a folder has dated files and checkpoint_last.pt, which is the newest of them") {
  const skep::test::TemporaryFolder directory;
  const CheckpointFolder folder(directory.path(), "ffn.0.1");
  CHECK(folder.candidates().empty());
  folder.write(skep::as_bytes("one"), WallTime{1'769'903'999.123456}, 3);
  CHECK(names(folder.path()) ==
        std::set<std::string>{"checkpoint_2026-01-31_23:59:59.123456.pt", "checkpoint_last.pt"});
  folder.write(skep::as_bytes("two"), WallTime{1'769'904'000}, 3);
  CHECK(skep::as_text(CheckpointFolder::read(folder.path() / "checkpoint_last.pt")) == "two");
  CHECK(candidates(folder) == std::vector<std::string>{"two", "one"});
}

TEST_CASE("H-26, H-31: the last ones are kept and the older ones removed, even when the clock was set back") {
  const skep::test::TemporaryFolder directory;
  const CheckpointFolder folder(directory.path(), "ffn.0");
  for (const auto& [text, time] : {std::pair{"a", 5.0}, {"b", 9.0}, {"c", 7.0}, {"d", 7.0}, {"e", 1.0}}) {
    folder.write(skep::as_bytes(text), WallTime{time}, 3);
  }
  CHECK(candidates(folder) == std::vector<std::string>{"e", "d", "c"});
  CHECK(names(folder.path()).size() == 4);
}

TEST_CASE("a clock that stays set back makes no name longer, and a user's own file is no checkpoint of ours") {
  const skep::test::TemporaryFolder directory;
  const CheckpointFolder folder(directory.path(), "ffn.0");
  std::filesystem::create_directories(folder.path());
  for (const char* own : {"checkpoint_best.pt", "checkpoint_2031-01-01T00:00:00.5_good.pt"}) {
    std::ofstream(folder.path() / own) << "mine";
  }
  std::ofstream(folder.path() / "checkpoint_2031-01-01T00:00:00.pt") << "from a Hivemind to the east";
  for (int i = 0; i < 60; ++i) folder.write(skep::as_bytes(std::to_string(i)), WallTime{100.0 + i}, 3);
  CHECK(candidates(folder) == std::vector<std::string>{"59", "58", "57"});
  CHECK(names(folder.path()) ==
        std::set<std::string>{"checkpoint_best.pt", "checkpoint_2031-01-01T00:00:00.5_good.pt",
                              "checkpoint_2031-01-01T00:00:00_000058.pt", "checkpoint_2031-01-01T00:00:00_000059.pt",
                              "checkpoint_2031-01-01T00:00:00_000060.pt", "checkpoint_last.pt"});
}

TEST_CASE("H-31: what a process that was killed has left behind is no checkpoint") {
  const skep::test::TemporaryFolder directory;
  const CheckpointFolder folder(directory.path(), "ffn.0");
  folder.write(skep::as_bytes("whole"), WallTime{1}, 3);
  std::ofstream(folder.path() / "checkpoint.tmp") << "hal";
  std::ofstream(folder.path() / "checkpoint_last.tmp") << "hal";
  CHECK(candidates(folder) == std::vector<std::string>{"whole"});
  folder.write(skep::as_bytes("next"), WallTime{2}, 3);
  CHECK(candidates(folder) == std::vector<std::string>{"next", "whole"});
}

TEST_CASE("H-31: a uid cannot lead out of the directory") {
  for (const std::string uid : {"/etc.0", "a/b.0", "..", "ffn", "", "ffn.0/../..", "ffn.x"}) {
    CAPTURE(uid);
    CHECK_THROWS_AS(CheckpointFolder("/tmp", uid), skep::Error);
  }
  CHECK_FALSE(skep::moe::names_folder(std::string("a\0b.0", 5)));
  CHECK_FALSE(skep::moe::names_folder(std::string(300, 'a') + ".0"));
  CHECK(skep::moe::names_folder("my expert::\xc3\xa9.0.17"));
}

TEST_CASE("a checkpoint that cannot be written is told with the reason of the system") {
  const CheckpointFolder folder("/proc", "ffn.0");
  CHECK_THROWS(folder.write(skep::as_bytes("x"), WallTime{1}, 3));
}

// CheckpointFolder: the files of one expert's checkpoints, written so that whatever happens the last whole one is left.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// A file descriptor.
class OpenFile {
 public:
  OpenFile(const std::filesystem::path& path, int flags)
      : path_(path), file_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (file_ < 0) fail("opened");
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { ::close(file_); }

  void write(BytesView bytes) {
    while (!bytes.empty()) {
      const auto n = ::write(file_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("written");
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }
  /// Returns when the disk has it.
  void sync() {
    if (::fsync(file_) != 0) fail("written to the disk");
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    const std::error_code code(errno, std::generic_category());
    throw Error(code, path_.string() + " cannot be " + what + ": " + code.message());
  }

  std::filesystem::path path_;
  int file_;
};

/// "checkpoint_2026-01-31_23:59:59.123456.pt": names in the order of their times (UTC).
[[nodiscard]] inline std::string checkpoint_name(WallTime time) {
  const auto micros = static_cast<std::int64_t>(std::floor(time.seconds * 1e6));
  const std::time_t seconds = micros / 1'000'000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  const std::size_t size = std::strftime(text, sizeof text, "checkpoint_%Y-%m-%d_%H:%M:%S", &parts);
  std::snprintf(text + size, sizeof text - size, ".%06d.pt", static_cast<int>(micros % 1'000'000));
  return text;
}

/// Whether a file's name is "checkpoint_<time>.pt", Hivemind's or ours, with or without a fraction and a number, and
/// not a name that a user has given.
[[nodiscard]] inline bool is_checkpoint_name(std::string_view name) noexcept {
  constexpr std::string_view form = "checkpoint_0000-00-00?00:00:00";  // 0: a digit, ?: anything
  if (name.size() < form.size() || !name.ends_with(".pt")) return false;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] == '0' ? !is_digit(name[i]) : form[i] != '?' && form[i] != name[i]) return false;
  }
  name.remove_prefix(form.size());
  for (const auto& [begins, most] : {std::pair{'.', 6}, {'_', 6}}) {
    if (name.size() < 2 || name[0] != begins || !is_digit(name[1])) continue;
    name.remove_prefix(1);
    for (int i = 0; i < most && is_digit(name.front()); ++i) name.remove_prefix(1);
  }
  return name == ".pt";
}
/// A name that is sorted behind another of that form: the same time with a number, or the next number.
[[nodiscard]] inline std::string name_after(std::string_view name) {
  name.remove_suffix(std::string_view(".pt").size());
  constexpr std::size_t digits = 6;
  int number = 0;
  if (name.size() > digits && name[name.size() - digits - 1] == '_') {
    const std::string_view last = name.substr(name.size() - digits);
    const auto [end, error] = std::from_chars(last.data(), last.data() + digits, number);
    if (error == std::errc() && end == last.data() + digits) {
      name.remove_suffix(digits + 1);
    } else {
      number = 0;
    }
  }
  char text[16];
  std::snprintf(text, sizeof text, "_%06d.pt", number + 1);
  return std::string(name) + text;
}

}  // namespace detail

/// Whether a uid can name a folder: it leads nowhere else, and the file system takes it.
[[nodiscard]] inline bool names_folder(std::string_view uid) noexcept {
  return is_valid_uid(uid) && uid.size() <= 255 && uid.find('/') == std::string_view::npos &&
         uid.find('\0') == std::string_view::npos;
}

/// The folder `<directory>/<uid>`, laid out as Hivemind's: "checkpoint_<time>.pt", oldest first by name, and
/// "checkpoint_last.pt", another name of the newest. A file appears under its name when the disk has all of it.
class CheckpointFolder {
 public:
  static constexpr std::string_view last_name = "checkpoint_last.pt";

  /// Throws errc::invalid_argument for a uid that cannot name a folder.
  CheckpointFolder(const std::filesystem::path& directory, const std::string& uid) : path_(directory / uid) {
    if (names_folder(uid)) return;
    throw Error(errc::invalid_argument,
                "expert \"" + printable(uid) + "\" cannot be saved: its uid cannot be the name of a folder");
  }

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  /// Writes a checkpoint and removes the oldest ones above `keep`. Throws Error with the reason of the system; what was
  /// there before is then still there.
  void write(BytesView contents, WallTime now, std::size_t keep) const {
    std::filesystem::create_directories(path_);
    const auto fresh = path_ / "checkpoint.tmp";  // what a killed process left of it is overwritten
    {
      detail::OpenFile file(fresh, O_WRONLY | O_CREAT | O_TRUNC);
      file.write(contents);
      file.sync();
    }
    const auto earlier = dated();
    std::string name = detail::checkpoint_name(now);
    if (!earlier.empty() && name <= earlier.back())
      name = detail::name_after(earlier.back());  // the clock was set back
    std::filesystem::rename(fresh, path_ / name);
    name_last(name);
    detail::OpenFile(path_, O_RDONLY | O_DIRECTORY).sync();
    const std::size_t surplus = earlier.size() + 1 - std::min(earlier.size() + 1, std::max<std::size_t>(keep, 1));
    for (std::size_t i = 0; i < surplus; ++i) std::filesystem::remove(path_ / earlier[i]);
  }

  /// Where to look for a checkpoint, the best first: the last one, then from the newest to the oldest.
  [[nodiscard]] std::vector<std::filesystem::path> candidates() const {
    std::vector<std::filesystem::path> files;
    if (std::filesystem::exists(path_ / last_name)) files.push_back(path_ / last_name);
    const auto names = dated();
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      std::error_code ignored;
      if (!files.empty() && std::filesystem::equivalent(files.front(), path_ / *name, ignored)) continue;
      files.push_back(path_ / *name);
    }
    return files;
  }

  /// A file's bytes. Throws Error when it cannot be read.
  [[nodiscard]] static Bytes read(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary | std::ios::ate);
    Bytes bytes(in ? static_cast<std::size_t>(in.tellg()) : 0);
    in.seekg(0);
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!in) throw Error(std::make_error_code(std::errc::io_error), file.string() + " cannot be read");
    return bytes;
  }

 private:
  /// The names of the dated files, oldest first.
  [[nodiscard]] std::vector<std::string> dated() const {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(path_, none)) {
      std::string name = entry.path().filename().string();
      if (detail::is_checkpoint_name(name)) names.push_back(std::move(name));
    }
    std::ranges::sort(names);
    return names;
  }
  /// Makes "checkpoint_last.pt" another name of the file, or where that cannot be a copy.
  void name_last(const std::string& name) const {
    const auto fresh = path_ / "checkpoint_last.tmp";
    std::error_code failed;
    std::filesystem::remove(fresh, failed);
    std::filesystem::create_hard_link(path_ / name, fresh, failed);
    if (failed) {
      std::filesystem::copy_file(path_ / name, fresh);
      detail::OpenFile(fresh, O_WRONLY).sync();
    }
    std::filesystem::rename(fresh, path_ / last_name);
  }

  std::filesystem::path path_;
};

}  // namespace skep::inline v0::moe

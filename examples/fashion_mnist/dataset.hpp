// Reads the Fashion-MNIST pictures of Debian's package dataset-fashion-mnist into tensors.
#pragma once

#include <zlib.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "skep/core/error.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace example {

inline constexpr std::array<std::string_view, 10> class_names = {"T-shirt", "Trouser", "Pullover", "Dress", "Coat",
                                                                 "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Boot"};

/// Pictures and their classes: float32 [n, 28, 28] with values in [0, 1], int64 [n] with values in [0, 10).
struct Pictures {
  torch::Tensor images;
  torch::Tensor labels;

  [[nodiscard]] std::int64_t size() const { return labels.size(0); }
};

namespace detail {

/// Reads a gzip file in the IDX format (bytes only); the magic number, the sizes and the end are checked.
inline torch::Tensor read_idx(const std::filesystem::path& path, std::int64_t dimensions) {
  const auto fail = [&](const std::string& why) -> skep::Error {
    return {skep::make_error_code(skep::errc::not_found),
            "cannot read the data set file " + path.string() + ": " + why +
                "; install it with: apt-get install dataset-fashion-mnist"};
  };
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw fail("no such file");
  const auto read_u32 = [&]() -> std::uint32_t {
    std::array<unsigned char, 4> b{};
    if (gzread(file.get(), b.data(), 4) != 4) throw fail("it ends within its header");
    return (std::uint32_t{b[0]} << 24) | (std::uint32_t{b[1]} << 16) | (std::uint32_t{b[2]} << 8) | b[3];
  };
  if (read_u32() != 0x800U + static_cast<std::uint32_t>(dimensions)) throw fail("it is not an IDX file of bytes");
  std::vector<std::int64_t> sizes;
  std::int64_t total = 1;
  for (std::int64_t d = 0; d < dimensions; ++d) {
    sizes.push_back(read_u32());
    if (sizes.back() > 1'000'000 || (total *= sizes.back()) > 1'000'000'000) throw fail("its sizes are too large");
  }
  auto bytes = torch::empty(sizes, torch::kUInt8);
  if (gzread(file.get(), bytes.data_ptr<std::uint8_t>(), static_cast<unsigned>(total)) != total) {
    throw fail("it ends before its last picture");
  }
  return bytes;
}

}  // namespace detail

/// @param part  "train" (60,000 pictures) or "t10k" (10,000)
inline Pictures load_pictures(const std::filesystem::path& folder, const std::string& part) {
  Pictures out{detail::read_idx(folder / (part + "-images-idx3-ubyte.gz"), 3).to(torch::kFloat32).div_(255),
               detail::read_idx(folder / (part + "-labels-idx1-ubyte.gz"), 1).to(torch::kInt64)};
  if (out.images.size(0) != out.labels.size(0)) {
    throw skep::Error(skep::make_error_code(skep::errc::malformed),
                      "the data set in " + folder.string() + " has " + std::to_string(out.images.size(0)) +
                          " pictures but " + std::to_string(out.labels.size(0)) + " labels; install it again");
  }
  return out;
}

}  // namespace example

// Archives as torch.save makes them: a zip file of a pickle and the storages of its tensors, with a seal of our own.
#pragma once

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/hash.hpp"
#include "skep/moe/tensor/pickle.hpp"
#include "skep/moe/tensor/torch.hpp"
#include "skep/moe/tensor/unpickle.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// The seal stands in the comment that ends a zip file: these words, then the SHA-256 of all that comes before it.
inline constexpr std::string_view seal_words = "skep sha256 ";
inline constexpr std::size_t seal_size = seal_words.size() + 64;

[[nodiscard]] inline std::string seal_of(BytesView sealed) {
  std::string seal(seal_words);
  for (const std::uint8_t byte : crypto::sha256(sealed)) {
    seal += "0123456789abcdef"[byte >> 4];
    seal += "0123456789abcdef"[byte & 15];
  }
  return seal;
}

/// Reads an archive that lies in memory.
class MemoryReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit MemoryReader(BytesView bytes) : bytes_(bytes) {}
  [[nodiscard]] std::size_t size() const override { return bytes_.size(); }
  std::size_t read(std::uint64_t position, void* to, std::size_t n, const char*) const override {
    if (position >= bytes_.size()) return 0;
    n = std::min(n, bytes_.size() - static_cast<std::size_t>(position));
    std::memcpy(to, bytes_.data() + position, n);
    return n;
  }

 private:
  BytesView bytes_;
};

}  // namespace detail

/// The bytes of a file that `torch.load` reads, sealed so that damage is seen: a zip of "data.pkl" and "data/0", ...,
/// as of torch.save, whose comment is "skep sha256 " and the digest, in hexadecimal, of everything before the comment.
/// Throws errc::invalid_argument for a value that cannot be pickled.
[[nodiscard]] inline Bytes encode_archive(const c10::IValue& value) {
  const Pickler pickled(value);
  Bytes file;
  caffe2::serialize::PyTorchStreamWriter writer([&file](const void* from, std::size_t n) {
    append(file, BytesView(static_cast<const std::uint8_t*>(from), n));
    return n;
  });
  writer.writeRecord("data.pkl", pickled.bytes().data(), pickled.bytes().size());
  std::size_t key = 0;
  for (const Tensor& storage : pickled.storages()) {
    writer.writeRecord("data/" + std::to_string(key++), storage.data_ptr(), storage.nbytes());
  }
  writer.writeEndOfFile();
  file[file.size() - 2] = static_cast<std::uint8_t>(detail::seal_size);  // the comment's length ends a zip file
  append(file, as_bytes(detail::seal_of(file)));
  return file;
}

/// The value of such a file, or of one that torch.save wrote for a state dictionary; those have no seal, and of them
/// only what a zip's directory shows is checked. @return errc::malformed for what is damaged or something else
[[nodiscard]] inline Result<c10::IValue> decode_archive(BytesView file) {
  const BytesView seal = file.last(std::min(file.size(), detail::seal_size));
  if (as_text(seal).starts_with(detail::seal_words) &&
      as_text(seal) != detail::seal_of(file.first(file.size() - seal.size()))) {
    return errc::malformed;
  }
  try {
    caffe2::serialize::PyTorchStreamReader reader(std::make_unique<detail::MemoryReader>(file));
    const auto record = [&reader](const std::string& name) -> Tensor {
      if (!reader.hasRecord(name)) return {};
      auto [data, size] = reader.getRecord(name);
      const auto owner = std::make_shared<at::DataPtr>(std::move(data));
      return at::from_blob(owner->get(), {static_cast<std::int64_t>(size)}, [owner](void*) {}, at::kByte);
    };
    const Tensor pickled = record("data.pkl");
    if (!pickled.defined()) return errc::malformed;
    const BytesView bytes(static_cast<const std::uint8_t*>(pickled.data_ptr()), pickled.nbytes());
    return Unpickler(bytes, [&](const std::string& key) { return record("data/" + key); }).read();
  } catch (const c10::Error&) {
    return errc::malformed;
  }
}

}  // namespace skep::inline v0::moe

#include "skep/p2p/identity.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::as_bytes;
using skep::Bytes;
using skep::BytesView;
using skep::codec::PublicKeyMessage;
using skep::p2p::Identity;
using skep::p2p::KeyType;
using skep_test::unhex;

namespace fs = std::filesystem;

namespace {

/// The key of the libp2p specification: the private message is its public one after the seed.
const std::string spec_private =
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
    "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
const std::string spec_public = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";

struct TemporaryDirectory {
  fs::path path = fs::temp_directory_path() / ("skep-identity-" + std::to_string(::getpid()));
  TemporaryDirectory() { fs::create_directories(path); }
  ~TemporaryDirectory() { fs::remove_all(path); }
};

std::string what(auto&& act) {
  try {
    act();
  } catch (const skep::Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("the specification's Ed25519 key has its id") {
  const auto identity = Identity::from_private_key_message(unhex(spec_private));
  REQUIRE(identity);
  CHECK(skep::to_hex(identity->public_key_message()) == spec_public);
  CHECK(identity->id().to_string() == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq");
  CHECK(skep::to_hex(identity->private_key_message()) == spec_private);
  CHECK(skep::p2p::verify(unhex(spec_public), as_bytes("text"), identity->sign(as_bytes("text"))));
  CHECK(!skep::p2p::verify(unhex(spec_public), as_bytes("text"), identity->sign(as_bytes("test"))));
}

TEST_CASE("an Ed25519 key file may repeat the public key, but not another one") {
  Bytes message = unhex(spec_private);
  message.insert(message.end(), message.end() - 32, message.end());
  message[3] = 96;
  REQUIRE(Identity::from_private_key_message(message));
  message.back() ^= 1;
  CHECK(Identity::from_private_key_message(message).error() == skep::errc::malformed);
}

TEST_CASE("A0.5 an identity file of Hivemind is read, and signs as it") {
  const auto vector = skep_test::vector_of("identity", "rsa_peer");
  const Bytes file = unhex(vector["identity_file"].get<std::string>());
  const auto identity = Identity::from_private_key_message(file);
  REQUIRE(identity);
  CHECK(identity->id().to_string() == vector["text"].get<std::string>());
  CHECK(skep::to_hex(identity->public_key_message()) == vector["public_message"].get<std::string>());
  CHECK(identity->private_key_message() == file);
  CHECK(skep::p2p::verify(identity->public_key_message(), as_bytes("text"), identity->sign(as_bytes("text"))));
}

TEST_CASE("a Noise payload signed by a live RSA peer verifies") {
  const auto vector = skep_test::vector_of("identity", "rsa_peer");
  const auto payload = skep::codec::NoiseHandshakePayload::decode(unhex(vector["noise_payload"].get<std::string>()));
  REQUIRE(payload);
  Bytes signed_bytes = skep::to_bytes("noise-libp2p-static-key:");
  skep::append(signed_bytes, unhex(vector["noise_static_public"].get<std::string>()));
  CHECK(skep::p2p::verify(payload->identity_key, signed_bytes, payload->identity_sig));
  signed_bytes.back() ^= 1;
  CHECK(!skep::p2p::verify(payload->identity_key, signed_bytes, payload->identity_sig));
}

TEST_CASE("other key types are verified by their type") {
  const Bytes signature = unhex(
      "30440220194a2d5294e059f719d316ee137c492574e104b1a089f0ec00640185a72f09b602203bda7922568586cdfa8cd5046e7c0daa1b75"
      "fd"
      "748300e9b482cae71406188b31");
  PublicKeyMessage key{KeyType::secp256k1, unhex("039377c312145a5afb911bf9e8c067bcf6094c533603687850df502b61290bbf5e")};
  CHECK(skep::p2p::verify(key.encode(), as_bytes("a message"), signature));
  for (const KeyType type : {KeyType::rsa, KeyType::ed25519, KeyType::ecdsa}) {
    key.type = type;
    CHECK(!skep::p2p::verify(key.encode(), as_bytes("a message"), signature));
  }
  CHECK(!skep::p2p::verify({}, as_bytes("a message"), signature));
  CHECK(!skep::p2p::verify(unhex("0807120100"), {}, signature));
}

TEST_CASE("what is no private key is refused") {
  CHECK(Identity::from_private_key_message({}).error() == skep::errc::malformed);
  CHECK(Identity::from_private_key_message(unhex("0801120100")).error() == skep::errc::malformed);
  CHECK(Identity::from_private_key_message(unhex("0800120100")).error() == skep::errc::malformed);
  CHECK(Identity::from_private_key_message(unhex("0802120100")).error() == skep::errc::invalid_argument);
  const Bytes good = unhex(spec_private);
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK(!Identity::from_private_key_message(BytesView(good).first(size)));
  }
}

TEST_CASE("generated identities differ, the same seed gives the same") {
  CHECK(Identity::generate().id() != Identity::generate().id());
  skep::crypto::Secret<32> seed;
  seed.writable()[0] = 1;
  CHECK(Identity::from_seed(seed).id() == Identity::from_seed(seed).id());
  CHECK(what([] { (void)Identity::generate(KeyType::ecdsa); }) == "skep: an identity key is made as Ed25519 or RSA");
}

TEST_CASE("A0.5 a key file is written once, readable by its owner alone, and gives the same id again") {
  const TemporaryDirectory directory;
  for (const KeyType type : {KeyType::ed25519, KeyType::rsa}) {
    const fs::path path = directory.path / (type == KeyType::rsa ? "rsa.key" : "ed25519.key");
    const Identity first = Identity::load_or_generate(path, type);
    CHECK(fs::status(path).permissions() == fs::perms::owner_read);
    CHECK(Identity::load_or_generate(path, type).id() == first.id());
    CHECK(Identity::load(path).public_key_message().size() == (type == KeyType::rsa ? 299 : 36));
    CHECK(what([&] { Identity::generate().save(path); }) ==
          "skep: cannot write the identity file \"" + path.string() + "\": File exists");
    CHECK(Identity::load(path).id() == first.id());
  }
}

TEST_CASE("A0.5 an error about a key file names the file and the reason") {
  const TemporaryDirectory directory;
  const fs::path missing = directory.path / "missing" / "key";
  CHECK(what([&] { (void)Identity::load_or_generate(missing); }) ==
        "skep: the directory \"" + missing.parent_path().string() + "\" for the identity file does not exist");
  CHECK(what([&] { (void)Identity::load(missing); }) ==
        "skep: cannot read the identity file \"" + missing.string() + "\": No such file or directory");

  const fs::path garbage = directory.path / "garbage";
  std::ofstream(garbage) << "-----BEGIN PRIVATE KEY-----";
  CHECK(what([&] { (void)Identity::load_or_generate(garbage); }) ==
        "skep: the identity file \"" + garbage.string() +
            "\" does not hold a libp2p private key of type Ed25519 or RSA: malformed bytes");
  CHECK(what([&] { (void)Identity::load(directory.path); }) ==
        "skep: cannot read the identity file \"" + directory.path.string() + "\": Is a directory");

  const fs::path huge = directory.path / "huge";
  std::ofstream(huge) << std::string(1'000'000, 'x');
  CHECK(what([&] { (void)Identity::load(huge); }).find("does not hold a libp2p private key") != std::string::npos);
}

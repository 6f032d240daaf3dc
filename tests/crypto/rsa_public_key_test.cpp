#include "skep/crypto/rsa_public_key.hpp"

#include <doctest/doctest.h>

#include <string>

#include "support/vectors.hpp"

using namespace skep;
using crypto::RsaPrivateKey;
using crypto::RsaPublicKey;

namespace {
std::string owner_of(const std::string& tag) {  // "[owner:ssh-rsa AAAA...]"
  return tag.substr(7, tag.size() - 8);
}
}  // namespace

TEST_CASE("A9.1 keys in OpenSSH's text are those that Hivemind writes, and come back as they were") {
  const Bytes tag = skep_test::vector_bytes("dht", "signed_by_hivemind", "owner");
  const std::string text = owner_of(std::string(as_text(tag)));
  const auto key = RsaPublicKey::from_openssh(text);
  REQUIRE(key);
  CHECK(key->to_openssh() == text);
  CHECK(RsaPublicKey::from_openssh(text + " me@here")->to_openssh() == text);

  const auto ours = RsaPrivateKey::from_pkcs1(skep_test::vector_bytes("dht", "signed_by_us", "private_key_der"));
  const std::string subkey(as_text(skep_test::vector_bytes("dht", "signed_by_us", "subkey")));
  CHECK(subkey.find("[owner:" + RsaPublicKey(*ours).to_openssh() + "]") != std::string::npos);
}

TEST_CASE("A9.1 signatures are PSS with the longest salt: ours verify, others' lengths and bits do not") {
  const RsaPrivateKey& key = RsaPrivateKey::process_wide();
  const RsaPublicKey owner(RsaPrivateKey::process_wide());
  const Bytes signature = key.sign_pss(as_bytes("a message"));
  CHECK(signature.size() == 256);
  CHECK(owner.verify_pss(as_bytes("a message"), signature));
  CHECK(owner.verify_pss(as_bytes("a message"), key.sign_pss(as_bytes("a message"))));
  CHECK_FALSE(owner.verify_pss(as_bytes("another"), signature));
  CHECK_FALSE(owner.verify_pss(as_bytes("a message"), key.sign(as_bytes("a message"))));
  Bytes altered = signature;
  altered[7] ^= 1;
  CHECK_FALSE(owner.verify_pss(as_bytes("a message"), altered));
  CHECK_FALSE(owner.verify_pss(as_bytes("a message"), BytesView(signature).first(255)));
  CHECK_FALSE(owner.verify_pss(as_bytes("a message"), {}));
}

TEST_CASE("what is no RSA key in OpenSSH's text is refused") {
  const std::string good = RsaPublicKey(RsaPrivateKey::process_wide()).to_openssh();
  CHECK(good.size() == 380);
  for (std::size_t size = 0; size < good.size(); size += 7) {
    CHECK_FALSE(RsaPublicKey::from_openssh(good.substr(0, size)));
  }
  const std::string one_more = good.substr(8);
  for (const std::string& text :
       {std::string("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="), "ssh-rsa" + one_more, "ssh-rsa  " + one_more,
        "ssh-rsa " + one_more + "AAAA", std::string("ssh-rsa ") + std::string(100'000, 'A'), std::string("ssh-rsa ")}) {
    CHECK_FALSE(RsaPublicKey::from_openssh(text));
  }
  const auto key_of = [](const Bytes& exponent, const Bytes& modulus) {
    Bytes blob;
    for (const Bytes& part : {to_bytes("ssh-rsa"), exponent, modulus}) {
      for (const int shift : {24, 16, 8, 0}) blob.push_back(static_cast<std::uint8_t>(part.size() >> shift));
      append(blob, part);
    }
    return RsaPublicKey::from_openssh("ssh-rsa " + crypto::base64(blob)).error();
  };
  const auto odd = [](std::size_t size) { return Bytes(size, 0xff); };
  CHECK(key_of({1, 0, 1}, odd(256)) == std::error_code());
  CHECK(key_of({1, 0, 1}, odd(128)) == errc::limit_exceeded);  // 1024 bits
  CHECK(key_of({1, 0, 1}, odd(1025)) == errc::limit_exceeded);
  CHECK(key_of(odd(9), odd(256)) == errc::limit_exceeded);
  CHECK(key_of({1}, odd(256)) == errc::malformed);
  CHECK(key_of({1, 0, 0}, odd(256)) == errc::malformed);
  CHECK(key_of({}, {}) == errc::malformed);
}

#include "skep/crypto/ecdsa.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::as_bytes;
using skep::Bytes;
using skep::crypto::ecdsa_verify;
using skep::crypto::secp256k1_verify;
using skep_test::unhex;

// signatures of "a message" by an independent library

TEST_CASE("secp256k1 signatures verify") {
  const Bytes key = unhex("039377c312145a5afb911bf9e8c067bcf6094c533603687850df502b61290bbf5e");
  Bytes signature = unhex(
      "30440220194a2d5294e059f719d316ee137c492574e104b1a089f0ec00640185a72f09b602203bda7922568586cdfa8cd5046e7c0daa1b75"
      "fd"
      "748300e9b482cae71406188b31");
  CHECK(secp256k1_verify(key, as_bytes("a message"), signature));
  CHECK(!secp256k1_verify(key, as_bytes("another message"), signature));
  CHECK(!secp256k1_verify(Bytes(33, 2), as_bytes("a message"), signature));
  CHECK(!secp256k1_verify(Bytes(33, 0xff), as_bytes("a message"), signature));
  CHECK(!secp256k1_verify({}, as_bytes("a message"), signature));
  CHECK(!secp256k1_verify(key, as_bytes("a message"), {}));
  signature.back() ^= 1;
  CHECK(!secp256k1_verify(key, as_bytes("a message"), signature));
}

TEST_CASE("ECDSA signatures on the NIST curves verify") {
  const Bytes p256 = unhex(
      "3059301306072a8648ce3d020106082a8648ce3d03010703420004f9ebe464147cc102d92324d099d927c1a50e42d57a08a116ffec0a2981"
      "9d"
      "8c6570baf7d12888902a6a0c1d67add103123c859ab69bf8e9431c9384930d4b7eee");
  const Bytes p256_signature = unhex(
      "304502203349194bcaf8d5c000f91511e7f608fc8744da9170743f6f58531411bdf7fdc1022100d36139c5d4507ebeebc9a1bdde589b6a02"
      "13"
      "ef0f591e08a5b50609a533cdc921");
  const Bytes p384 = unhex(
      "3076301006072a8648ce3d020106052b8104002203620004bfd152465458e5b9f1a903eafef03095ebfd52c5f9ea97be74de9194355fcfb4"
      "0e"
      "c097315adf6afdefba21f44b625b4817058eff9a1ad175a4675e9c730cb028ec76aec544f7a56d58164d8cfc0402b489c4e74c918dc3a77f"
      "5c"
      "219d31b8e245");
  const Bytes p384_signature = unhex(
      "3065023010d2c9b160329e2c095cdcd2943bc0f582bc380766970b3a755915dcca0d96a4c89991bc31e83abdd028319764df328602310085"
      "53"
      "12e90cdb1ca8b8a556ef6f9de389096243b556e3271ad67dd66e6e3bb741cd282dc7d0b7a15ed87c71fb75f55e84");
  CHECK(ecdsa_verify(p256, as_bytes("a message"), p256_signature));
  CHECK(ecdsa_verify(p384, as_bytes("a message"), p384_signature));
  CHECK(!ecdsa_verify(p256, as_bytes("a message"), p384_signature));
  CHECK(!ecdsa_verify(p256, as_bytes("another message"), p256_signature));
  for (std::size_t size = 0; size < p256.size(); ++size) {
    CHECK(!ecdsa_verify(skep::BytesView(p256).first(size), as_bytes("a message"), p256_signature));
  }
}

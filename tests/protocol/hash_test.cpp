#include "protocol/hash.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace parley;

namespace {

/// Bytes 0, 1, 2, …: what a token is made of can be read off.
class counting_random final : public random_source {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& b : out) b = next_++;
  }

 private:
  std::uint8_t next_ = 0;
};

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (const auto b : bytes) {
    text += "0123456789abcdef"[b >> 4U];
    text += "0123456789abcdef"[b & 15U];
  }
  return text;
}

secret_key a_key(std::uint8_t fill) {
  secret_key key;
  key.fill(fill);
  return key;
}

}  // namespace

TEST_SUITE("SPEC 3 digests and sealed secrets") {
  TEST_CASE("sha256 agrees with the vectors of FIPS 180-4") {
    struct row {
      std::string input;
      std::string_view digest;
    };
    const std::vector<row> rows = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {std::string(1'000'000, 'a'),
         "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (const row& r : rows) CHECK(hex(sha256(r.input)) == r.digest);
  }

  TEST_CASE("hash128 is the first half of the sha256") {
    CHECK(hex(hash128_of("abc").bytes) == "ba7816bf8f01cfea414140de5dae2223");
  }

  TEST_CASE("threads hash at once without disturbing each other") {
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (std::size_t t = 0; t < wrong.size(); ++t) {
      threads.emplace_back([&wrong, t] {
        const std::string text(100 + t, static_cast<char>('a' + t));
        const auto expected = sha256(text);
        for (int i = 0; i < 500; ++i) wrong[t] += sha256(text) == expected ? 0 : 1;
      });
    }
    for (auto& t : threads) t.join();
    CHECK(wrong == std::vector<int>(4, 0));
  }

  TEST_CASE("a sealed secret is read back with its key and context") {
    for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 1000U}) {
      const std::string plain(size, 'x');
      const std::string sealed = seal(a_key(1), plain, "tenant_1/jwt", system_random());
      CHECK(sealed.size() == 12 + size + 16);
      const auto back = unseal(a_key(1), sealed, "tenant_1/jwt");
      REQUIRE(back);
      CHECK(*back == plain);
    }
  }

  TEST_CASE("the form is nonce, ciphertext, tag of AES-256-GCM") {
    // Test case 16 of the GCM specification: key, 12-byte nonce, additional data, 60 bytes of plain text.
    class fixed_nonce final : public random_source {
     public:
      void fill(std::span<std::uint8_t> out) override {
        const std::uint8_t nonce[] = {0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce,
                                      0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88};
        REQUIRE(out.size() == sizeof nonce);
        std::memcpy(out.data(), nonce, sizeof nonce);
      }
    };
    const auto bytes = [](std::string_view text) {
      std::string out;
      for (std::size_t i = 0; i < text.size(); i += 2) {
        out += static_cast<char>(std::stoi(std::string{text.substr(i, 2)}, nullptr, 16));
      }
      return out;
    };
    secret_key key;
    const std::string key_bytes =
        bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    std::memcpy(key.data(), key_bytes.data(), key.size());
    const std::string plain = bytes(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449"
        "a6b525"
        "b16aedf5aa0de657ba637b39");
    fixed_nonce random;
    const std::string sealed =
        seal(key, plain, bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2"), random);
    CHECK(sealed == bytes("cafebabefacedbaddecaf888"
                          "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48"
                          "590dbb3da7b08b1056828838"
                          "c5f61e6393ba7a0abcc9f662"
                          "76fc6ece0f4e1768cddf8853bb2d551b"));
  }

  TEST_CASE("another key, another context or a changed byte unseals nothing") {
    const std::string sealed = seal(a_key(1), "secret", "a", system_random());
    CHECK_FALSE(unseal(a_key(2), sealed, "a"));
    CHECK_FALSE(unseal(a_key(1), sealed, "b"));
    CHECK_FALSE(unseal(a_key(1), "", "a"));
    for (std::size_t i = 0; i < sealed.size(); ++i) {
      std::string changed = sealed;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      CHECK_FALSE(unseal(a_key(1), changed, "a"));
      CHECK_FALSE(unseal(a_key(1), std::string_view{sealed}.substr(0, i), "a"));
    }
  }

  TEST_CASE("sealing the same twice gives different bytes") {
    CHECK(seal(a_key(1), "s", "c", system_random()) != seal(a_key(1), "s", "c", system_random()));
  }

  TEST_CASE("tokens are a prefix and base64url without padding") {
    counting_random random;
    CHECK(make_token("sk_", 3, random) == "sk_AAEC");
    CHECK(make_token("", 1, random) == "Aw");
    CHECK(make_token("", 2, random) == "BAU");
    CHECK(make_token("wst_", 0, random) == "wst_");
    CHECK(make_token("sk_", 32, system_random()).size() == 3 + 43);
    counting_random other;
    CHECK(make_hex(4, other) == "00010203");
  }

  TEST_CASE("a thousand tokens are a thousand different ones") {
    std::set<std::string> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(make_token("sk_", 32, system_random()));
    CHECK(seen.size() == 1000);
  }

  TEST_CASE("secrets are equal only when all bytes are") {
    CHECK(equal_secret("", ""));
    CHECK(equal_secret("abc", "abc"));
    CHECK_FALSE(equal_secret("abc", "abd"));
    CHECK_FALSE(equal_secret("abc", "abcd"));
    CHECK_FALSE(equal_secret(std::string_view{"a\0b", 3}, std::string_view{"a\0c", 3}));
  }
}

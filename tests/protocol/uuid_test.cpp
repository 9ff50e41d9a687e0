#include "protocol/uuid.hpp"

#include "protocol/ids.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace parley;

namespace {

class scripted_clock final : public clock {
 public:
  [[nodiscard]] utc_time now() const override { return from_unix_ms(ms); }
  [[nodiscard]] mono_time mono() const override { return {}; }
  std::int64_t ms = 1'764'109'824'123;
};

class constant_random final : public random_source {
 public:
  explicit constant_random(std::uint8_t byte) : byte_(byte) {}
  void fill(std::span<std::uint8_t> out) override { std::fill(out.begin(), out.end(), byte_); }

 private:
  std::uint8_t byte_;
};

std::uint64_t milliseconds_of(const uuid& id) {
  std::uint64_t ms = 0;
  for (std::size_t i = 0; i < 6; ++i) ms = (ms << 8U) | id.bytes[i];
  return ms;
}

}  // namespace

TEST_SUITE("SPEC 8 message ids") {
  TEST_CASE("a new id is a version 7 UUID of the clock's millisecond") {
    scripted_clock now;
    constant_random random{0xff};
    uuid7_generator ids{now, random};
    const uuid id = ids.next();
    CHECK(milliseconds_of(id) == static_cast<std::uint64_t>(now.ms));
    CHECK((id.bytes[6] >> 4U) == 7);
    CHECK((id.bytes[8] >> 6U) == 2);
    CHECK(id.to_string() == "019abd23-b07b-77ff-bfff-ffffffffffff");
  }

  TEST_CASE("ids strictly increase while the clock stands still, more than 4,096 of them") {
    scripted_clock now;
    constant_random random{0x00};
    uuid7_generator ids{now, random};
    uuid last = ids.next();
    for (int i = 0; i < 10'000; ++i) {
      const uuid id = ids.next();
      REQUIRE(id > last);
      REQUIRE((id.bytes[6] >> 4U) == 7);
      last = id;
    }
  }

  TEST_CASE("ids strictly increase when the clock goes back") {
    tests::for_each_seed(50, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      scripted_clock now;
      uuid7_generator ids{now, system_random()};
      uuid last;
      for (int i = 0; i < 500; ++i) {
        now.ms += static_cast<std::int64_t>(dice() % 7) - 3;
        const uuid id = ids.next();
        REQUIRE(id > last);
        last = id;
      }
    });
  }

  TEST_CASE("a clock before 1970 makes ids all the same") {
    scripted_clock now;
    now.ms = -5;
    uuid7_generator ids{now, system_random()};
    const uuid first = ids.next();
    CHECK(milliseconds_of(first) == 0);
    CHECK(ids.next() > first);
  }

  TEST_CASE("two generators at the same moment never make the same id") {
    scripted_clock now;
    uuid7_generator a{now, system_random()};
    uuid7_generator b{now, system_random()};
    std::set<uuid> seen;
    for (int i = 0; i < 1000; ++i) {
      CHECK(seen.insert(a.next()).second);
      CHECK(seen.insert(b.next()).second);
    }
  }
}

TEST_SUITE("SPEC 2.7 ids have one spelling") {
  TEST_CASE("the canonical form reads back") {
    tests::for_each_seed(500, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      uuid id;
      for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(dice());
      const std::string text = id.to_string();
      REQUIRE(text.size() == 36);
      REQUIRE(uuid::parse(text) == id);
    });
  }

  TEST_CASE("each byte stands at its place") {
    const auto id = uuid::parse("00112233-4455-6677-8899-aabbccddeeff");
    REQUIRE(id);
    for (std::size_t i = 0; i < 16; ++i) CHECK(id->bytes[i] == 0x11 * i);
    CHECK(id->to_string() == "00112233-4455-6677-8899-aabbccddeeff");
  }

  TEST_CASE("anything but the canonical form is no id") {
    const std::string good = "00112233-4455-6677-8899-aabbccddeeff";
    const std::vector<std::string> bad = {
        "",
        "00112233445566778899aabbccddeeff",
        "00112233-4455-6677-8899-AABBCCDDEEFF",
        "{0112233-4455-6677-8899-aabbccddeef}",
        good + "0",
        good.substr(1),
        "00112233-4455-6677-88990aabbccddeeff",
        "001122330-455-6677-8899-aabbccddeeff",
    };
    for (const auto& text : bad) {
      INFO(text);
      CHECK_FALSE(uuid::parse(text));
    }
  }

  TEST_CASE("at every digit's place exactly the sixteen lower-case digits are read") {
    const std::string good = "00112233-4455-6677-8899-aabbccddeeff";
    for (std::size_t place = 0; place < good.size(); ++place) {
      if (good[place] == '-') continue;
      int read = 0;
      for (int c = 0; c < 256; ++c) {
        std::string text = good;
        text[place] = static_cast<char>(c);
        if (const auto id = uuid::parse(text)) {
          ++read;
          REQUIRE(id->to_string() == text);
        }
      }
      CHECK(read == 16);
    }
  }

  TEST_CASE("room and message ids are read as UUIDs are") {
    CHECK(room_id::parse("00112233-4455-6677-8899-aabbccddeeff"));
    CHECK_FALSE(room_id::parse("lobby"));
    CHECK(message_id::parse("00112233-4455-6677-8899-aabbccddeeff"));
    CHECK_FALSE(message_id::parse("00112233-4455-6677-8899-AABBCCDDEEFF"));
  }
}

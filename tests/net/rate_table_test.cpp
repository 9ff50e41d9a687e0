#include "net/rate_table.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace std::chrono_literals;

namespace {

constexpr mono_time noon{12h};

std::string prefix(const char* address) {
  return std::string{prefix_of(boost::asio::ip::make_address(address)).view()};
}

}  // namespace

TEST_SUITE("DESIGN 11 rate buckets") {
  TEST_CASE("each key has its own bucket") {
    rate_table table{1024, system_random()};
    const gcra limit{10, 3};
    const auto ann = table.key_of(1, "ann");
    const auto bob = table.key_of(1, "bob");
    CHECK(table.admit_up_to(ann, limit, 5, noon).admitted == 3);
    CHECK(table.admit_up_to(bob, limit, 2, noon).admitted == 2);
    const auto refused = table.admit_up_to(ann, limit, 1, noon + 40ms);
    CHECK(refused.admitted == 0);
    CHECK(refused.wait == 60ms);
    table.give_back(ann, limit, 1);
    CHECK(table.admit_up_to(ann, limit, 2, noon + 40ms).admitted == 1);
    CHECK(table.evicted() == 0);
  }

  TEST_CASE("the same name in two spaces is two keys, and so is the one table's key in another") {
    rate_table table{1024, system_random()};
    CHECK(table.key_of(1, "ann") != table.key_of(2, "ann"));
    CHECK(table.key_of(1, "ann") == table.key_of(1, "ann"));
    const rate_table other{1024, system_random()};
    CHECK(table.key_of(1, "ann") != other.key_of(1, "ann"));
  }

  TEST_CASE("a rate of none takes no entry and refuses nothing") {
    rate_table table{1, system_random()};
    const gcra none{0, 1};
    for (int i = 0; i < 100'000; ++i)
      REQUIRE(table.admit_up_to(table.key_of(0, std::to_string(i)), none, 7, noon).admitted == 7);
    CHECK(table.evicted() == 0);
  }

  TEST_CASE("who owes nothing any more makes room, and loses nothing by it") {
    rate_table table{1024, system_random()};
    const gcra limit{10, 3};
    auto now = noon;
    for (int round = 0; round < 20; ++round, now += 100ms) {
      // 300 new ones each time: their 100 ms are over when the next 300 come.
      for (int i = 0; i < 300; ++i) {
        const auto key = table.key_of(round, std::to_string(i));
        REQUIRE(table.admit_up_to(key, limit, 1, now).admitted == 1);
      }
    }
    // A set of eight ways holds 2.3 of them on the average; more than eight in one are very rare.
    CHECK(table.evicted() <= 20);
  }

  TEST_CASE("whatever comes, the table does not grow, and who owes most stays") {
    rate_table table{1, system_random()};
    const auto entries = table.entries();
    const gcra limit{1, 1000};
    const auto flooder = table.key_of(0, "flooder");
    REQUIRE(table.admit_up_to(flooder, limit, 5000, noon).admitted == 1000);
    for (int i = 0; i < 100'000; ++i)
      REQUIRE(table.admit_up_to(table.key_of(1, std::to_string(i)), limit, 1, noon).admitted == 1);
    CHECK(table.evicted() == 100'000 - (entries - 1));
    CHECK(table.entries() == entries);
    CHECK(table.admit_up_to(flooder, limit, 1, noon).admitted == 0);
  }

  TEST_CASE("all threads together get what one would") {
    rate_table table{1024, system_random()};
    const gcra limit{1, 10'000};
    std::atomic<std::uint32_t> admitted{0};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          for (int i = 0; i < 5000; ++i)
            admitted += table.admit_up_to(table.key_of(0, "all"), limit, 1, noon).admitted;
        });
      }
    }
    CHECK(admitted == 10'000);
  }

  TEST_CASE("an address is one IPv4 address or 64 bits of IPv6") {
    CHECK(prefix("192.0.2.1") != prefix("192.0.2.2"));
    CHECK(prefix("::ffff:192.0.2.1") == prefix("192.0.2.1"));
    CHECK(prefix("2001:db8:1:2::1") == prefix("2001:db8:1:2:ffff::9"));
    CHECK(prefix("2001:db8:1:2::1") != prefix("2001:db8:1:3::1"));
    CHECK(prefix("0.0.0.0") != prefix("::"));
  }
}

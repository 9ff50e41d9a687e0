#include "net/tickets.hpp"

#include "tests/net/loopback.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <barrier>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::net;
using net::testing::manual_clock;
using net::testing::seeded_random;
using namespace std::chrono_literals;

namespace {

ticket_grant grant_for(std::int64_t tenant, std::string_view user) {
  return {tenant_no{tenant}, user_id{user}, key_id{"key_1"}, {}, {}};
}

}  // namespace

TEST_SUITE("SPEC 3 tickets") {
  TEST_CASE("a ticket lets in whom it was given for, with what the credential had, once") {
    ticket_book book{60s};
    manual_clock clock;
    seeded_random random;
    const ticket_grant asked{tenant_no{7}, user_id{"ann"}, key_id{"key_9"}, from_unix_ms(5000),
                             from_unix_ms(1000)};
    const auto ticket = book.issue(asked, clock.mono(), random);
    CHECK(ticket.starts_with("wst_"));
    CHECK(ticket.size() == 4 + 43);  // 256 bits
    CHECK(book.size() == 1);

    const auto granted = book.redeem(ticket, clock.mono());
    REQUIRE(granted);
    CHECK(granted->tenant == tenant_no{7});
    CHECK(granted->user == user_id{"ann"});
    CHECK(granted->key == key_id{"key_9"});
    CHECK(granted->expires_at == from_unix_ms(5000));
    CHECK(granted->issued_at == from_unix_ms(1000));
    CHECK(book.size() == 0);
    CHECK_FALSE(book.redeem(ticket, clock.mono()));
  }

  TEST_CASE("it lapses after its time, whether or not anybody looks") {
    ticket_book book{60s};
    manual_clock clock;
    seeded_random random;
    const auto early = book.issue(grant_for(1, "ann"), clock.mono(), random);
    const auto late = book.issue(grant_for(1, "bob"), clock.mono(), random);
    clock.advance(59'999ms);
    CHECK(book.redeem(early, clock.mono()));
    clock.advance(1ms);
    CHECK_FALSE(book.redeem(late, clock.mono()));
    CHECK(book.size() == 0);

    for (int i = 0; i < 10; ++i) (void)book.issue(grant_for(1, "ann"), clock.mono(), random);
    clock.advance(60s);
    (void)book.issue(grant_for(2, "cat"), clock.mono(), random);
    CHECK(book.size() == 1);  // the others were swept
    CHECK(book.evicted() == 0);
  }

  TEST_CASE("whatever is no ticket is refused") {
    ticket_book book{60s};
    manual_clock clock;
    seeded_random random;
    const auto ticket = book.issue(grant_for(1, "ann"), clock.mono(), random);
    for (const auto& text :
         {std::string{}, std::string{"wst_"}, ticket.substr(4), ticket.substr(0, ticket.size() - 1),
          ticket + "A", " " + ticket, "WST_" + ticket.substr(4), "sk_" + ticket.substr(3),
          "wst_" + std::string(43, 'A'), std::string(1 << 20U, 'w')}) {
      CHECK_FALSE(book.redeem(text, clock.mono()));
    }
    CHECK(book.redeem(ticket, clock.mono()));
  }

  TEST_CASE("beyond the bound it is the tenant with the most that loses its oldest") {
    ticket_book book{60s, 10};
    manual_clock clock;
    seeded_random random;
    const auto quiet_one = book.issue(grant_for(1, "ann"), clock.mono(), random);
    const auto quiet_two = book.issue(grant_for(2, "ann"), clock.mono(), random);
    std::vector<std::string> greedy;
    for (int i = 0; i < 1000; ++i)
      greedy.push_back(book.issue(grant_for(3, "mal"), clock.mono(), random));
    CHECK(book.size() == 10);
    CHECK(book.evicted() == 992);
    const auto quiet_three = book.issue(grant_for(4, "ann"), clock.mono(), random);
    CHECK(book.size() == 10);
    for (const auto& ticket : {quiet_one, quiet_two, quiet_three})
      CHECK(book.redeem(ticket, clock.mono()));
    std::size_t good = 0;
    for (std::size_t i = 0; i < greedy.size(); ++i) {
      if (!book.redeem(greedy[i], clock.mono())) continue;
      ++good;
      CHECK(i >= greedy.size() - 7);  // the newest are left
    }
    CHECK(good == 7);
    CHECK(book.size() == 0);
  }

  TEST_CASE("when many come with one ticket at once, exactly one gets in") {
    constexpr int threads = 8;
    constexpr int rounds = 400;
    ticket_book book{60s};
    manual_clock clock;
    std::vector<std::string> tickets;
    for (int i = 0; i < rounds; ++i)
      tickets.push_back(
          book.issue(grant_for(1, "user" + std::to_string(i)), clock.mono(), system_random()));
    std::vector<std::atomic<int>> winners(rounds);
    std::atomic<int> wrong{0};
    std::barrier together{threads};
    std::vector<std::thread> crowd;
    for (int t = 0; t < threads; ++t) {
      crowd.emplace_back([&] {
        for (int i = 0; i < rounds; ++i) {
          together.arrive_and_wait();
          const auto granted = book.redeem(tickets[static_cast<std::size_t>(i)], clock.mono());
          if (!granted) continue;
          winners[static_cast<std::size_t>(i)].fetch_add(1);
          if (granted->user.value != "user" + std::to_string(i)) wrong.fetch_add(1);
        }
      });
    }
    for (auto& one : crowd) one.join();
    for (auto& n : winners) CHECK(n.load() == 1);
    CHECK(wrong.load() == 0);
    CHECK(book.size() == 0);
  }

  TEST_CASE("gateways issue and redeem at the same time, and none is lost or given twice") {
    constexpr int threads = 4;
    constexpr int each = 2000;
    ticket_book book{60s, 100'000};
    manual_clock clock;
    std::vector<std::vector<std::string>> issued(threads);
    std::atomic<int> redeemed{0};
    std::vector<std::thread> gateways;
    for (int t = 0; t < threads; ++t) {
      gateways.emplace_back([&, t] {
        auto& mine = issued[static_cast<std::size_t>(t)];
        for (int i = 0; i < each; ++i) {
          mine.push_back(book.issue(grant_for(t + 1, "ann"), clock.mono(), system_random()));
          if (i % 2 == 1 && book.redeem(mine[static_cast<std::size_t>(i / 2)], clock.mono()))
            redeemed.fetch_add(1);
        }
      });
    }
    for (auto& one : gateways) one.join();
    CHECK(redeemed.load() == threads * each / 2);
    CHECK(book.size() == static_cast<std::size_t>(threads * each / 2));
    std::set<std::string> all;
    for (const auto& mine : issued) all.insert(mine.begin(), mine.end());
    CHECK(all.size() == static_cast<std::size_t>(threads * each));
  }
}

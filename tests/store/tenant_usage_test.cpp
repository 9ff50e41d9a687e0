// What the operator is shown of tenants: counts that no big tenant makes slow, and of the checkpoints.

#include "tests/store/store_fixture.hpp"

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

struct two_tenants : store_fixture {
  two_tenants() {
    open();
    big = make_tenant("tenant_big");
    small = make_tenant("tenant_small");
    for (int n = 0; n < 5; ++n) last = make_room(big, {"ann"_user, "bob"_user, "cem"_user}).no;
    make_room(small, {"ann"_user});
  }
  tenant_usage_list usage(std::size_t limit, std::string_view cursor, std::int64_t count_max) {
    auto found = reads->tenant_usage(limit, cursor, count_max);
    REQUIRE(found);
    return std::move(*found);
  }
  tenant_no big;
  tenant_no small;
  room_no last;
};

}  // namespace

TEST_SUITE("SPEC 4 usage of tenants") {
  TEST_CASE_FIXTURE(two_tenants, "live rooms and named users are counted, each tenant's own") {
    const auto list = usage(10, "", 100);
    REQUIRE(list.tenants.size() == 2);
    CHECK(list.next_cursor.empty());
    CHECK(list.tenants[0].id == tenant_id{"tenant_big"});
    CHECK(list.tenants[0].no == big);
    CHECK(list.tenants[0].rooms == 5);
    CHECK(list.tenants[0].users == 3);
    CHECK_FALSE(list.tenants[0].disabled);
    CHECK(list.tenants[1].id == tenant_id{"tenant_small"});
    CHECK(list.tenants[1].rooms == 1);
    CHECK(list.tenants[1].users == 1);
  }

  TEST_CASE_FIXTURE(two_tenants, "a deleted room counts no more") {
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(big, last, time.now()));
    REQUIRE(writes().commit());
    CHECK(usage(10, "", 100).tenants[0].rooms == 4);
  }

  TEST_CASE_FIXTURE(two_tenants, "nothing is counted further than asked") {
    const auto list = usage(10, "", 2);
    CHECK(list.tenants[0].rooms == 2);
    CHECK(list.tenants[0].users == 2);
    CHECK(list.tenants[1].rooms == 1);
  }

  TEST_CASE_FIXTURE(two_tenants, "pages follow each other by cursor") {
    const auto first = usage(1, "", 100);
    REQUIRE(first.tenants.size() == 1);
    REQUIRE_FALSE(first.next_cursor.empty());
    const auto second = usage(1, first.next_cursor, 100);
    REQUIRE(second.tenants.size() == 1);
    CHECK(second.tenants[0].no == small);
    CHECK(second.next_cursor.empty());
    CHECK_FALSE(reads->tenant_usage(1, "damaged", 100));
  }
}

TEST_SUITE("SPEC 8 checkpoints") {
  TEST_CASE_FIXTURE(store_fixture, "each checkpoint is counted, with the writer's time in it") {
    options.checkpoint_pages = 50;
    open();
    const auto tenant = make_tenant();
    const auto room = make_room(tenant, {"ann"_user}).no;
    CHECK(writes().status().checkpoint_pieces == 0);
    for (std::int64_t seq = 1; seq <= 10; ++seq) {
      commit({message(tenant, room, seq, "ann", std::string(40'000, 'x'))});
      time.advance(std::chrono::milliseconds{10});
      REQUIRE(writes().maintain(time.mono(), time.now()));
    }
    const auto s = writes().status();
    CHECK(s.checkpoint_pieces >= 1);
    CHECK(s.checkpoint_restarts == 0);
    CHECK(s.checkpoints_busy == 0);
    // A clock that stands still within a checkpoint.
    CHECK(s.checkpoint_time == std::chrono::nanoseconds{0});
  }
}

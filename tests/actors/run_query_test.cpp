// The bounds that a query's answer has on a real store.

#include "tests/actors/words.hpp"
#include "tests/store/store_fixture.hpp"

#include <doctest/doctest.h>

#include <variant>

namespace parley::actors {

using namespace words;

TEST_SUITE("SPEC 5 presence: who hears of it") {
  TEST_CASE_FIXTURE(store::test::store_fixture,
                    "of a user in more rooms than the bound the readers of its dms come first") {
    open();
    const auto tenant = make_tenant();
    REQUIRE(writes().begin());
    for (std::size_t n = 0; n < limits::presence_max_rooms; ++n)
      REQUIRE(writes().create_room(a_room(tenant, {ann})));
    const auto dm = writes().create_room(a_room(tenant, {ann, bob}, room_type::dm));
    REQUIRE(dm);
    REQUIRE(writes().commit());
    const auto answer = run_query(*reads, audience_query{tenant, ann, 200});
    const auto* found = std::get_if<store::audience>(&answer);
    REQUIRE(found != nullptr);
    CHECK(found->rooms.size() == limits::presence_max_rooms);
    CHECK(found->dms == 1);
    CHECK(found->rooms.front() == dm->info.id);
  }
}

}  // namespace parley::actors

#include "protocol/limits.hpp"
#include "tests/store/store_fixture.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

namespace parley::store::test {

namespace {

class with_tenant : public store_fixture {
 public:
  with_tenant() {
    open();
    tenant = make_tenant();
  }
  void seen(const char* user, utc_time at, std::optional<tenant_no> of = {}) {
    REQUIRE(writes().begin());
    REQUIRE(writes().store_last_seen(of.value_or(tenant), user_id{user}, at));
    REQUIRE(writes().commit());
  }
  std::optional<utc_time> last_seen(const char* user) {
    const auto list = reads->presence(tenant, std::nullopt, {user_id{user}});
    REQUIRE(list);
    return list->users.at(0).last_seen;
  }
  std::vector<bool> visible(const char* self, const std::vector<user_id>& users) {
    const auto list = reads->presence(tenant, user_id{self}, users);
    REQUIRE(list);
    std::vector<bool> out;
    for (const auto& item : list->users) out.push_back(item.visible);
    return out;
  }
  /// `n` groups of each of these, in turn.
  void rooms_of(const std::vector<std::vector<user_id>>& members, std::size_t n) {
    REQUIRE(writes().begin());
    for (; n > 0; --n) {
      for (const auto& some : members) REQUIRE(writes().create_room(a_room(tenant, some)));
    }
    REQUIRE(writes().commit());
  }
  tenant_no tenant;
};

}  // namespace

TEST_SUITE("SPEC 5 presence: what the store knows") {
  TEST_CASE_FIXTURE(with_tenant, "last_seen only moves forward, and survives") {
    make_room(tenant, {"ann"_user, "bob"_user});
    CHECK(!last_seen("ann"));
    const auto noon = time.now();
    seen("ann", noon);
    CHECK(last_seen("ann") == noon);
    seen("ann", noon - std::chrono::milliseconds{5});
    CHECK(last_seen("ann") == noon);
    seen("ann", noon + std::chrono::milliseconds{5});
    CHECK(!last_seen("bob"));
    crash();
    open();
    CHECK(last_seen("ann") == noon + std::chrono::milliseconds{5});
    check_clean();
  }
  TEST_CASE_FIXTURE(with_tenant, "of a user whom nothing names nothing is stored") {
    seen("stranger", time.now());
    CHECK(!last_seen("stranger"));
    const auto other = make_tenant("tenant_2");
    make_room(tenant, {"ann"_user});
    seen("ann", time.now(), other);
    CHECK(!last_seen("ann"));
  }
  TEST_CASE_FIXTURE(with_tenant,
                    "visible is who shares a live dm or group; no channel, no deleted room") {
    const auto dm = make_room(tenant, {"ann"_user, "bob"_user}, room_type::dm);
    const auto group = make_room(tenant, {"ann"_user, "cyd"_user}, room_type::group);
    make_room(tenant, {"ann"_user, "dan"_user}, room_type::channel);
    const auto gone = make_room(tenant, {"ann"_user, "eve"_user}, room_type::group);
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, gone.no, time.now()));
    REQUIRE(writes().commit());
    seen("dan", time.now());
    const std::vector<user_id> all{"bob"_user, "cyd"_user, "dan"_user,
                                   "eve"_user, "ann"_user, "nobody"_user};
    CHECK(visible("ann", all) == std::vector{true, true, false, false, true, false});
    CHECK(visible("bob", all) == std::vector{true, false, false, false, true, false});
    CHECK(visible("nobody", all) == std::vector{false, false, false, false, false, true});
    const auto list = reads->presence(tenant, "ann"_user, {"dan"_user});
    CHECK(!list->users.at(0).last_seen);
    // The backend sees all; another tenant's nobody of these.
    const auto backend = reads->presence(tenant, std::nullopt, {"dan"_user});
    CHECK(backend->users.at(0).last_seen == time.now());
    const auto other = make_tenant("tenant_2");
    make_room(other, {"ann"_user, "bob"_user});
    CHECK(!reads->presence(other, std::nullopt, {"dan"_user})->users.at(0).last_seen);
    // Who has left shares nothing any more.
    commit({row(tenant, group.no, 1, member_left_body{{"cyd"_user}, leave_reason::left})});
    CHECK(visible("ann", {"cyd"_user}) == std::vector{false});
    static_cast<void>(dm);
  }
  TEST_CASE_FIXTURE(with_tenant,
                    "who is in very many rooms is compared with, and compares, alike") {
    make_room(tenant, {"ann"_user, "bob"_user}, room_type::channel);
    rooms_of({{"bob"_user}}, 500);
    const auto shared = make_room(tenant, {"ann"_user, "bob"_user});
    make_room(tenant, {"ann"_user, "cyd"_user});
    CHECK(visible("ann", {"bob"_user, "cyd"_user}) == std::vector{true, true});
    CHECK(visible("bob", {"ann"_user, "cyd"_user}) == std::vector{true, false});
    // Between ann's oldest and newest room lie those of bob alone: hers are looked up one by one.
    commit({row(tenant, shared.no, 1, member_left_body{{"bob"_user}, leave_reason::left})});
    CHECK(visible("ann", {"bob"_user, "cyd"_user}) == std::vector{false, true});
    CHECK(visible("bob", {"ann"_user}) == std::vector{false});
    commit({row(tenant, shared.no, 2, member_joined_body{{"bob"_user}, member_role::member})});
    CHECK(visible("ann", {"bob"_user}) == std::vector{true});
  }
  TEST_CASE_FIXTURE(with_tenant,
                    "people in thousands of rooms are answered in slices, all of them") {
    std::vector<user_id> crowd;
    for (int n = 0; n < 30; ++n) crowd.emplace_back("crowd" + std::to_string(n));
    rooms_of({{"ann"_user}, crowd}, 2000);
    make_room(tenant, {"ann"_user, crowd.back()});
    std::vector<bool> all;
    std::size_t slices = 0;
    while (all.size() < crowd.size()) {
      const auto rest =
          std::vector(crowd.begin() + static_cast<std::ptrdiff_t>(all.size()), crowd.end());
      const auto slice = visible("ann", rest);
      REQUIRE(!slice.empty());
      REQUIRE(slice.size() <= rest.size());
      all.insert(all.end(), slice.begin(), slice.end());
      ++slices;
    }
    CHECK(slices > 1);
    CHECK(slices < 10);
    auto expected = std::vector<bool>(crowd.size(), false);
    expected.back() = true;
    CHECK(all == expected);
  }
  TEST_CASE_FIXTURE(with_tenant, "of an asker in more rooms than the bound the newest count") {
    make_room(tenant, {"ann"_user, "bob"_user});
    make_room(tenant, {"ann"_user, "cyd"_user});
    rooms_of({{"ann"_user}}, limits::presence_max_rooms - 1);
    CHECK(visible("ann", {"cyd"_user, "bob"_user}) == std::vector{true, false});
    CHECK(visible("bob", {"ann"_user}) == std::vector{true});
  }
  TEST_CASE_FIXTURE(with_tenant, "an audience is the live dms and small groups, dms first") {
    const auto group = make_room(tenant, {"ann"_user, "bob"_user, "cyd"_user});
    make_room(tenant, {"ann"_user, "bob"_user, "cyd"_user, "dan"_user});
    make_room(tenant, {"ann"_user, "bob"_user}, room_type::channel);
    make_room(tenant, {"bob"_user, "cyd"_user});
    const auto dm = make_room(tenant, {"ann"_user, "bob"_user}, room_type::dm);
    const auto found = reads->audience(tenant, "ann"_user, 3, 100);
    REQUIRE(found);
    CHECK(found->rooms == std::vector{dm.info.id, group.info.id});
    CHECK(found->dms == 1);
    CHECK(reads->audience(tenant, "ann"_user, 3, 1)->rooms == std::vector{dm.info.id});
    CHECK(reads->audience(tenant, "ann"_user, 4, 100)->rooms.size() == 3);
    CHECK(reads->audience(tenant, "ann"_user, 1, 100)->rooms.empty());
    CHECK(reads->audience(tenant, "nobody"_user, 100, 100)->rooms.empty());
  }
  TEST_CASE_FIXTURE(with_tenant, "a cursor's answer counts the members of its own transaction") {
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    REQUIRE(writes().begin());
    REQUIRE(writes().append(
        row(tenant, room.no, 1, member_joined_body{{"cyd"_user}, member_role::member})));
    const auto moved = writes().move_cursor({tenant, "ann"_user, room.info.id, room_seq{1}, false});
    REQUIRE(moved);
    CHECK(moved->member_count == 3);
    REQUIRE(writes().commit());
  }
}

}  // namespace parley::store::test

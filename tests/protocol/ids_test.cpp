#include "protocol/ids.hpp"

#include "protocol/room_info.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace parley;

TEST_SUITE("SPEC 1 user ids") {
  TEST_CASE(
      "a user id is 1 to 128 bytes of UTF-8 without controls and without a space at either end") {
    struct row {
      std::string id;
      bool valid;
      const char* why;
    };
    const row rows[] = {
        {"", false, "empty"},
        {"a", true, "one byte"},
        {std::string(128, 'a'), true, "the longest"},
        {std::string(129, 'a'), false, "one too long"},
        {std::string(126, 'a') + "é", true, "bytes count, not characters: 128"},
        {std::string(127, 'a') + "é", false, "129 bytes, 128 characters"},
        {" a", false, "a space in front"},
        {"a ", false, "a space behind"},
        {" ", false, "only a space"},
        {"a b", true, "a space within"},
        {"a\nb", false, "a C0 control"},
        {std::string("a\0b", 3), false, "NUL"},
        {"a\x1f", false, "the last C0 control"},
        {"a\x7f", false, "DEL"},
        {"a\xc2\x80", false, "the first C1 control"},
        {"a\xc2\x9f", false, "the last C1 control"},
        {"a\xc2\xa0", true, "a no-break space is neither a control nor U+0020"},
        {"\xe2\x80\x83", true, "an em space is not U+0020"},
        {"алиса", true, "letters of any script"},
        {"a\xc3", false, "half a character"},
        {"\xc0\xaf", false, "an overlong form"},
        {"\xed\xa0\x80", false, "a surrogate"},
        {"a/b%2F..", true, "what means something in paths"},
    };
    for (const row& r : rows) {
      INFO(r.why);
      CHECK(is_valid_user_id(r.id) == r.valid);
    }
  }
}

TEST_SUITE("SPEC 1 words on the wire") {
  TEST_CASE("room types, roles and posting policies read back what they write") {
    for (const auto t : {room_type::dm, room_type::group, room_type::channel}) {
      CHECK(parse_room_type(to_text(t)) == t);
    }
    for (const auto r : {member_role::member, member_role::admin, member_role::owner}) {
      CHECK(parse_member_role(to_text(r)) == r);
    }
    for (const auto p : {posting_policy::all, posting_policy::admins}) {
      CHECK(parse_posting(to_text(p)) == p);
    }
  }

  TEST_CASE("words are read exactly") {
    CHECK_FALSE(parse_room_type("DM"));
    CHECK_FALSE(parse_room_type(""));
    CHECK_FALSE(parse_member_role("moderator"));
    CHECK_FALSE(parse_member_role(" admin"));
    CHECK_FALSE(parse_posting("none"));
  }

  TEST_CASE("every entry kind has its own text") {
    CHECK(to_text(entry_kind::message) == "message");
    CHECK(to_text(entry_kind::message_edited) == "message.edited");
    CHECK(to_text(entry_kind::message_deleted) == "message.deleted");
    CHECK(to_text(entry_kind::member_joined) == "member.joined");
    CHECK(to_text(entry_kind::member_left) == "member.left");
    CHECK(to_text(entry_kind::member_updated) == "member.updated");
    CHECK(to_text(entry_kind::room_updated) == "room.updated");
    CHECK(to_text(leave_reason::left) == "left");
    CHECK(to_text(leave_reason::removed) == "removed");
    CHECK(to_text(leave_reason::erased) == "erased");
  }
}

TEST_SUITE("SPEC 1 dm keys") {
  TEST_CASE("a dm's key is the same whoever is named first") {
    CHECK(dm_key(user_id{"bob"}, user_id{"alice"}) == dm_key(user_id{"alice"}, user_id{"bob"}));
  }

  TEST_CASE("no two pairs share a key, also when the ids hold separators") {
    CHECK(dm_key(user_id{"a:b"}, user_id{"c"}) != dm_key(user_id{"a"}, user_id{"b:c"}));
    CHECK(dm_key(user_id{"1:a"}, user_id{"b"}) != dm_key(user_id{"1"}, user_id{"a1:b"}));
    CHECK(dm_key(user_id{"a1:b"}, user_id{"c"}) != dm_key(user_id{"a"}, user_id{"b1:c"}));
  }

  TEST_CASE("the shown key is ChatAPI's, with % and : in ids escaped") {
    room_info dm;
    dm.type = room_type::dm;
    dm.dm_members = {user_id{"alice"}, user_id{"bob"}};
    CHECK(unique_key(dm) == "dm:alice:bob");
    dm.dm_members = {user_id{"50%"}, user_id{"x:y"}};
    CHECK(unique_key(dm) == "dm:50%25:x%3Ay");
  }

  TEST_CASE("rooms that are no dm have no shown key") { CHECK_FALSE(unique_key(room_info{})); }
}

#include "bench/frame_fields.hpp"

#include "bench/message_stamp.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>

using namespace parley::bench;

TEST_SUITE("bench: fields of a frame") {
  TEST_CASE("a message is read whatever the order of its fields and what else it holds") {
    const std::string frames[] = {
        R"({"type":"message","room_id":"r","seq":12,"actor_id":"u","created_at":"t","message_id":"m",)"
        R"("sender_id":"u","content":"a \"b\" \\","meta":{"seq":99,"x":["}",{"type":"no"}]},)"
        R"("client_msg_id":"0-1-2","reply_to":null})",
        R"( { "client_msg_id" : "0-1-2" , "meta" : [ 1 , "\"]" ] , "content" : "a \"b\" \\" ,
              "sender_id":"u","message_id":"m","created_at":"t","seq" : 12 ,"room_id":"r","type":"message" } )",
    };
    for (const auto& json : frames) {
      CAPTURE(json);
      frame_fields f;
      REQUIRE(read_fields(json, f));
      CHECK(f.type == "message");
      CHECK(f.room_id == "r");
      CHECK(f.seq == 12);
      CHECK(f.message_id == "m");
      CHECK(f.sender_id == "u");
      CHECK(f.created_at == "t");
      CHECK(f.content == R"(a \"b\" \\)");
      CHECK(f.client_msg_id == "0-1-2");
      CHECK_FALSE(f.is_duplicate);
    }
  }

  TEST_CASE("answers, errors and sync frames have their fields") {
    frame_fields f;
    REQUIRE(read_fields(R"({"type":"message.accepted","seq":1,"duplicate":true})", f));
    CHECK(f.is_duplicate);
    REQUIRE(read_fields(
        R"({"type":"error","code":"UNAVAILABLE","message":"no","retry_after_ms":250,"stored":"no"})",
        f));
    CHECK(f.code == "UNAVAILABLE");
    CHECK(f.message == "no");
    CHECK(f.stored == "no");
    CHECK(f.retry_after_ms == 250);
    CHECK_FALSE(f.is_duplicate);
    REQUIRE(read_fields(
        R"({"type":"sync.complete","outcome":"gap","from_seq":1,"to_seq":9,"seq":null})", f));
    CHECK(f.outcome == "gap");
    CHECK(f.from_seq == 1);
    CHECK(f.to_seq == 9);
    CHECK_FALSE(f.seq);
    REQUIRE(read_fields(R"({"type":"sync.start","rooms":{"a":1,"b":22}})", f));
    std::string_view rest = f.rooms;
    auto member = next_member(rest);
    REQUIRE(member);
    CHECK(member->key == "a");
    CHECK(read_number(member->value) == 1);
    member = next_member(rest);
    REQUIRE(member);
    CHECK(member->key == "b");
    CHECK(read_number(member->value) == 22);
    CHECK_FALSE(next_member(rest));
    REQUIRE(read_fields(R"({"type":"sync.done","rooms":2})", f));
    CHECK(read_number(f.rooms) == 2);
  }

  TEST_CASE("what is not one object is refused") {
    frame_fields f;
    for (const char* const json :
         {"", "null", "[]", "{", "{}x", R"({"type")", R"({"type":)", R"({"type":"a)",
          R"({"a":{"b":1})", R"({"type":"message","seq":1} {"type":"x"})", R"({"a" "b"})",
          R"({"a":,"b":1})", R"({"a":"\"})"}) {
      CAPTURE(json);
      CHECK_FALSE(read_fields(json, f));
    }
    CHECK(read_fields("{}", f));
    CHECK(f.type.empty());
  }

  TEST_CASE("torn and flipped frames never make it read past their end") {
    const std::string whole =
        R"({"type":"message","content":"a\\\"","seq":18446744073709551615,"meta":{"a":[1,"\"}"]}})";
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
      std::mt19937_64 random{seed};
      std::string torn = whole.substr(0, random() % (whole.size() + 1));
      if (!torn.empty()) torn[random() % torn.size()] = static_cast<char>(random());
      frame_fields f;
      (void)read_fields(torn, f);
    }
  }

  TEST_CASE("numbers beyond 64 bits, negative or broken ones are none") {
    for (const char* const raw : {"", "-1", "1.5", "1e3", "18446744073709551616", "null", "\"1\""}) {
      CAPTURE(raw);
      CHECK_FALSE(read_number(raw));
    }
    CHECK(read_number("18446744073709551615") == UINT64_MAX);
  }
}

TEST_SUITE("bench: stamps and contents") {
  TEST_CASE("a stamp comes back as it was written") {
    for (const message_stamp stamp : {message_stamp{0, 0, 0},
                                      {17999, 1234567, 987654321012345},
                                      {UINT32_MAX, UINT32_MAX, INT64_MAX}}) {
      std::string text;
      append_stamp(text, stamp);
      CHECK(read_stamp(text) == stamp);
    }
  }

  TEST_CASE("what is no stamp is not read as one") {
    for (const char* const text :
         {"", "1", "1-2", "1-2-", "-1-2-3", "1-2-3-4", "1-2-3 ", "x-1-2", "100000000-1-2"}) {
      CAPTURE(text);
      CHECK_FALSE(read_stamp(text));
    }
  }

  TEST_CASE("a content is recognised, and any other is not") {
    for (const std::size_t size : {1, 5, 6, 7, 100, 16384}) {
      CAPTURE(size);
      const content_pattern pattern{size};
      std::string content;
      pattern.append(content, "1-2-3a");
      CHECK(content.size() == size);
      CHECK(pattern.matches(content, "1-2-3a"));
      CHECK_FALSE(pattern.matches(content, "9-2-3a"));
      CHECK_FALSE(pattern.matches(content + " ", "1-2-3a"));
      content.back() = '#';
      CHECK_FALSE(pattern.matches(content, "1-2-3a"));
    }
  }
}

#include "protocol/server_frame.hpp"

#include "tests/protocol/random_json.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <random>
#include <string>
#include <vector>

using namespace parley;
using parley::tests::for_each_seed;
using parley::tests::random_json;

namespace {

const room_id lobby = *room_id::parse("01890a5d-ac96-774b-bcce-b302099a8057");
const message_id hello = *message_id::parse("01890a5d-ac96-7abc-8def-0123456789ab");
const message_id earlier = *message_id::parse("01890a5d-ac96-7abc-8def-000000000001");
constexpr utc_time noon = from_unix_ms(1'764'072'000'000);  // 2025-11-25T12:00:00.000Z
constexpr utc_time later = noon + std::chrono::milliseconds{1'001};

/// What a function appends, and that it appends: what was there stays.
template <class Append, class... Args>
std::string line(Append append, const Args&... args) {
  std::string out = "#";
  append(out, args...);
  REQUIRE(out.front() == '#');
  return out.substr(1);
}

std::string line_of(const entry& e, bool duplicate = false) {
  std::string out;
  append_entry(out, lobby, e, duplicate);
  return out;
}

entry entry_with(entry_body body) {
  return {.seq = room_seq{7},
          .message = hello,
          .actor = user_id{"ann"},
          .created_at = noon,
          .body = std::move(body)};
}

message_body a_message() { return {.sender = user_id{"ann"}, .content = "hi", .meta = {}}; }

const reply_refs asked{.request_id = "\"r1\"",
                       .client_msg_id = "c1",
                       .room_id = "01890a5d-ac96-774b-bcce-b302099a8057"};
const reply_refs unasked{};

room_info a_room() {
  room_info r;
  r.id = lobby;
  r.created_at = noon;
  r.updated_at = later;
  return r;
}

std::string json_string(std::string_view text) { return line(append_json_string, text); }

}  // namespace

TEST_SUITE("SPEC 1 log entries on the wire") {
  TEST_CASE("a message") {
    CHECK(line_of(entry_with(a_message())) ==
          R"({"type":"message","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"actor_id":"ann",)"
          R"("created_at":"2025-11-25T12:00:00.000Z","message_id":"01890a5d-ac96-7abc-8def-0123456789ab",)"
          R"("sender_id":"ann","content":"hi","meta":null})");
  }

  TEST_CASE("a message with everything, sent by the backend, edited and deleted") {
    message_body m = a_message();
    m.meta = json_text{R"({"a":[1,2.50]})"};
    m.reply_to = earlier;
    m.client_msg_id = "c\"1";
    m.edited_at = later;
    m.deleted_at = later;
    entry e = entry_with(m);
    e.actor.reset();
    CHECK(
        line_of(e, true) ==
        R"({"type":"message","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"actor_id":null,)"
        R"("created_at":"2025-11-25T12:00:00.000Z","message_id":"01890a5d-ac96-7abc-8def-0123456789ab",)"
        R"("sender_id":"ann","content":"hi","meta":{"a":[1,2.50]},"reply_to":"01890a5d-ac96-7abc-8def-000000000001",)"
        R"("client_msg_id":"c\"1","edited_at":"2025-11-25T12:00:01.001Z","deleted_at":"2025-11-25T12:00:01.001Z",)"
        R"("duplicate":true})");
  }

  TEST_CASE("an edit") {
    CHECK(line_of(entry_with(message_edited_body{room_seq{3}, "new", json_text{"\"m\""}, later})) ==
          R"({"type":"message.edited","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"actor_id":"ann",)"
          R"("created_at":"2025-11-25T12:00:00.000Z","message_id":"01890a5d-ac96-7abc-8def-0123456789ab",)"
          R"("message_seq":3,"content":"new","meta":"m","edited_at":"2025-11-25T12:00:01.001Z"})");
  }

  TEST_CASE("a delete") {
    CHECK(line_of(entry_with(message_deleted_body{room_seq{3}, later})) ==
          R"({"type":"message.deleted","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"actor_id":"ann",)"
          R"("created_at":"2025-11-25T12:00:00.000Z","message_id":"01890a5d-ac96-7abc-8def-0123456789ab",)"
          R"("message_seq":3,"deleted_at":"2025-11-25T12:00:01.001Z"})");
  }

  TEST_CASE("memberships name no message") {
    const std::string common =
        R"("room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"actor_id":"ann","created_at":"2025-11-25T12:00:00.000Z",)";
    CHECK(line_of(entry_with(
              member_joined_body{{user_id{"bob"}, user_id{"c\"d"}}, member_role::admin})) ==
          R"({"type":"member.joined",)" + common + R"("user_ids":["bob","c\"d"],"role":"admin"})");
    CHECK(line_of(entry_with(member_left_body{{user_id{"bob"}}, leave_reason::removed})) ==
          R"({"type":"member.left",)" + common + R"("user_ids":["bob"],"reason":"removed"})");
    CHECK(line_of(entry_with(member_updated_body{user_id{"bob"}, member_role::owner})) ==
          R"({"type":"member.updated",)" + common + R"("user_id":"bob","role":"owner"})");
  }

  TEST_CASE("a room's change names what changed, null where it was cleared") {
    const std::string common =
        R"({"type":"room.updated","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"actor_id":"ann","created_at":"2025-11-25T12:00:00.000Z")";
    CHECK(line_of(entry_with(room_updated_body{})) == common + "}");
    CHECK(line_of(entry_with(room_updated_body{.name = std::optional<std::string>{"new"}})) ==
          common + R"(,"name":"new"})");
    CHECK(line_of(entry_with(
              room_updated_body{.name = std::optional<std::string>{}, .metadata = json_text{}})) ==
          common + R"(,"name":null,"metadata":null})");
    CHECK(line_of(entry_with(room_updated_body{.metadata = json_text{"[1]"},
                                               .posting = posting_policy::admins})) ==
          common + R"(,"metadata":[1],"posting":"admins"})");
  }

  TEST_CASE("whatever the texts hold, a frame is one JSON object with the same values") {
    for_each_seed(2000, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      random_json random{dice};
      const auto text = [&] { return nlohmann::json::parse(random.string()).get<std::string>(); };
      const std::string meta = nlohmann::json::parse(random.value(4)).dump();
      message_body m{.sender = user_id{text()}, .content = text(), .meta = json_text{meta}};
      m.client_msg_id = text();
      const entry e = entry_with(m);
      const auto parsed = nlohmann::json::parse(line_of(e));
      REQUIRE(parsed.at("content") == m.content);
      REQUIRE(parsed.at("sender_id") == m.sender.value);
      REQUIRE(parsed.at("meta") == nlohmann::json::parse(meta));
      REQUIRE(parsed.value("client_msg_id", "") == m.client_msg_id);
      REQUIRE(parsed.at("seq") == 7);
    });
  }
}

TEST_SUITE("SPEC 4 strings") {
  TEST_CASE("quotes, backslashes and controls are escaped, everything else stays") {
    CHECK(json_string("") == R"("")");
    CHECK(json_string("plain") == R"("plain")");
    CHECK(json_string("\"\\/") == R"("\"\\/")");
    CHECK(json_string("\b\f\n\r\t") == R"("\b\f\n\r\t")");
    CHECK(json_string(std::string_view("\0\x01\x1f\x7f", 4)) == "\"\\u0000\\u0001\\u001f\x7f\"");
    CHECK(json_string("é€😀\u2028") == "\"é€😀\u2028\"");
  }

  TEST_CASE("every byte is escaped or not wherever it stands") {
    for (int c = 0; c < 128; ++c) {
      for (std::size_t place = 0; place < 40; ++place) {
        std::string text(40, 'x');
        text[place] = static_cast<char>(c);
        REQUIRE(nlohmann::json::parse(json_string(text)) == text);
        REQUIRE(nlohmann::json(text).dump() == json_string(text));
      }
    }
  }
}

TEST_SUITE("SPEC 4 rooms and members") {
  TEST_CASE("a room as the backend sees it: documented fields are null, never absent") {
    CHECK(line(append_room, a_room(), std::nullopt) ==
          R"({"room_id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"group","unique_key":null,"name":null,"metadata":null,)"
          R"("posting":"all","first_seq":1,"last_seq":0,"member_count":0,"role":null,"created_by":null,)"
          R"("created_at":"2025-11-25T12:00:00.000Z","updated_at":"2025-11-25T12:00:01.001Z"})");
  }

  TEST_CASE("a channel with everything, as its owner sees it") {
    room_info r = a_room();
    r.type = room_type::channel;
    r.name = "News \"daily\"";
    r.metadata = json_text{R"({"topic":"x"})"};
    r.posting = posting_policy::admins;
    r.first_seq = room_seq{10};
    r.last_seq = room_seq{9007199254740992};
    r.member_count = 100'000;
    r.created_by = user_id{"ann"};
    CHECK(
        line(append_room, r, std::optional{member_role::owner}) ==
        R"({"room_id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"channel","unique_key":null,"name":"News \"daily\"",)"
        R"("metadata":{"topic":"x"},"posting":"admins","first_seq":10,"last_seq":9007199254740992,"member_count":100000,)"
        R"("role":"owner","created_by":"ann","created_at":"2025-11-25T12:00:00.000Z","updated_at":"2025-11-25T12:00:01.001Z"})");
  }

  TEST_CASE("a dm has its key and both members") {
    room_info r = a_room();
    r.type = room_type::dm;
    r.dm_members = {user_id{"ann"}, user_id{"bob"}};
    const auto parsed =
        nlohmann::json::parse(line(append_room, r, std::optional{member_role::member}));
    CHECK(parsed.at("unique_key") == "dm:ann:bob");
    CHECK(parsed.at("members") == nlohmann::json{"ann", "bob"});
    CHECK(line(append_room, r, std::nullopt)
              .ends_with(R"("updated_at":"2025-11-25T12:00:01.001Z","members":["ann","bob"]})"));
  }

  TEST_CASE("an open room takes more fields") {
    CHECK(line(append_room_open, a_room(), std::nullopt) + "}" ==
          line(append_room, a_room(), std::nullopt));
  }

  TEST_CASE("a member; what is not told is null") {
    CHECK(
        line(append_member,
             member_view{.user = user_id{"ann"}, .role = member_role::admin, .joined_at = noon}) ==
        R"({"user_id":"ann","role":"admin","joined_at":"2025-11-25T12:00:00.000Z","online":null,"last_ack":null,"last_read":null})");
    CHECK(line(append_member, member_view{user_id{"ann"}, member_role::member, noon, true,
                                          room_seq{5}, room_seq{0}}) ==
          R"({"user_id":"ann","role":"member","joined_at":"2025-11-25T12:00:00.000Z","online":true,"last_ack":5,"last_read":0})");
  }
}

TEST_SUITE("SPEC 5 server frames") {
  TEST_CASE("hello") {
    hello_info h{.server_version = "1.2.3",
                 .connection_id = "k",
                 .tenant_id = "tenant_0",
                 .user_id = "ann",
                 .epoch = "e1",
                 .server_time = noon,
                 .heartbeat = std::chrono::seconds{30},
                 .max_frame = 131072,
                 .max_content = 16384,
                 .max_meta = 4096,
                 .sync_max_events = 1000,
                 .frames_per_s = 20};
    CHECK(
        line(append_hello, h) ==
        R"({"type":"hello","protocol":"parley.v1","server_version":"1.2.3","connection_id":"k","tenant_id":"tenant_0",)"
        R"("user_id":"ann","epoch":"e1","server_time":"2025-11-25T12:00:00.000Z","heartbeat_ms":30000,)"
        R"("limits":{"max_frame":131072,"max_content":16384,"max_meta":4096,"sync_max_events":1000,"frames_per_s":20}})");
    h.expires_at = later;
    CHECK(nlohmann::json::parse(line(append_hello, h)).at("expires_at") ==
          "2025-11-25T12:00:01.001Z");
  }

  TEST_CASE("message.accepted echoes what was asked, and only that") {
    const accepted_info a{.room = lobby, .message = hello, .seq = room_seq{7}, .created_at = noon};
    const std::string common =
        R"("room_id":"01890a5d-ac96-774b-bcce-b302099a8057","message_id":"01890a5d-ac96-7abc-8def-0123456789ab","seq":7,"created_at":"2025-11-25T12:00:00.000Z")";
    CHECK(line(append_accepted, asked, a) ==
          R"({"type":"message.accepted","request_id":"r1","client_msg_id":"c1",)" + common + "}");
    CHECK(line(append_accepted, unasked, a) == R"({"type":"message.accepted",)" + common + "}");
    accepted_info again = a;
    again.duplicate = true;
    CHECK(line(append_accepted, unasked, again) ==
          R"({"type":"message.accepted",)" + common + R"(,"duplicate":true})");
  }

  TEST_CASE("error") {
    CHECK(line(append_error_frame, unasked, not_found("room")) ==
          R"({"type":"error","code":"NOT_FOUND","message":"no such room","retryable":false})");
    error e = unavailable("overloaded", std::chrono::milliseconds{1500});
    e.field = "seq";
    e.stored = stored_state::unknown;
    CHECK(
        line(append_error_frame, asked, e) ==
        R"({"type":"error","request_id":"r1","client_msg_id":"c1","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","field":"seq",)"
        R"("code":"UNAVAILABLE","message":"overloaded","retryable":true,"retry_after_ms":1500,"stored":"unknown"})");
    error refused = invalid("content", "content \"x\"");
    refused.stored = stored_state::no;
    CHECK(line(append_error_frame, unasked, refused) ==
          R"({"type":"error","field":"content","code":"VALIDATION_ERROR","message":"content \"x\"","retryable":false,"stored":"no"})");
  }

  TEST_CASE("REST's error envelope") {
    error e = invalid("name", "name is required");
    CHECK(line(append_error_body, e, std::string_view{"req-1"}) ==
          R"({"success":false,"error":{"code":"VALIDATION_ERROR","message":"name is required","field":"name","request_id":"req-1","retryable":false}})");
    CHECK(
        line(append_error_body, unavailable("full", std::chrono::seconds{1}), std::string_view{"r"}) ==
        R"({"success":false,"error":{"code":"UNAVAILABLE","message":"full","request_id":"r","retryable":true,"retry_after_ms":1000}})");
  }

  TEST_CASE("the short replies") {
    CHECK(line(append_ok, asked) == R"({"type":"ok","request_id":"r1"})");
    CHECK(line(append_ok, reply_refs{.request_id = "-7", .client_msg_id = {}, .room_id = {}}) ==
          R"({"type":"ok","request_id":-7})");
    CHECK(line(append_pong, unasked, noon) ==
          R"({"type":"pong","server_time":"2025-11-25T12:00:00.000Z"})");
    CHECK(line(append_pong, asked, noon) ==
          R"({"type":"pong","request_id":"r1","server_time":"2025-11-25T12:00:00.000Z"})");
    CHECK(line(append_cursor_received, asked, false, lobby, room_seq{7}, std::string_view{"ann"}) ==
          R"({"type":"ack.received","request_id":"r1","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"user_id":"ann"})");
    CHECK(
        line(append_cursor_received, unasked, true, lobby, room_seq{7}, std::string_view{"ann"}) ==
        R"({"type":"read.received","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7,"user_id":"ann"})");
    CHECK(line(append_subscribed, unasked, lobby, room_seq{7}) ==
          R"({"type":"subscribed","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":7})");
  }

  TEST_CASE("sync.start, sync.done") {
    using position = std::pair<room_id, room_seq>;
    const std::vector<position> none;
    const std::vector<position> two{{lobby, room_seq{7}}, {room_id{hello.id}, room_seq{0}}};
    CHECK(line(append_sync_start, none) == R"({"type":"sync.start","rooms":{}})");
    CHECK(line(append_sync_start, two) ==
          R"({"type":"sync.start","rooms":{"01890a5d-ac96-774b-bcce-b302099a8057":7,"01890a5d-ac96-7abc-8def-0123456789ab":0}})");
    CHECK(line(append_sync_done, std::string_view{}, std::size_t{3}) ==
          R"({"type":"sync.done","rooms":3})");
    CHECK(line(append_sync_done, std::string_view{"\"r\""}, std::size_t{0}) ==
          R"({"type":"sync.done","request_id":"r","rooms":0})");
  }

  TEST_CASE("sync.complete, each outcome") {
    const auto complete = [](const sync_complete_info& s) { return line(append_sync_complete, s); };
    CHECK(complete({.room = "r", .outcome = sync_outcome::recovered, .seq = room_seq{9}}) ==
          R"({"type":"sync.complete","room_id":"r","outcome":"recovered","seq":9})");
    CHECK(complete({.room = "r", .outcome = sync_outcome::live, .seq = room_seq{9}}) ==
          R"({"type":"sync.complete","room_id":"r","outcome":"live","seq":9})");
    CHECK(complete({.room = "r", .outcome = sync_outcome::reset, .seq = room_seq{9}}) ==
          R"({"type":"sync.complete","room_id":"r","outcome":"reset","seq":9})");
    CHECK(complete({.room = "no \"room\"", .outcome = sync_outcome::gone}) ==
          R"({"type":"sync.complete","room_id":"no \"room\"","outcome":"gone","seq":null})");
    CHECK(complete({.room = "r",
                    .outcome = sync_outcome::gap,
                    .seq = room_seq{9},
                    .from_seq = room_seq{2},
                    .to_seq = room_seq{8},
                    .truncated = true}) ==
          R"({"type":"sync.complete","room_id":"r","outcome":"gap","seq":9,"from_seq":2,"to_seq":8,"truncated":true})");
  }

  TEST_CASE("rooms that come and go, and the end") {
    CHECK(line(append_room_added, std::string_view{R"({"room_id":"r"})"}, room_seq{4}) ==
          R"({"type":"room.added","room":{"room_id":"r"},"seq":4})");
    CHECK(line(append_room_removed, lobby) ==
          R"({"type":"room.removed","room_id":"01890a5d-ac96-774b-bcce-b302099a8057"})");
    CHECK(line(append_server_shutdown, std::chrono::milliseconds{512}) ==
          R"({"type":"server.shutdown","reconnect_after_ms":512})");
  }
  TEST_CASE("what is shown and not kept") {
    CHECK(line(append_typing, lobby, "an\"n", true) ==
          R"({"type":"typing","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","user_id":"an\"n","action":"start"})");
    CHECK(line(append_typing, lobby, "ann", false) ==
          R"({"type":"typing","room_id":"01890a5d-ac96-774b-bcce-b302099a8057","user_id":"ann","action":"stop"})");
    CHECK(line(append_presence_update, "ann", "away", std::nullopt) ==
          R"({"type":"presence.update","user_id":"ann","status":"away"})");
    CHECK(line(append_presence_update, "ann", "offline", from_unix_ms(1790000000123)) ==
          R"({"type":"presence.update","user_id":"ann","status":"offline","last_seen":"2026-09-21T14:13:20.123Z"})");
  }
}

// The bodies of webhooks, and docs/webhooks.md: what it shows is what is sent.

#include "protocol/webhook_event.hpp"

#include "tests/support/process.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <string>
#include <vector>

using namespace parley;
using json = nlohmann::ordered_json;  // fields in the order in which they are written

namespace {

utc_time at(std::string_view text) {
  const auto t = parse_rfc3339(text);
  REQUIRE(t);
  return *t;
}

const auto the_room_id = *room_id::parse("019a6d1c-3c8e-7c52-9a5e-0b5e7e6c0001");
const auto the_message_id = *message_id::parse("019a6d1c-3c8e-7c52-9a5e-0b5e7e6c0002");

room_info a_room() {
  room_info r;
  r.id = the_room_id;
  r.name = "Weather";
  r.metadata = json_text{R"({"topic":"weather"})"};
  r.member_count = 3;
  r.created_by = user_id{"alice"};
  r.created_at = r.updated_at = at("2026-05-01T11:00:00Z");
  return r;
}

entry logged(std::int64_t seq, std::string_view time, std::optional<user_id> actor, entry_body body) {
  entry e;
  e.seq = room_seq{seq};
  e.created_at = at(time);
  e.actor = std::move(actor);
  e.body = std::move(body);
  if (e.kind() <= entry_kind::message_deleted) e.message = the_message_id;
  return e;
}
entry a_message(std::string content = "Rain at noon") {
  message_body m;
  m.sender = user_id{"alice"};
  m.content = std::move(content);
  return logged(7, "2026-05-01T12:00:00Z", user_id{"alice"}, std::move(m));
}

webhook_event event(event_type type, std::string_view time) {
  webhook_event e;
  e.type = type;
  e.tenant = tenant_id{"tenant_0123456789abcdef"};
  e.at = at(time);
  return e;
}
webhook_event in_the_room(event_type type, std::string_view time) {
  auto e = event(type, time);
  e.room = a_room();
  return e;
}
webhook_event of_entry(event_type type, entry what) {
  auto e = in_the_room(type, to_rfc3339(what.created_at));
  e.logged = std::move(what);
  return e;
}
webhook_event of_data(event_type type, std::string_view time, std::string data) {
  auto e = event(type, time);
  e.data = std::move(data);
  return e;
}
webhook_event a_missed_message() {
  auto e = in_the_room(event_type::message_offline, "2026-05-01T12:00:00Z");
  e.message = a_message();
  e.recipient = user_id{"bob"};
  return e;
}
webhook_event missed_by_many() {
  auto e = a_missed_message();
  e.recipient.reset();
  e.lists_recipients = true;
  return e;
}

std::string body_of(const webhook_event& e, webhook_format format = webhook_format::parley,
                    std::string_view recipients = {}) {
  const auto body = webhook_body(e, format);
  CHECK(body.tail.empty() != e.lists_recipients);
  return body.head + std::string{recipients} + body.tail;
}

/// `### heading` → the JSON below it.
std::map<std::string, std::string> documented() {
  std::ifstream in{tests::binary_from("PARLEY_SOURCE_DIR") + "/docs/webhooks.md"};
  REQUIRE(in.is_open());
  std::map<std::string, std::string> found;
  std::string heading;
  std::string* block = nullptr;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("### ")) heading = line.substr(4);
    if (line == "```json") {
      const auto [it, is_new] = found.emplace(heading, "");
      CHECK_MESSAGE(is_new, "two examples under " << heading);
      block = &it->second;
    } else if (line == "```") {
      block = nullptr;
    } else if (block != nullptr) {
      *block += line + "\n";
    }
  }
  return found;
}

/// What the document shows, made by the code.
std::map<std::string, std::string> examples() {
  std::map<std::string, std::string> out;
  const auto add = [&](const webhook_event& e) {
    const auto [it, is_new] = out.emplace("`" + std::string{to_text(e.type)} + "`", body_of(e));
    CHECK(is_new);
  };
  add(a_missed_message());
  auto created = in_the_room(event_type::message_created, "2026-05-01T12:00:00Z");
  created.message = a_message();
  add(created);
  const user_id alice{"alice"};
  const auto edited_at = at("2026-05-01T12:01:00Z");
  const auto deleted_at = at("2026-05-01T12:02:00Z");
  auto edit = of_entry(event_type::message_edited,
                       logged(8, "2026-05-01T12:01:00Z", alice,
                              message_edited_body{room_seq{7}, "Rain at one", {}, edited_at}));
  edit.message = a_message("Rain at one");
  std::get<message_body>(edit.message->body).edited_at = edited_at;
  add(edit);
  auto removal =
      of_entry(event_type::message_deleted, logged(9, "2026-05-01T12:02:00Z", std::nullopt,
                                                   message_deleted_body{room_seq{7}, deleted_at}));
  removal.message = a_message("");
  std::get<message_body>(removal.message->body).edited_at = edited_at;
  std::get<message_body>(removal.message->body).deleted_at = deleted_at;
  add(removal);
  add(in_the_room(event_type::room_created, "2026-05-01T11:00:00Z"));
  room_updated_body renamed;
  renamed.name = "Weather, daily";
  add(of_entry(event_type::room_updated, logged(10, "2026-05-01T12:03:00Z", alice, renamed)));
  auto deleted = in_the_room(event_type::room_deleted, "2026-05-01T12:06:00Z");
  deleted.room->name = "Weather, daily";
  deleted.room->last_seq = room_seq{12};
  deleted.room->updated_at = at("2026-05-01T12:03:00Z");
  add(deleted);
  add(of_entry(event_type::member_joined,
               logged(11, "2026-05-01T12:04:00Z", alice,
                      member_joined_body{{user_id{"dave"}, user_id{"erin"}}, member_role::member})));
  add(of_entry(event_type::member_left,
               logged(12, "2026-05-01T12:05:00Z", user_id{"dave"},
                      member_left_body{{user_id{"dave"}}, leave_reason::left})));
  add(of_data(event_type::user_online, "2026-05-01T12:00:00Z",
              R"({"user_id":"bob","status":"online"})"));
  add(of_data(event_type::user_offline, "2026-05-01T12:10:00Z",
              R"({"user_id":"bob","status":"offline","last_seen":"2026-05-01T12:10:00.000Z"})"));
  add(of_data(event_type::notification_failed, "2026-05-08T12:00:00Z",
              R"({"notification_id":"019a6d1c-3c8e-7c52-9a5e-0b5e7e6c0003","topic":"orders/new",)"
              R"("user_id":"bob","error":"expired","attempts":0})"));
  add(of_data(event_type::webhook_test, "2026-05-01T12:00:00Z",
              R"({"message":"a test of this endpoint"})"));
  out.emplace("`message.offline` of a big room",
              body_of(missed_by_many(), webhook_format::parley, R"("bob","carol")"));
  out.emplace("ChatAPI's body", body_of(a_missed_message(), webhook_format::chatapi));
  return out;
}

}  // namespace

TEST_SUITE("SPEC 6 webhooks: their bodies") {
  TEST_CASE("each example of docs/webhooks.md is what is sent, to the order of its fields") {
    const auto in_the_document = documented();
    const auto made = examples();
    for (const auto& [heading, text] : made) {
      CAPTURE(heading);
      const auto it = in_the_document.find(heading);
      REQUIRE(it != in_the_document.end());
      CHECK(json::parse(it->second).dump() == json::parse(text).dump());
      CHECK(json::parse(text).dump() == text);  // minified, no key twice
    }
    for (const auto& [heading, text] : in_the_document) {
      CAPTURE(heading);
      CHECK(made.contains(heading));
    }
  }

  TEST_CASE("every event has an example, and every one but the test can be asked for by its name") {
    const auto made = examples();
    for (std::uint8_t number = 1; number <= 13; ++number) {
      const auto type = static_cast<event_type>(number);
      const std::string name{to_text(type)};
      CAPTURE(name);
      CHECK(made.contains("`" + name + "`"));
      if (type == event_type::webhook_test) {
        CHECK_FALSE(parse_event_type(name));
      } else {
        CHECK(parse_event_type(name) == type);
      }
    }
    for (const char* other : {"", "message", "message.sent", "Message.created", "message.created "})
      CHECK_FALSE(parse_event_type(other));
  }

  TEST_CASE("an event of the log is what its entry is; member.updated is none") {
    CHECK(event_of(entry_kind::message) == event_type::message_created);
    CHECK(event_of(entry_kind::message_edited) == event_type::message_edited);
    CHECK(event_of(entry_kind::message_deleted) == event_type::message_deleted);
    CHECK(event_of(entry_kind::member_joined) == event_type::member_joined);
    CHECK(event_of(entry_kind::member_left) == event_type::member_left);
    CHECK(event_of(entry_kind::room_updated) == event_type::room_updated);
    CHECK_FALSE(event_of(entry_kind::member_updated));
  }

  TEST_CASE("nothing that a user wrote can end a string or a body") {
    auto e = a_missed_message();
    e.room->metadata = json_text{R"("a \"string\", as in ChatAPI")"};
    auto& m = std::get<message_body>(e.message->body);
    m.content = "\"}],\\\n\x01 \xC3\xA4";
    m.meta = json_text{R"({"n":1.50})"};
    m.sender = user_id{"o'\"brien"};
    e.recipient = user_id{"back\\slash"};
    for (const auto format : {webhook_format::parley, webhook_format::chatapi}) {
      const auto body = json::parse(body_of(e, format));
      const auto& data = format == webhook_format::parley ? body["data"] : body;
      CHECK(data["message"]["content"] == m.content);
      CHECK(data["message"]["sender_id"] == "o'\"brien");
      CHECK(data["recipient_id"] == "back\\slash");
      CHECK(data["room_metadata"] == "a \"string\", as in ChatAPI");
    }
    CHECK(body_of(e).find(R"("meta":{"n":1.50})") != std::string::npos);
  }

  TEST_CASE("what is deleted is told without its text") {
    auto e = a_missed_message();
    auto& m = std::get<message_body>(e.message->body);
    m.content.clear();
    m.deleted_at = at("2026-05-01T12:02:00Z");
    const auto message = json::parse(body_of(e))["data"]["message"];
    CHECK(message["content"] == "");
    CHECK(message["meta"].is_null());
    CHECK(message["deleted_at"] == "2026-05-01T12:02:00.000Z");
  }

  TEST_CASE(
      "ChatAPI's body: null without metadata, a list for many, and only for message.offline") {
    auto e = a_missed_message();
    e.room->metadata = {};
    const auto one = json::parse(body_of(e, webhook_format::chatapi));
    CHECK(one["room_metadata"].is_null());
    CHECK_FALSE(one.contains("recipient_ids"));
    const auto many =
        json::parse(body_of(missed_by_many(), webhook_format::chatapi, R"("bob","carol")"));
    CHECK(many["recipient_id"].is_null());
    CHECK(many["recipient_ids"] == json{"bob", "carol"});
    CHECK(many["message"] == one["message"]);
    auto other = in_the_room(event_type::room_created, "2026-05-01T11:00:00Z");
    CHECK(body_of(other, webhook_format::chatapi) == body_of(other));
  }

  TEST_CASE("a list of nobody is an empty list") {
    const auto body = json::parse(body_of(missed_by_many()));
    CHECK(body["data"]["recipient_ids"] == json::array());
  }
}
